package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

// Offer lists what a device is to carry out now, in order, by one indexed read, and in how long the next
// delayed deployment is due; 0 when none is. Only active devices may be offered anything: agentapi sees to
// that. A deployment that is under way is offered again: the device knows its attempt, and one that is no
// longer offered must not be begun.
func (s *Service) Offer(ctx context.Context, deviceID string) ([]protocol.Task, time.Duration, error) {
	live, err := s.store.live(ctx, deviceID)
	if err != nil {
		return nil, 0, err
	}
	tasks, next := plan(live, store.Now())
	return tasks, next, nil
}

// plan picks what may run now from all live deployments of one device.
func plan(live []deploymentRow, now time.Time) (tasks []protocol.Task, next time.Duration) {
	slices.SortFunc(live, func(a, b deploymentRow) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID, b.ID))
	})
	tasks = []protocol.Task{}
	blocked := slices.ContainsFunc(live, func(d deploymentRow) bool { return d.Priority == 0 && !d.scheduled(now) })
	for i := range live {
		d := &live[i]
		switch {
		case d.State.Final(): // blocks others, but is not run again by itself
			continue
		case d.Priority != 0 && blocked:
			continue
		case d.State == protocol.StateWaiting && d.Reason == protocol.ReasonSignAgain:
			continue
		case d.delayed(now):
			if wait := d.NotBefore.Sub(now); next == 0 || wait < next {
				next = wait
			}
			continue
		case len(tasks) == protocol.MaxTasks:
			continue
		}
		tasks = append(tasks, task(d))
	}
	return tasks, next
}

func task(d *deploymentRow) protocol.Task {
	return protocol.Task{
		ID:   d.AttemptID,
		Kind: protocol.TaskDeploy,
		Deploy: &protocol.DeployTask{
			DeploymentID: d.ID, AttemptID: d.AttemptID, Attempt: d.Attempt, PackageID: d.PackageID,
			PackageName: d.PackageName, Version: d.PackageVersion, Priority: d.Priority, Instruction: d.Instruction,
			Begun: d.Reached.Rank() >= protocol.StateStarted.Rank(),
		},
	}
}

// wakeDue wakes devices when a delayed deployment becomes due, until ctx ends.
func (s *Service) wakeDue(ctx context.Context) {
	// A little into the past: what became due while the server was down.
	since := store.Now().Add(-time.Minute)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.due:
		case <-timer.C:
		}
		now := store.Now()
		wait := wakeIdle
		ids, next, err := s.store.dueBetween(ctx, since, now)
		if err == nil {
			err = s.holdForDue(ctx, since, now)
		}
		if err != nil {
			if ctx.Err() == nil {
				s.log.Warn("look for due deployments", "err", err)
			}
		} else {
			since = now
			s.live.WakeMany(ids)
			if next != nil {
				wait = min(wait, max(next.Sub(now), wakeAtLeast))
			}
		}
		timer.Reset(wait)
	}
}

// holdForDue lets priority-0 deployments hold back the others of their devices now that their time has come.
func (s *Service) holdForDue(ctx context.Context, since, now time.Time) error {
	ids, err := s.store.dueFirst(ctx, since, now)
	if err != nil {
		return err
	}
	for part := range chunks(ids) {
		e, err := s.store.regate(ctx, part)
		if err != nil {
			return err
		}
		s.tell(e)
	}
	return nil
}

const (
	wakeIdle    = 30 * time.Second       // between two looks when nothing is due
	wakeAtLeast = 100 * time.Millisecond // many due times close together are one wave
)

// reconcile repeats what a crash may have cut off: ended packages, assignments and devices whose
// deployments were not all ended, new signatures and approvals that did not reach them all.
func (s *Service) reconcile(ctx context.Context) {
	ids, err := s.store.livePackages(ctx)
	if err != nil {
		s.log.Warn("bring deployments in line with their packages", "err", err)
		return
	}
	for _, id := range ids {
		if err := s.syncPackage(ctx, id); err != nil {
			s.log.Warn("bring deployments in line with their package", "package", id, "err", err)
		}
	}
	if err := s.holdForDue(ctx, time.Unix(0, 0).UTC(), store.Now()); err != nil { // MySQL compares with no year 0
		s.log.Warn("hold back what waits for due priority-0 packages", "err", err)
	}
	changes, err := s.store.devicesAhead(ctx)
	if err != nil {
		s.log.Warn("bring deployments in line with their devices", "err", err)
		return
	}
	for _, c := range changes {
		s.DeviceChanged(ctx, c)
	}
	taken, err := s.store.halfTakenBack(ctx)
	if err != nil {
		s.log.Warn("finish taking back assignments", "err", err)
		return
	}
	for _, id := range taken {
		e, err := s.store.endAll(ctx, unassigning("the server"), "assignment_id = ?", id)
		s.tell(e)
		if err != nil {
			s.log.Warn("finish taking back assignment", "assignment", id, "err", err)
		}
	}
}

func unassigning(who string) ending {
	return ending{actUnassign, sourceAdmin, protocol.StateUnassigned, protocol.ReasonByAdmin, fmt.Sprintf("assignment taken back by %s", who)}
}
