package software

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

// catalogue is the feature's tables.
type catalogue struct{ db *store.DB }

// chunk bounds the values of one list in a statement, and the rows of one insert.
const chunk = 500

type titleRow struct {
	ID          int64 `gorm:"primaryKey;autoIncrement"`
	Identity    string
	Source      string
	PURL        string `gorm:"column:purl"`
	Name        string
	Publisher   string
	Summary     string
	Devices     int
	FirstSeenAt time.Time
}

func (titleRow) TableName() string { return "software_titles" }

type versionRow struct {
	ID          int64 `gorm:"primaryKey;autoIncrement"`
	Identity    string
	TitleID     int64
	Version     string
	Devices     int
	FirstSeenAt time.Time
}

func (versionRow) TableName() string { return "software_versions" }

type installedRow struct {
	DeviceID    string `gorm:"primaryKey"`
	SoftwareKey string `gorm:"primaryKey"`
	TitleID     int64
	VersionID   int64
	SizeBytes   int64
	InstalledAt *time.Time
	Arch        string
	Essential   bool
	Defect      string
	FirstSeenAt time.Time
}

func (installedRow) TableName() string { return "device_software" }

type historyRow struct {
	ID          string `gorm:"primaryKey"`
	DeviceID    string
	TitleID     int64
	Kind        string
	FromVersion string
	ToVersion   string
	Arch        string
	Time        time.Time
}

func (historyRow) TableName() string { return "software_history" }

// chunks cuts a list into parts that fit one statement.
func chunks[T any](list []T) func(yield func([]T) bool) {
	return func(yield func([]T) bool) {
		for len(list) > 0 {
			n := min(chunk, len(list))
			if !yield(list[:n]) {
				return
			}
			list = list[n:]
		}
	}
}

func (c *catalogue) reported(ctx context.Context, deviceID string, keys []string) (map[string]bool, error) {
	known := map[string]bool{}
	for part := range chunks(keys) {
		var found []string
		err := c.db.With(ctx).Model(&installedRow{}).Where("device_id = ? AND software_key IN ?", deviceID, part).
			Pluck("software_key", &found).Error
		if err != nil {
			return nil, fmt.Errorf("read software of device: %w", err)
		}
		for _, k := range found {
			known[k] = true
		}
	}
	return known, nil
}

// deleteHistoryBefore removes old changes, some at a time so that nobody waits long for the database.
func (c *catalogue) deleteHistoryBefore(ctx context.Context, t time.Time) error {
	for {
		var ids []string
		if err := c.db.With(ctx).Model(&historyRow{}).Where("time < ?", t).Order("time").Limit(4*chunk).Pluck("id", &ids).Error; err != nil {
			return fmt.Errorf("find old changes of software: %w", err)
		}
		if len(ids) == 0 {
			return nil
		}
		if err := c.db.With(ctx).Where("id IN ?", ids).Delete(&historyRow{}).Error; err != nil {
			return fmt.Errorf("remove old changes of software: %w", err)
		}
	}
}

func (c *catalogue) goneWithSoftware(ctx context.Context) ([]string, error) {
	var ids []string
	err := c.db.With(ctx).Table("devices").Where("state IN ?", []string{protocol.DeviceRevoked, protocol.DeviceRemoved}).
		Where("EXISTS (SELECT 1 FROM device_software s WHERE s.device_id = devices.id)").Order("id").Pluck("id", &ids).Error
	if err != nil {
		return nil, fmt.Errorf("find devices that are gone: %w", err)
	}
	return ids, nil
}

func (c *catalogue) forget(ctx context.Context, deviceID string) error {
	return c.db.Tx(ctx, func(tx *gorm.DB) error {
		if err := Lock(tx, deviceID); err != nil {
			return err
		}
		return Forget(tx, deviceID)
	})
}
