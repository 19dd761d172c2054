package deploy

import (
	"context"
	"sync"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/hub"
)

// boardSize bounds the attempts whose progress is kept in memory.
const boardSize = 20_000

// progressBoard holds the newest progress figures. They are not durable: the next one comes soon.
type progressBoard struct {
	mu       sync.Mutex
	attempts map[string]*tracked // by attempt id
}

type tracked struct {
	deploymentID, deviceID, packageID string
	done, total                       int64
}

func newProgressBoard() *progressBoard {
	return &progressBoard{attempts: map[string]*tracked{}}
}

func (b *progressBoard) get(attemptID string) (tracked, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.attempts[attemptID]
	if t == nil {
		return tracked{}, false
	}
	return *t, true
}

func (b *progressBoard) set(attemptID string, t tracked) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.attempts) >= boardSize && b.attempts[attemptID] == nil {
		for id := range b.attempts { // any one: it comes back with its next figure
			delete(b.attempts, id)
			break
		}
	}
	b.attempts[attemptID] = &t
}

// Progress takes note of how far a device's fetch has come. Figures about others' deployments are
// Forbidden.
func (s *Service) Progress(ctx context.Context, deviceID string, p protocol.Progress) error {
	if len(p.AttemptID) != 36 || p.Done < 0 || p.Total < p.Done {
		return fault.New(fault.Invalid, "malformed progress figures")
	}
	t, ok := s.progress.get(p.AttemptID)
	if !ok {
		row, err := s.store.owner(ctx, p.AttemptID)
		if err != nil {
			return err
		}
		t = tracked{deploymentID: row.ID, deviceID: row.DeviceID, packageID: row.PackageID}
	}
	if t.deviceID != deviceID {
		return fault.New(fault.Forbidden, "the attempt belongs to another device")
	}
	t.done, t.total = p.Done, p.Total
	s.progress.set(p.AttemptID, t)
	s.live.Notify(hub.Event{
		Type: "deployment", ID: t.deploymentID, DeviceID: t.deviceID, PackageID: t.packageID,
		Progress: &hub.Progress{Done: p.Done, Total: p.Total},
	})
	return nil
}
