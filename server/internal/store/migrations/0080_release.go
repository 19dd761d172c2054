package migrations

import (
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
)

func release() []*gormigrate.Migration {
	type release struct {
		ID        string    `gorm:"type:char(36);primaryKey"`
		Version   string    `gorm:"size:64;not null"`
		LiveKey   *string   `gorm:"size:64;uniqueIndex:idx_releases_live_key"` // the version, unless retired
		State     string    `gorm:"size:20;not null"`
		Envelope  string    `gorm:"type:char(64);not null;index:idx_releases_envelope"` // SHA-256 of its bytes
		Document  string    `gorm:"type:mediumtext;not null"`                           // the signed payload
		SignedBy  string    `gorm:"type:text;not null"`                                 // key ids, separated by blanks
		ExpiresAt time.Time `gorm:"not null"`
		CreatedBy string    `gorm:"size:120;not null"`
		CreatedAt time.Time `gorm:"not null"`
		RetiredAt *time.Time
	}
	return []*gormigrate.Migration{
		createTable("0080_releases", "releases", &release{}),
	}
}
