package task

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

// cleanTasks is how many tasks one step removes, each with up to 500 timeline rows, so that nobody waits long
// for the database.
const cleanTasks = 20

// deleteFinished removes tasks that ended before t. Only tasks that were made before it can have: ids are ordered
// by time, but for those of agents that left by themselves, which go with their devices.
func (s *taskStore) deleteFinished(ctx context.Context, t time.Time) error {
	before, last := firstID(t), ""
	for {
		var found []taskRow
		err := s.db.With(ctx).Select("id", "device_id").Where("id > ? AND id < ? AND live = ? AND finished_at < ?", last, before, false, t).
			Order("id").Limit(cleanTasks).Find(&found).Error
		if err != nil {
			return fmt.Errorf("find old tasks: %w", err)
		}
		if len(found) == 0 {
			return nil
		}
		if err := s.delete(ctx, found); err != nil {
			return err
		}
		last = found[len(found)-1].ID
	}
}

// firstID comes before the ids of all that is made from a time on.
func firstID(t time.Time) string {
	var id uuid.UUID
	for i, ms := 0, t.UnixMilli(); i < 6; i++ {
		id[i] = byte(ms >> (40 - 8*i)) //nolint:gosec // the lowest 48 bits, as RFC 9562 has them
	}
	return id.String()
}

// deleteOfGone removes the tasks of devices that were removed or revoked before t.
func (s *taskStore) deleteOfGone(ctx context.Context, t time.Time) error {
	var devices []string
	err := s.db.With(ctx).Table("devices").Where("state IN ? AND updated_at < ?", []string{protocol.DeviceRevoked, protocol.DeviceRemoved}, t).
		Where("EXISTS (SELECT 1 FROM tasks t WHERE t.device_id = devices.id)").Order("id").Pluck("id", &devices).Error
	if err != nil {
		return fmt.Errorf("find devices that are gone: %w", err)
	}
	for _, id := range devices {
		for {
			var found []taskRow
			err := s.db.With(ctx).Select("id", "device_id").Where("device_id = ? AND live = ?", id, false).Limit(cleanTasks).Find(&found).Error
			if err != nil {
				return fmt.Errorf("find tasks of devices that are gone: %w", err)
			}
			if len(found) == 0 {
				break
			}
			if err := s.delete(ctx, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// delete removes tasks that are over, with their timelines. It holds their devices meanwhile, as reports about
// them do.
func (s *taskStore) delete(ctx context.Context, tasks []taskRow) error {
	var ids, devices []string
	for _, t := range tasks {
		ids, devices = append(ids, t.ID), append(devices, t.DeviceID)
	}
	slices.Sort(devices)
	err := s.db.Tx(ctx, func(tx *gorm.DB) error {
		w := &work{tx: tx}
		if err := w.lockDevices(s.db.Dialect == store.MySQL, slices.Compact(slices.Clone(devices))); err != nil {
			return err
		}
		if err := tx.Where("task_id IN ?", ids).Delete(&timelineRow{}).Error; err != nil {
			return err
		}
		return tx.Where("id IN ?", ids).Delete(&taskRow{}).Error
	})
	if err != nil {
		return fmt.Errorf("remove old tasks: %w", err)
	}
	return nil
}
