package migrations

import (
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
)

func user() []*gormigrate.Migration {
	type user struct {
		ID           string `gorm:"type:char(36);primaryKey"`
		Username     string `gorm:"size:120;not null;uniqueIndex:idx_users_username"` // lower case
		PasswordHash string `gorm:"size:255;not null"`
		// SessionsFrom ends older sessions: those begun before it are not accepted.
		SessionsFrom time.Time `gorm:"not null"`
		CreatedAt    time.Time `gorm:"not null"`
		UpdatedAt    time.Time `gorm:"not null"`
	}
	type session struct {
		Token  string    `gorm:"size:64;primaryKey"` // hash of the cookie's value
		Data   []byte    `gorm:"not null"`
		Expiry time.Time `gorm:"not null;index:idx_sessions_expiry"`
	}
	type apiToken struct {
		ID         string    `gorm:"type:char(36);primaryKey"`
		UserID     string    `gorm:"type:char(36);not null;index:idx_api_tokens_user_id"`
		Name       string    `gorm:"size:120;not null"`
		Hash       string    `gorm:"type:char(64);not null;uniqueIndex:idx_api_tokens_hash"`
		CreatedAt  time.Time `gorm:"not null"`
		LastUsedAt *time.Time
		ExpiresAt  *time.Time
	}
	type auditEntry struct {
		ID        string    `gorm:"type:char(36);primaryKey"` // UUIDv7: sorted by time
		Time      time.Time `gorm:"not null;index:idx_audit_entries_time"`
		Actor     string    `gorm:"size:120;not null"`
		ActorKind string    `gorm:"size:20;not null"`
		Operation string    `gorm:"size:120;not null"`
		Target    string    `gorm:"size:255;not null"`
		Status    int       `gorm:"not null"`
		RemoteIP  string    `gorm:"size:64;not null"`
		Details   string    `gorm:"type:text;not null"` // JSON object of strings
	}
	return []*gormigrate.Migration{
		createTable("0001_users", "users", &user{}),
		createTable("0002_sessions", "sessions", &session{}),
		createTable("0003_api_tokens", "api_tokens", &apiToken{}),
		createTable("0004_audit_entries", "audit_entries", &auditEntry{}),
	}
}
