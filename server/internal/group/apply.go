package group

import (
	"context"
	"slices"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/versionkey"
)

// What has to be brought in line after a device joins or leaves, as bits of a member's row.
const (
	dueLog     = 1 << iota // the level from which the device forwards log lines
	dueRelease             // the release that the device is to become
	dueAll     = dueLog | dueRelease
)

// applyEvery is how soon what could not be brought in line is tried again.
const applyEvery = time.Minute

// Apply is what follows from membership elsewhere. Each may be called any number of times for the same devices.
type Apply struct {
	// Wake tells devices to check in, for their log level has changed.
	Wake func(deviceIDs []string)
	// Release is the version of a release that devices would take today; NotFound, or a Conflict of one that they would not.
	Release func(ctx context.Context, releaseID string) (version string, err error)
	// EnsureUpdate asks those of the devices to become the release that can, and have not been asked for it before.
	EnsureUpdate func(ctx context.Context, releaseID string, deviceIDs []string) error
}

func (a Apply) checkRelease(ctx context.Context, id string) error {
	_, err := a.Release(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return fault.Field("body.release_id", "there is no release %.60q", id)
	}
	return err
}

// remind has the members of groups with a release asked again whose agents are older: an agent may have had
// another update under way, or not have allowed any, when it joined.
func (s *Service) remind(ctx context.Context) error {
	rows, err := s.store.withRelease(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		version, err := s.apply.Release(ctx, row.ReleaseID)
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) {
			continue // the release is retired, say; who set it sees that
		}
		if err != nil {
			return err
		}
		if err := s.store.remind(ctx, row.ID, versionkey.OfRelease(version)); err != nil {
			return err
		}
	}
	s.dueNow()
	return nil
}

func (s *Service) dueNow() {
	select {
	case s.due <- struct{}{}:
	default:
	}
}

func (s *Service) runApply(ctx context.Context) {
	again := time.NewTicker(applyEvery)
	defer again.Stop()
	for {
		if err := s.Bring(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("bring devices in line with their groups", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.due:
		case <-again.C:
		}
		select { // gather: each change of a device comes by here, and a round reads all that waits for an approval
		case <-ctx.Done():
			return
		case <-time.After(s.gather):
		}
	}
}

// Bring brings devices in line with the groups that they have joined and left. What fails is tried again later,
// and does not keep the rest from it.
func (s *Service) Bring(ctx context.Context) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	var after memberRow
	for {
		rows, err := s.store.due(ctx, after)
		if err != nil || len(rows) == 0 {
			return err
		}
		after = rows[len(rows)-1]
		if err := s.bring(ctx, rows); err != nil {
			return err
		}
	}
}

// bring does what is due of some rows, and notes that it is done.
func (s *Service) bring(ctx context.Context, rows []memberRow) error {
	woken, err := s.store.setLevels(ctx, devicesOf(rows, func(r memberRow) bool { return r.Due&dueLog != 0 }))
	if err != nil {
		return err
	}
	if len(woken) > 0 {
		s.apply.Wake(woken)
	}
	done := map[string]int{} // bits that stay, by group
	for _, id := range groupsOf(rows) {
		if !s.update(ctx, id, devicesOf(rows, func(r memberRow) bool { return r.GroupID == id && r.Member && r.Due&dueRelease != 0 })) {
			done[id] = dueRelease
		}
	}
	return s.store.done(ctx, rows, done)
}

// update asks devices to become their group's release, and reports whether that need not be tried again.
func (s *Service) update(ctx context.Context, groupID string, deviceIDs []string) bool {
	if len(deviceIDs) == 0 {
		return true
	}
	row, err := s.store.get(ctx, groupID)
	if fault.Is(err, fault.NotFound) || err == nil && row.ReleaseID == "" {
		return true
	}
	if err == nil {
		err = s.apply.EnsureUpdate(ctx, row.ReleaseID, deviceIDs)
	}
	if err == nil || ctx.Err() != nil {
		return err == nil
	}
	s.log.Warn("ask members to become their group's release", "group", row.Name, "release", row.ReleaseID, "err", err)
	return fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) // trying again would change nothing
}

func devicesOf(rows []memberRow, wanted func(memberRow) bool) []string {
	var ids []string
	for _, r := range rows {
		if wanted(r) {
			ids = append(ids, r.DeviceID)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(ids)))
}

func groupsOf(rows []memberRow) []string {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.GroupID
	}
	return slices.Compact(ids) // they come sorted
}

// talkative is the level of the two from which more is forwarded; empty is none.
func talkative(a, b string) string {
	i, j := slices.Index(protocol.LogLevels, a), slices.Index(protocol.LogLevels, b)
	if i < 0 || j >= 0 && j < i {
		return b
	}
	return a
}
