package task

import (
	"context"
	"fmt"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/text"
)

// hadUpdate tells which of the devices ever had an update to the release.
func (s *taskStore) hadUpdate(ctx context.Context, releaseID string, deviceIDs []string) (map[string]bool, error) {
	var found []string
	err := s.db.With(ctx).Model(&taskRow{}).Distinct().Where("release_id = ? AND device_id IN ?", releaseID, deviceIDs).Pluck("device_id", &found).Error
	if err != nil {
		return nil, fmt.Errorf("read updates: %w", err)
	}
	had := map[string]bool{}
	for _, id := range found {
		had[id] = true
	}
	return had, nil
}

// updating lists some devices that have an open update to the release.
func (s *taskStore) updating(ctx context.Context, releaseID string) ([]string, error) {
	var found []string
	err := s.db.With(ctx).Model(&taskRow{}).Distinct().Where("release_id = ? AND live = ?", releaseID, true).Limit(chunk).Pluck("device_id", &found).Error
	if err != nil {
		return nil, fmt.Errorf("read open updates: %w", err)
	}
	return found, nil
}

// endUpdates ends the open updates of the devices to the release.
func (s *taskStore) endUpdates(ctx context.Context, releaseID string, deviceIDs []string, who string) (effects, error) {
	return s.do(ctx, deviceIDs, func(w *work) error {
		found, err := w.load("release_id = ? AND live = ? AND device_id IN ?", releaseID, true, deviceIDs)
		if err != nil {
			return err
		}
		for _, t := range found {
			w.end(t, sourceAdmin, protocol.ReasonRetired, "the release was retired by "+text.Cut(who, 120))
			w.effects.wake = append(w.effects.wake, t.DeviceID)
		}
		return nil
	})
}
