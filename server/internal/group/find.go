package group

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/muster/muster/server/internal/store"
)

// Bounds of what one statement writes, and of the devices that are remembered until they are looked at: beyond
// it is only remembered that there are many.
const (
	batch       = 500
	mostTouched = 20_000
)

// touched gathers the devices of which something changed.
type touched struct {
	mu   sync.Mutex
	ids  map[string]struct{}
	many bool
	more chan struct{}
}

func (t *touched) add(ids []string) {
	t.mu.Lock()
	if t.ids == nil {
		t.ids = map[string]struct{}{}
	}
	for _, id := range ids {
		t.ids[id] = struct{}{}
	}
	if len(t.ids) > mostTouched {
		t.ids, t.many = nil, true
	}
	t.mu.Unlock()
	t.nudge()
}

// all asks for all searches anew.
func (t *touched) all() {
	t.mu.Lock()
	t.ids, t.many = nil, true
	t.mu.Unlock()
	t.nudge()
}

func (t *touched) nudge() {
	select {
	case t.more <- struct{}{}:
	default:
	}
}

func (t *touched) take() (ids []string, many bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids, many = slices.Sorted(maps.Keys(t.ids)), t.many
	t.ids, t.many = nil, false
	return ids, many
}

// Touched takes note that something of devices changed by which searches may find them. It writes nothing and
// does not wait.
func (s *Service) Touched(deviceIDs ...string) {
	s.touched.add(deviceIDs)
	s.dueNow() // a device that has just enrolled may have joined lists
}

// Run finds the members of saved searches, and brings what follows from membership in line with it, until ctx
// ends.
func (s *Service) Run(ctx context.Context) {
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() { s.runApply(ctx) })
	all := time.NewTicker(s.every)
	defer all.Stop()
	s.touched.all() // of what a crash forgot
	for {
		select {
		case <-ctx.Done():
			return
		case <-all.C:
			s.touched.all()
			continue
		case <-s.touched.more:
		}
		ids, many := s.touched.take()
		if err := s.findAll(ctx, ids, many); err != nil && ctx.Err() == nil {
			s.log.Error("find the members of groups", "err", err) // the next round does
		}
		select { // gather before the next round
		case <-ctx.Done():
			return
		case <-time.After(s.gather):
		}
	}
}

// Find looks for the members of all saved searches now.
func (s *Service) Find(ctx context.Context) error { return s.findAll(ctx, nil, true) }

// findAll looks for the members of all saved searches, among all devices or those that are named. One that fails
// keeps no other from it.
func (s *Service) findAll(ctx context.Context, ids []string, many bool) error {
	var errs []error
	if many {
		errs = append(errs, s.store.tidy(ctx), s.remind(ctx))
	}
	searches, err := s.store.searches(ctx)
	errs = append(errs, err)
	for _, row := range searches {
		if many {
			errs = append(errs, s.find(ctx, row, nil))
			continue
		}
		for part := range slices.Chunk(ids, batch) {
			errs = append(errs, s.find(ctx, row, part))
		}
	}
	return errors.Join(errs...)
}

// find writes who joins and who leaves a saved search, among the devices that are named, or all when ids is nil.
// A search that is changed or deleted meanwhile is left to who did that.
func (s *Service) find(ctx context.Context, row groupRow, ids []string) error {
	s.finding.Lock()
	defer s.finding.Unlock()
	changed := false
	for {
		joined, left, err := s.store.differences(ctx, row, ids, store.Now())
		if err != nil {
			return err
		}
		if len(joined)+len(left) == 0 {
			break
		}
		written, err := s.store.settle(ctx, row, joined, left)
		if err != nil {
			return err
		}
		if !written {
			return nil
		}
		changed = true
		if len(joined) < batch && len(left) < batch {
			break
		}
	}
	if changed {
		s.tell(row.ID)
	}
	return nil
}
