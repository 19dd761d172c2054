package devicelog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

// gone are the states of devices that never come again.
func gone() []string { return []string{protocol.DeviceRevoked, protocol.DeviceRemoved} }

// set writes a setting into the rows of devices and returns those that have it now, also when a later part
// fails.
func (s *lineStore) set(ctx context.Context, deviceIDs []string, l protocol.LogSetting, by string) (changed []string, err error) {
	kept := func(level string) string { // empty leaves it to the groups
		if level == LogGroups {
			return ""
		}
		return level
	}
	values := map[string]any{
		"log_level": kept(l.Level), "log_until": l.Until, "log_after": kept(l.After), "log_set_by": by, "updated_at": store.Now(),
	}
	for part := range slices.Chunk(slices.Sorted(slices.Values(deviceIDs)), chunk) { // who locks several devices takes them in order
		var here []string
		err := s.db.With(ctx).Table("devices").Where("id IN ? AND state NOT IN ?", part, gone()).Order("id").Pluck("id", &here).Error
		if err != nil {
			return changed, fmt.Errorf("find devices: %w", err)
		}
		if len(here) == 0 {
			continue
		}
		err = s.db.With(ctx).Table("devices").Where("id IN ? AND state NOT IN ?", here, gone()).Updates(values).Error
		if err != nil {
			return changed, fmt.Errorf("set log level of devices: %w", err)
		}
		changed = append(changed, here...)
	}
	return changed, nil
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
