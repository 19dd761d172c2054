package devicelog

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/muster/muster/server/internal/store"
)

// chunk bounds the values of one list in a statement, and the rows of one insert.
const chunk = 500

type lineStore struct{ db *store.DB }

// sourceRow is a device that has ever forwarded lines.
type sourceRow struct {
	DeviceNo        int64 `gorm:"primaryKey;autoIncrement"`
	DeviceID        string
	LastKey         int64 // of its newest line
	OldestKey       int64 // no line is older
	KeptLines       int64
	DroppedByDevice int64
	DroppedByServer int64
	Hour            int64 // since 1970, of the two below
	HourLines       int64
	HourDropped     int64
}

func (sourceRow) TableName() string { return "log_devices" }

type lineRow struct {
	DeviceNo int64 `gorm:"primaryKey;autoIncrement:false"`
	LineKey  int64 `gorm:"primaryKey;autoIncrement:false"`
	Level    int
	TimeMS   int64 `gorm:"column:time_ms"`
	Task     string
	Message  string
	Dropped  int64
}

func (lineRow) TableName() string { return "log_lines" }

// reportRow says that a report was taken; it stays as long as one of its lines.
type reportRow struct {
	DeviceNo int64  `gorm:"primaryKey;autoIncrement:false"`
	ReportID string `gorm:"primaryKey"`
	LastKey  int64
}

func (reportRow) TableName() string { return "log_reports" }

// source is what is kept of a device's lines; empty when it has forwarded none.
func (s *lineStore) source(ctx context.Context, deviceID string) (sourceRow, error) {
	var row sourceRow
	err := s.db.With(ctx).Where("device_id = ?", deviceID).Take(&row).Error
	if err != nil && !errors.Is(err, gorm.ErrRecordNotFound) {
		return row, fmt.Errorf("read log of device: %w", err)
	}
	return row, nil
}
