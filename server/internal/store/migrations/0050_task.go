package migrations

import (
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
)

func task() []*gormigrate.Migration {
	type task struct {
		ID       string `gorm:"type:char(36);primaryKey"`
		DeviceID string `gorm:"type:char(36);not null;index:idx_tasks_device,priority:1"`
		Hostname string `gorm:"size:255;not null"`
		Kind     string `gorm:"size:20;not null"`
		BatchID  string `gorm:"type:char(36);not null;index:idx_tasks_batch"` // of those that were asked for together
		Input    string `gorm:"type:mediumtext;not null"`                     // JSON, by kind

		State       string `gorm:"size:20;not null"`
		Reason      string `gorm:"size:40;not null"`
		Message     string `gorm:"size:2048;not null"`
		Items       string `gorm:"type:mediumtext;not null"` // JSON
		Live        bool   `gorm:"not null;index:idx_tasks_device,priority:2"`
		Reached     string `gorm:"size:20;not null"` // furthest state that the device reported
		LastReport  string `gorm:"size:36;not null"` // newest report that was applied
		Reports     int    `gorm:"not null"`         // in the timeline
		NextTry     *time.Time
		TimelineSeq int       `gorm:"not null"`
		CreatedBy   string    `gorm:"size:120;not null"`
		CreatedAt   time.Time `gorm:"not null"`
		UpdatedAt   time.Time `gorm:"not null"`
		FinishedAt  *time.Time
	}
	type timelineRow struct {
		TaskID     string    `gorm:"type:char(36);primaryKey"`
		Seq        int       `gorm:"primaryKey;autoIncrement:false"`
		ReportID   *string   `gorm:"type:char(36);uniqueIndex:idx_task_timeline_report,priority:1"`
		DeviceID   string    `gorm:"type:char(36);not null;uniqueIndex:idx_task_timeline_report,priority:2"`
		Time       time.Time `gorm:"not null"`
		ReceivedAt time.Time `gorm:"not null"`
		Source     string    `gorm:"size:20;not null"` // server, device, admin
		State      string    `gorm:"size:20;not null"`
		Reason     string    `gorm:"size:40;not null"`
		Message    string    `gorm:"size:2048;not null"`
		NextAt     *time.Time
	}
	type openTasks struct {
		OpenTasks int `gorm:"not null;default:0"` // live rows of tasks
	}
	type footprint struct {
		DeviceID      string    `gorm:"type:char(36);primaryKey"`
		ReportedAt    time.Time `gorm:"not null"`
		Since         time.Time `gorm:"not null"`
		CPUMS         int64     `gorm:"column:cpu_ms;not null"`
		RSSBytes      int64     `gorm:"column:rss_bytes;not null"`
		RSSHighBytes  int64     `gorm:"column:rss_high_bytes;not null"`
		TaskHighBytes int64     `gorm:"not null"`
		SentBytes     int64     `gorm:"not null"`
		ReceivedBytes int64     `gorm:"not null"`
	}
	return []*gormigrate.Migration{
		createTable("0050_tasks", "tasks", &task{}),
		createTable("0051_task_timeline", "task_timeline", &timelineRow{}),
		addColumn("0052_devices_open_tasks", "devices", "OpenTasks", &openTasks{}),
		createTable("0053_device_footprints", "device_footprints", &footprint{}),
	}
}

// update adds to the tasks what updates of the agent need, and what lists show of uninstalls.
func update() []*gormigrate.Migration {
	type releaseID struct {
		ReleaseID *string `gorm:"type:char(36);index:idx_tasks_release"` // of an update
	}
	type result struct {
		Result string `gorm:"size:500;not null;default:''"` // JSON, of an update that is over
	}
	type outcome struct {
		Outcome string `gorm:"size:120;not null;default:''"` // how many of its items were done, for lists
	}
	return []*gormigrate.Migration{
		addColumn("0054_tasks_release", "tasks", "ReleaseID", &releaseID{}),
		addIndex("0055_tasks_release_index", "tasks", "idx_tasks_release", &releaseID{}),
		addColumn("0056_tasks_result", "tasks", "Result", &result{}),
		addColumn("0057_tasks_outcome", "tasks", "Outcome", &outcome{}),
	}
}
