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
	VersionKey  string // sorts as versions do
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

// deleteHistoryOfGone removes the changes of devices that were removed or revoked before t, some at a time.
func (c *catalogue) deleteHistoryOfGone(ctx context.Context, t time.Time) error {
	var devices []string
	err := c.db.With(ctx).Table("devices").Where("state IN ? AND updated_at < ?", []string{protocol.DeviceRevoked, protocol.DeviceRemoved}, t).
		Where("EXISTS (SELECT 1 FROM software_history h WHERE h.device_id = devices.id)").Order("id").Pluck("id", &devices).Error
	if err != nil {
		return fmt.Errorf("find devices that are gone: %w", err)
	}
	for _, device := range devices {
		for {
			var ids []string
			err := c.db.With(ctx).Model(&historyRow{}).Where("device_id = ?", device).Order("id").Limit(4*chunk).Pluck("id", &ids).Error
			if err != nil {
				return fmt.Errorf("find changes of software: %w", err)
			}
			if len(ids) == 0 {
				break
			}
			if err := c.db.With(ctx).Where("id IN ?", ids).Delete(&historyRow{}).Error; err != nil {
				return fmt.Errorf("remove changes of software: %w", err)
			}
		}
	}
	return nil
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

// deleteUnnamed removes versions and titles that no device has, no change names, and that are not new: a list
// that is being written may have found them a moment ago.
func (c *catalogue) deleteUnnamed(ctx context.Context, before time.Time) error {
	for _, unnamed := range []struct {
		model any
		where string
	}{
		{&versionRow{}, "NOT EXISTS (SELECT 1 FROM software_history h WHERE h.title_id = software_versions.title_id " +
			"AND (h.from_version = software_versions.version OR h.to_version = software_versions.version))"},
		{&titleRow{}, "NOT EXISTS (SELECT 1 FROM software_history h WHERE h.title_id = software_titles.id) " +
			"AND NOT EXISTS (SELECT 1 FROM software_versions v WHERE v.title_id = software_titles.id)"},
	} {
		last := int64(0)
		for {
			var ids []int64
			err := c.db.With(ctx).Model(unnamed.model).Where("devices = 0 AND first_seen_at < ? AND id > ?", before, last).
				Where(unnamed.where).Order("id").Limit(chunk).Pluck("id", &ids).Error
			if err != nil {
				return fmt.Errorf("find software that nobody has: %w", err)
			}
			if len(ids) == 0 {
				break
			}
			last = ids[len(ids)-1]
			if err := c.db.With(ctx).Where("id IN ? AND devices = 0", ids).Delete(unnamed.model).Error; err != nil {
				return fmt.Errorf("remove software that nobody has: %w", err)
			}
		}
	}
	return nil
}
