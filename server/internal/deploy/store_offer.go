package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
)

// live is the read of every check-in: the device's live deployments by index, each with its attempt by
// key, small columns only.
func (s *deployStore) live(ctx context.Context, deviceID string) ([]deploymentRow, error) {
	var found []deploymentRow
	err := s.db.Hot(ctx).
		Select("deployments.id", "device_id", "package_id", "package_name", "package_version", "priority", "deployments.instruction",
			"deployments.state", "reason", "attempt", "attempt_id", "not_before", "a.state AS reached").
		Joins("JOIN deployment_attempts a ON a.id = deployments.attempt_id").
		Where("device_id = ? AND live = ?", deviceID, true).Find(&found).Error
	if err != nil {
		return nil, fmt.Errorf("read live deployments: %w", err)
	}
	return found, nil
}

// dueBetween lists the devices with a deployment that became due after since and up to now, and when
// the next one will be.
func (s *deployStore) dueBetween(ctx context.Context, since, now time.Time) (deviceIDs []string, next *time.Time, err error) {
	err = s.db.With(ctx).Model(&deploymentRow{}).Distinct().
		Where("live = ? AND not_before > ? AND not_before <= ?", true, since, now).Pluck("device_id", &deviceIDs).Error
	if err != nil {
		return nil, nil, fmt.Errorf("find due deployments: %w", err)
	}
	var row deploymentRow
	err = s.db.With(ctx).Select("id", "not_before").Where("live = ? AND not_before > ?", true, now).
		Order("not_before").Limit(1).Take(&row).Error
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return deviceIDs, nil, nil
	case err != nil:
		return nil, nil, fmt.Errorf("find next due deployment: %w", err)
	}
	return deviceIDs, row.NotBefore, nil
}

// dueFirst lists the devices with a live priority-0 deployment whose first attempt became due after since
// and up to now.
func (s *deployStore) dueFirst(ctx context.Context, since, now time.Time) ([]string, error) {
	var ids []string
	err := s.db.With(ctx).Model(&deploymentRow{}).Distinct().
		Where("live = ? AND not_before > ? AND not_before <= ? AND priority = 0 AND attempt = 1", true, since, now).
		Pluck("device_id", &ids).Error
	if err != nil {
		return nil, fmt.Errorf("find due priority-0 deployments: %w", err)
	}
	return ids, nil
}

func (s *deployStore) livePackages(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.db.With(ctx).Model(&deploymentRow{}).Distinct().Where("live = ?", true).Pluck("package_id", &ids).Error
	if err != nil {
		return nil, fmt.Errorf("list packages of live deployments: %w", err)
	}
	return ids, nil
}

// devicesAhead lists devices that were approved, quarantined, revoked or removed but still have live deployments of
// before.
func (s *deployStore) devicesAhead(ctx context.Context) ([]device.Change, error) {
	var found []device.Change
	err := s.db.With(ctx).Model(&deploymentRow{}).Distinct("deployments.device_id", "devices.state").
		Joins("JOIN devices ON devices.id = deployments.device_id").
		Where("deployments.live = ?", true).
		Where("devices.state IN (?, ?) OR (devices.state = ? AND deployments.state = ? AND deployments.reason IN ?)"+
			" OR (devices.state = ? AND deployments.reason <> ?)",
			protocol.DeviceRevoked, protocol.DeviceRemoved, protocol.DeviceActive, protocol.StateWaiting,
			[]protocol.Reason{protocol.ReasonDevicePending, protocol.ReasonDeviceQuarantined},
			protocol.DeviceQuarantined, protocol.ReasonDeviceQuarantined).
		Find(&found).Error
	if err != nil {
		return nil, fmt.Errorf("list devices ahead of their deployments: %w", err)
	}
	return found, nil
}

// halfTakenBack lists assignments that were taken back but still have live deployments.
func (s *deployStore) halfTakenBack(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.db.With(ctx).Model(&deploymentRow{}).Distinct().
		Joins("JOIN assignments ON assignments.id = deployments.assignment_id").
		Where("deployments.live = ? AND assignments.unassigned_at IS NOT NULL", true).
		Pluck("deployments.assignment_id", &ids).Error
	if err != nil {
		return nil, fmt.Errorf("list assignments taken back: %w", err)
	}
	return ids, nil
}

// owner tells whose attempt it is, for progress figures.
func (s *deployStore) owner(ctx context.Context, attemptID string) (deploymentRow, error) {
	var row deploymentRow
	err := s.db.With(ctx).Select("deployments.id", "device_id", "package_id").
		Joins("JOIN deployment_attempts a ON a.deployment_id = deployments.id").Where("a.id = ?", attemptID).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, fault.New(fault.NotFound, "there is no attempt %q", attemptID)
	}
	if err != nil {
		return row, fmt.Errorf("find owner of attempt: %w", err)
	}
	return row, nil
}
