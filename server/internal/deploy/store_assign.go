package deploy

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/store"
)

// assign makes the assignment and its deployments. A device that has a live deployment of the package
// already gets none. ids makes n ids that sort by when they were made.
func (s *deployStore) assign(ctx context.Context, a assignmentRow, p Package, targets []device.Target, ids func(n int) ([]string, error)) (assignmentRow, effects, error) {
	deviceIDs := make([]string, len(targets))
	for i, t := range targets {
		deviceIDs[i] = t.ID
	}
	var made assignmentRow
	run := func(w *work) error {
		made = a
		busy := map[string]bool{}
		for part := range chunks(deviceIDs) {
			var has []string
			err := w.tx.Model(&deploymentRow{}).Where("device_id IN ? AND live = ? AND package_id = ?", part, true, p.ID).
				Pluck("device_id", &has).Error
			if err != nil {
				return fmt.Errorf("find live deployments: %w", err)
			}
			for _, id := range has {
				busy[id] = true
			}
		}
		states, err := w.deviceStates(deviceIDs)
		if err != nil {
			return err
		}
		fresh, err := ids(len(targets))
		if err != nil {
			return err
		}
		var chosen []string
		for i, t := range targets {
			if busy[t.ID] {
				continue
			}
			busy[t.ID] = true                          // a device that is named twice gets one
			if t.State = states[t.ID]; gone(t.State) { // meanwhile
				if a.AllDevices {
					continue
				}
				return mayWork([]device.Target{t})
			}
			if err := w.create(fresh[i], made, p, t); err != nil {
				return err
			}
			chosen = append(chosen, t.ID)
		}
		made.DeviceCount = len(chosen)
		if err := w.tx.Create(&made).Error; err != nil {
			return fmt.Errorf("insert assignment: %w", err)
		}
		return w.regate(chosen)
	}
	e, err := s.do(ctx, deviceIDs, run)
	if errors.Is(err, gorm.ErrDuplicatedKey) { // another node assigned the same package meanwhile
		e, err = s.do(ctx, deviceIDs, run)
	}
	return made, e, err
}

func (w *work) create(id string, a assignmentRow, p Package, t device.Target) error {
	d := &deploymentRow{
		ID: id, AssignmentID: a.ID, DeviceID: t.ID, Hostname: t.Hostname, PackageID: p.ID, PackageName: p.Name,
		PackageVersion: p.Version, Priority: p.Priority, Instruction: p.InstructionDigest,
		RetryAttempts: p.RetryAttempts, RetryDelaySeconds: int(p.RetryDelay.Seconds()), RerunSafe: p.RerunSafe,
		CreatedAt: w.now,
	}
	d.setLive(true)
	w.rows[id], w.fresh[id] = d, true
	if err := w.begin(d, a.NotBefore); err != nil {
		return err
	}
	d.State = protocol.StateAssigned
	w.note(d, entry{source: sourceAdmin, state: d.State, nextAt: a.NotBefore, message: "assigned by " + a.CreatedBy})
	return nil
}

func (s *deployStore) assignment(ctx context.Context, id string) (assignmentRow, error) {
	var row assignmentRow
	err := s.db.With(ctx).Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, fault.New(fault.NotFound, "there is no assignment %q", id)
	}
	if err != nil {
		return row, fmt.Errorf("read assignment: %w", err)
	}
	return row, nil
}

// assignments lists the newest first; before is the id of the last one seen.
func (s *deployStore) assignments(ctx context.Context, packageID, before string, limit int) ([]assignmentRow, error) {
	tx := s.db.With(ctx).Order("id DESC").Limit(limit)
	if packageID != "" {
		tx = tx.Where("package_id = ?", packageID)
	}
	if before != "" {
		tx = tx.Where("id < ?", before)
	}
	var found []assignmentRow
	if err := tx.Find(&found).Error; err != nil {
		return nil, fmt.Errorf("list assignments: %w", err)
	}
	return found, nil
}

// assigned lists an assignment's first deployments.
func (s *deployStore) assigned(ctx context.Context, id string, limit int) ([]deploymentRow, error) {
	var found []deploymentRow
	err := s.db.With(ctx).Select("id", "device_id", "hostname").Where("assignment_id = ?", id).Order("id").Limit(limit).Find(&found).Error
	if err != nil {
		return nil, fmt.Errorf("read deployments of assignment: %w", err)
	}
	return found, nil
}

// takeBack marks the assignment; its deployments follow in end.
func (s *deployStore) takeBack(ctx context.Context, id string) error {
	if _, err := s.assignment(ctx, id); err != nil {
		return err
	}
	err := s.db.With(ctx).Model(&assignmentRow{}).Where("id = ?", id).
		UpdateColumn("unassigned_at", gorm.Expr("COALESCE(unassigned_at, ?)", store.Now())).Error
	if err != nil {
		return fmt.Errorf("take back assignment: %w", err)
	}
	return nil
}
