package deploy

import (
	"context"
	"fmt"
	"slices"

	"github.com/muster/muster/packages/protocol"
)

// over lists the states in which a deployment is over.
func over() []protocol.State {
	return []protocol.State{
		protocol.StateSucceeded, protocol.StateFailed, protocol.StateRefused, protocol.StateExpired,
		protocol.StateInterrupted, protocol.StateNotApplicable, protocol.StateCancelled, protocol.StateUnassigned,
	}
}

// list returns the newest first.
func (s *deployStore) list(ctx context.Context, f Filter) ([]deploymentRow, error) {
	tx := s.db.With(ctx).Order("id DESC").Limit(f.Limit)
	for column, value := range map[string]string{
		"device_id": f.DeviceID, "package_id": f.PackageID, "assignment_id": f.AssignmentID, "state": f.State,
	} {
		if value != "" {
			tx = tx.Where(column+" = ?", value)
		}
	}
	if f.Open != nil && *f.Open {
		tx = tx.Where("live = ? AND state NOT IN ?", true, over()) // open ones are all live: the index serves
	} else if f.Open != nil {
		tx = tx.Where("state IN ?", over())
	}
	if f.Before != "" {
		tx = tx.Where("id < ?", f.Before)
	}
	var found []deploymentRow
	if err := tx.Find(&found).Error; err != nil {
		return nil, fmt.Errorf("list deployments: %w", err)
	}
	return found, nil
}

// What is shown of a deployment that has tried for months.
const (
	timelineShown = 1000 // newest entries
	attemptsShown = 50   // newest attempts with their output
)

// history is the newest part of a deployment's timeline in order, and its newest attempts.
func (s *deployStore) history(ctx context.Context, id string) ([]timelineRow, map[int]attemptRow, error) {
	var entries []timelineRow
	if err := s.db.With(ctx).Where("deployment_id = ?", id).Order("seq DESC").Limit(timelineShown).Find(&entries).Error; err != nil {
		return nil, nil, fmt.Errorf("read timeline: %w", err)
	}
	slices.Reverse(entries)
	var found []attemptRow
	if err := s.db.With(ctx).Where("deployment_id = ?", id).Order("number DESC").Limit(attemptsShown).Find(&found).Error; err != nil {
		return nil, nil, fmt.Errorf("read attempts: %w", err)
	}
	attempts := map[int]attemptRow{}
	for _, a := range found {
		attempts[a.Number] = a
	}
	return entries, attempts, nil
}

// Counts is how a package's or device's deployments stand.
type Counts struct {
	Total     int `json:"total"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"` // failed, refused, interrupted
	Open      int `json:"open"`
}

// Counts counts the deployments of packages by how they stand. A package without any is not in the map.
func (s *Service) Counts(ctx context.Context, packageIDs []string) (map[string]Counts, error) {
	return s.store.counts(ctx, packageIDs)
}

// OpenCounts counts the open deployments of devices. A device without any is not in the map.
func (s *Service) OpenCounts(ctx context.Context, deviceIDs []string) (map[string]int, error) {
	return s.store.openCounts(ctx, deviceIDs)
}

func (s *deployStore) counts(ctx context.Context, packageIDs []string) (map[string]Counts, error) {
	out := map[string]Counts{}
	for part := range chunks(packageIDs) {
		var found []struct {
			PackageID string
			State     protocol.State
			N         int
		}
		err := s.db.With(ctx).Model(&deploymentRow{}).Select("package_id, state, COUNT(*) AS n").
			Where("package_id IN ?", part).Group("package_id, state").Find(&found).Error
		if err != nil {
			return nil, fmt.Errorf("count deployments: %w", err)
		}
		for _, f := range found {
			c := out[f.PackageID]
			c.Total += f.N
			switch {
			case f.State == protocol.StateSucceeded:
				c.Succeeded += f.N
			case f.State == protocol.StateFailed || f.State == protocol.StateRefused || f.State == protocol.StateInterrupted:
				c.Failed += f.N
			case !f.State.Final():
				c.Open += f.N
			}
			out[f.PackageID] = c
		}
	}
	return out, nil
}

func (s *deployStore) openCounts(ctx context.Context, deviceIDs []string) (map[string]int, error) {
	out := map[string]int{}
	for part := range chunks(deviceIDs) {
		var found []struct {
			DeviceID string
			N        int
		}
		err := s.db.With(ctx).Model(&deploymentRow{}).Select("device_id, COUNT(*) AS n").
			Where("device_id IN ? AND live = ? AND state NOT IN ?", part, true, over()).Group("device_id").Find(&found).Error
		if err != nil {
			return nil, fmt.Errorf("count open deployments: %w", err)
		}
		for _, f := range found {
			out[f.DeviceID] = f.N
		}
	}
	return out, nil
}
