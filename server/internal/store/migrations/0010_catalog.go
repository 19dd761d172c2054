package migrations

import (
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
)

func catalog() []*gormigrate.Migration {
	type trustDocument struct {
		Version   int       `gorm:"primaryKey;autoIncrement:false"`
		Envelope  string    `gorm:"type:mediumtext;not null"` // DSSE, JSON
		CreatedAt time.Time `gorm:"not null"`
	}
	type blob struct {
		SHA256    string    `gorm:"column:sha256;type:char(64);primaryKey"`
		Size      int64     `gorm:"not null"`
		ClaimedAt time.Time `gorm:"not null;index:idx_blobs_claimed_at"`
	}
	type blobRef struct {
		OwnerID string `gorm:"type:char(36);primaryKey"` // an upload or a package
		Seq     int    `gorm:"primaryKey;autoIncrement:false"`
		SHA256  string `gorm:"column:sha256;type:char(64);not null;index:idx_blob_refs_sha256"`
		Length  int64  `gorm:"not null"`
	}
	type upload struct {
		ID           string    `gorm:"type:char(36);primaryKey"`
		FileName     string    `gorm:"size:255;not null"`
		Size         int64     `gorm:"not null"`
		FragmentSize int64     `gorm:"not null"`
		Received     int64     `gorm:"not null"`         // durable octets
		Fragments    int       `gorm:"not null"`         // that hold them
		HashState    []byte    `gorm:"size:255"`         // SHA-256 over the octets received
		State        string    `gorm:"size:20;not null"` // open, finished
		Format       string    `gorm:"size:20;not null"`
		SHA256       string    `gorm:"column:sha256;size:64;not null"`
		Entries      string    `gorm:"type:mediumtext;not null"` // JSON, the first of them
		EntriesTotal int       `gorm:"not null"`
		CreatedBy    string    `gorm:"size:120;not null"`
		CreatedAt    time.Time `gorm:"not null"`
		UpdatedAt    time.Time `gorm:"not null;index:idx_uploads_updated_at"`
	}
	type pkg struct {
		ID                string  `gorm:"type:char(36);primaryKey"`
		Name              string  `gorm:"size:120;not null;index:idx_packages_name"`
		Version           string  `gorm:"size:64;not null"`
		LiveKey           *string `gorm:"type:char(64);uniqueIndex:idx_packages_live_key"` // of name and version, unless retired
		Priority          int     `gorm:"not null"`
		Action            string  `gorm:"size:20;not null"`
		State             string  `gorm:"size:20;not null;index:idx_packages_state"`
		Spec              string  `gorm:"type:mediumtext;not null"` // instruction.Spec, JSON
		ArchiveFormat     string  `gorm:"size:20;not null"`         // empty without an archive
		ArchiveSize       int64   `gorm:"not null"`
		ArchiveSHA256     string  `gorm:"column:archive_sha256;size:64;not null"`
		ArchiveFragments  int     `gorm:"not null"`
		Serial            int64   `gorm:"not null"`           // 0 until signed
		InstructionDigest string  `gorm:"size:64;not null"`   // of the signed envelope
		SignedBy          string  `gorm:"type:text;not null"` // key ids, separated by blanks
		Private           bool    `gorm:"not null"`           // fragments are for devices only
		IssuedAt          *time.Time
		ExpiresAt         *time.Time
		CreatedBy         string    `gorm:"size:120;not null"`
		CreatedAt         time.Time `gorm:"not null"`
		UpdatedAt         time.Time `gorm:"not null"`
		ActivatedAt       *time.Time
		RetiredAt         *time.Time
	}
	return []*gormigrate.Migration{
		createTable("0010_trust_documents", "trust_documents", &trustDocument{}),
		createTable("0011_blobs", "blobs", &blob{}),
		createTable("0012_blob_refs", "blob_refs", &blobRef{}),
		createTable("0013_uploads", "uploads", &upload{}),
		createTable("0014_packages", "packages", &pkg{}),
	}
}
