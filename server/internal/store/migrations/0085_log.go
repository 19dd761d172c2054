package migrations

import (
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
)

func log() []*gormigrate.Migration {
	// A device that has ever forwarded lines; its number stands for it in every row of its lines.
	type source struct {
		DeviceNo        int64  `gorm:"primaryKey;autoIncrement"`
		DeviceID        string `gorm:"type:char(36);not null;uniqueIndex:idx_log_devices_device"`
		LastKey         int64  `gorm:"not null"` // of its newest line
		OldestKey       int64  `gorm:"not null"` // no line is older
		KeptLines       int64  `gorm:"not null"`
		DroppedByDevice int64  `gorm:"not null"`
		DroppedByServer int64  `gorm:"not null"`
		Hour            int64  `gorm:"not null"` // since 1970, of the two below
		HourLines       int64  `gorm:"not null"`
		HourDropped     int64  `gorm:"not null"`
	}
	type line struct {
		DeviceNo int64  `gorm:"primaryKey;autoIncrement:false;index:idx_log_lines_level,priority:3"`
		LineKey  int64  `gorm:"primaryKey;autoIncrement:false;index:idx_log_lines_level,priority:2"` // milliseconds and a number, see package devicelog
		Level    int    `gorm:"type:smallint;not null;index:idx_log_lines_level,priority:1"`
		TimeMS   int64  `gorm:"column:time_ms;not null"` // the device's clock, milliseconds since 1970
		Task     string `gorm:"size:40;not null"`
		Message  string `gorm:"size:4096;not null"`
		Dropped  int64  `gorm:"not null"` // lines before this one that are missing
	}
	// A report whose lines are kept, so that it is taken once.
	type report struct {
		DeviceNo int64  `gorm:"primaryKey;autoIncrement:false;index:idx_log_reports_last,priority:1"`
		ReportID string `gorm:"type:char(36);primaryKey"`
		LastKey  int64  `gorm:"not null;index:idx_log_reports_last,priority:2"` // of its last line
	}
	type setting struct {
		LogLevel       string `gorm:"size:10;not null;default:''"` // empty: off
		LogUntil       *time.Time
		LogAfter       string `gorm:"size:10;not null;default:''"` // level from LogUntil on
		LogFollowUntil *time.Time
		LogSetBy       string `gorm:"size:120;not null;default:''"`
	}
	return []*gormigrate.Migration{
		createTable("0085_log_devices", "log_devices", &source{}),
		createTable("0086_log_lines", "log_lines", &line{}),
		createTable("0087_log_reports", "log_reports", &report{}),
		addColumn("0088_devices_log_level", "devices", "LogLevel", &setting{}),
		addColumn("0088_devices_log_until", "devices", "LogUntil", &setting{}),
		addColumn("0088_devices_log_after", "devices", "LogAfter", &setting{}),
		addColumn("0088_devices_log_follow_until", "devices", "LogFollowUntil", &setting{}),
		addColumn("0088_devices_log_set_by", "devices", "LogSetBy", &setting{}),
	}
}
