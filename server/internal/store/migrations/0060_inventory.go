package migrations

import (
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
)

func inventory() []*gormigrate.Migration {
	type section struct {
		DeviceID    string     `gorm:"type:char(36);primaryKey"`
		Section     string     `gorm:"size:40;primaryKey"`
		SHA256      string     `gorm:"column:sha256;size:64;not null"` // as the device names it; empty: no rows have come yet
		Cleaning    int        `gorm:"not null"`                       // how the rows were cleaned
		Content     []byte     `gorm:"type:mediumblob;not null"`       // cleaned rows, JSON lines, gzip
		RowCount    int        `gorm:"not null"`
		Problem     string     `gorm:"size:1000;not null"` // of the newest inventory
		Remark      string     `gorm:"size:1000;not null"` // of the server about the rows
		NamedAt     time.Time  `gorm:"not null"`           // last time that an inventory had the section
		CollectedAt *time.Time // the device's clock
		ReceivedAt  *time.Time
	}
	type title struct {
		ID          int64     `gorm:"primaryKey;autoIncrement"`
		Identity    string    `gorm:"type:char(64);not null;uniqueIndex:idx_software_titles_identity"` // SHA-256
		Source      string    `gorm:"size:40;not null"`
		PURL        string    `gorm:"column:purl;size:512;not null"`
		Name        string    `gorm:"size:255;not null;index:idx_software_titles_name,priority:1"`
		Publisher   string    `gorm:"size:255;not null"`
		Summary     string    `gorm:"size:500;not null"`
		Devices     int       `gorm:"not null;index:idx_software_titles_devices,priority:1"`
		FirstSeenAt time.Time `gorm:"not null"`
	}
	type version struct {
		ID          int64     `gorm:"primaryKey;autoIncrement"`
		Identity    string    `gorm:"type:char(64);not null;uniqueIndex:idx_software_versions_identity"` // SHA-256
		TitleID     int64     `gorm:"not null;index:idx_software_versions_title"`
		Version     string    `gorm:"size:255;not null"`
		Devices     int       `gorm:"not null"`
		FirstSeenAt time.Time `gorm:"not null"`
	}
	type installed struct {
		DeviceID    string `gorm:"type:char(36);primaryKey;uniqueIndex:idx_device_software_title,priority:2"`
		SoftwareKey string `gorm:"size:512;primaryKey;uniqueIndex:idx_device_software_title,priority:3"`
		TitleID     int64  `gorm:"not null;uniqueIndex:idx_device_software_title,priority:1"`
		VersionID   int64  `gorm:"not null"`
		SizeBytes   int64  `gorm:"not null"`
		InstalledAt *time.Time
		Arch        string    `gorm:"size:40;not null"`
		Essential   bool      `gorm:"not null"`
		Defect      string    `gorm:"size:120;not null"` // empty: installed as it should be
		FirstSeenAt time.Time `gorm:"not null"`
	}
	type change struct {
		ID          string    `gorm:"type:char(36);primaryKey;index:idx_software_history_device,priority:2;index:idx_software_history_title,priority:2"`
		DeviceID    string    `gorm:"type:char(36);not null;index:idx_software_history_device,priority:1"`
		TitleID     int64     `gorm:"not null;index:idx_software_history_title,priority:1"`
		Kind        string    `gorm:"size:20;not null"` // added, removed, updated
		FromVersion string    `gorm:"size:255;not null"`
		ToVersion   string    `gorm:"size:255;not null"`
		Arch        string    `gorm:"size:40;not null"`
		Time        time.Time `gorm:"not null;index:idx_software_history_time"`
	}
	type columns struct {
		Columns *string `gorm:"type:text"` // of the rows as they are kept, JSON; null: the section is no module's
	}
	type namedColumns struct {
		NamedColumns *string `gorm:"type:text"` // as the newest inventory names them
	}
	return []*gormigrate.Migration{
		createTable("0060_inventory_sections", "inventory_sections", &section{}),
		createTable("0061_software_titles", "software_titles", &title{}),
		createTable("0062_software_versions", "software_versions", &version{}),
		createTable("0063_device_software", "device_software", &installed{}),
		createTable("0064_software_history", "software_history", &change{}),
		addColumn("0065_inventory_columns", "inventory_sections", "Columns", &columns{}),
		addColumn("0066_inventory_named_columns", "inventory_sections", "NamedColumns", &namedColumns{}),
	}
}
