package devicelog

import (
	"context"
	"fmt"
	"time"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

// gone are the states of devices that never come again.
func gone() []string { return []string{protocol.DeviceRevoked, protocol.DeviceRemoved} }

// set writes a setting into a device's row, unless the device is gone; Follow is left as it is.
func (s *lineStore) set(ctx context.Context, id string, l protocol.LogSetting, by string) error {
	kept := func(level string) string { // empty leaves it to the groups
		if level == LogGroups {
			return ""
		}
		return level
	}
	values := map[string]any{
		"log_level": kept(l.Level), "log_until": l.Until, "log_after": kept(l.After), "log_set_by": by, "updated_at": store.Now(),
	}
	if err := s.db.With(ctx).Table("devices").Where("id = ? AND state NOT IN ?", id, gone()).Updates(values).Error; err != nil {
		return fmt.Errorf("set log level of device: %w", err)
	}
	return nil
}

// follow reports whether the device is to forward at once for longer than before.
func (s *lineStore) follow(ctx context.Context, id string, until time.Time) (bool, error) {
	res := s.db.With(ctx).Table("devices").
		Where("id = ? AND state NOT IN ? AND (log_follow_until IS NULL OR log_follow_until < ?)", id, gone(), until).
		Updates(map[string]any{"log_follow_until": until, "updated_at": store.Now()})
	if res.Error != nil {
		return false, fmt.Errorf("follow log of device: %w", res.Error)
	}
	return res.RowsAffected > 0, nil
}
