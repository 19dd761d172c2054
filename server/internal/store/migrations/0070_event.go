package migrations

import (
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
)

func event() []*gormigrate.Migration {
	type happened struct {
		ID       string    `gorm:"type:char(36);primaryKey;index:idx_events_device,priority:2;index:idx_events_kind,priority:2"`
		Time     time.Time `gorm:"not null;index:idx_events_time"`
		DeviceID string    `gorm:"type:char(36);not null;index:idx_events_device,priority:1"`
		Hostname string    `gorm:"size:255;not null"`
		Kind     string    `gorm:"size:40;not null;index:idx_events_kind,priority:1"`
		Section  string    `gorm:"size:40;not null"`
		Subject  string    `gorm:"size:255;not null"`
		Former   string    `gorm:"size:500;not null"`
		Present  string    `gorm:"size:500;not null"`
		Message  string    `gorm:"size:1000;not null"`
	}
	// A condition is what was reported once and is not to be reported again until it is over.
	type condition struct {
		DeviceID string    `gorm:"type:char(36);primaryKey"`
		Kind     string    `gorm:"size:40;primaryKey"`
		Subject  string    `gorm:"size:255;primaryKey"`
		Since    time.Time `gorm:"not null"`
	}
	return []*gormigrate.Migration{
		createTable("0070_events", "events", &happened{}),
		createTable("0071_event_conditions", "event_conditions", &condition{}),
	}
}
