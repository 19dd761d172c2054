package resident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/muster/muster/agent/internal/fragments"
	"github.com/muster/muster/agent/internal/local"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/session"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
)

// StatusFile is what the resident last said about itself, in the data directory.
const StatusFile = "status.json"

// statusEvery is the shortest time between two writings of the status.
const statusEvery = time.Second

// Status is the content of StatusFile. It is for people: nothing is decided by it.
type Status struct {
	PID      int              `json:"pid"`
	Version  string           `json:"version"`
	Since    time.Time        `json:"since"`
	Written  time.Time        `json:"written"`
	Stopped  bool             `json:"stopped"`
	Attempt  string           `json:"running_attempt,omitempty"`
	Queued   int              `json:"queued_tasks"`
	Sessions []session.Status `json:"servers"`
	Listener local.State      `json:"listener"`
}

// ReadStatus reads what the resident of a data directory last wrote.
func ReadStatus(dataDir string) (Status, error) {
	var s Status
	data, err := os.ReadFile(filepath.Join(dataDir, StatusFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, fault.New(fault.NotFound, "no agent has run with the data directory %s yet", dataDir)
	}
	if err != nil {
		return s, fmt.Errorf("read the status: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("read the status: %w", err)
	}
	return s, nil
}

// Status is how the agent stands.
func (r *Resident) Status() Status {
	s := Status{PID: os.Getpid(), Version: buildinfo.Version, Since: r.since, Written: time.Now().UTC(), Sessions: []session.Status{}, Listener: r.listener.State()}
	r.mu.Lock()
	s.Attempt = r.running[changing]
	r.mu.Unlock()
	for _, u := range r.servers() {
		u.mu.Lock()
		s.Queued += len(u.queue)
		u.mu.Unlock()
		s.Sessions = append(s.Sessions, u.session.Status())
	}
	return s
}

func (r *Resident) statusChanged() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *Resident) writeStatus(stopped bool) error {
	s := r.Status()
	s.Stopped = stopped
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the status: %w", err)
	}
	return atomicfile.Write(filepath.Join(r.o.DataDir, StatusFile), append(data, '\n'), 0o600)
}

// writeStatusAll writes the status when it has changed, at most once a second.
func (r *Resident) writeStatusAll(ctx context.Context) {
	for {
		if err := r.writeStatus(false); err != nil {
			r.log.Warn("write the status", logging.Err, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(statusEvery):
		}
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
		}
	}
}

// keepHouse removes what nobody needs any more: old tombstones, and fragments that no attempt has used.
func (r *Resident) keepHouse(ctx context.Context) {
	for {
		before := time.Now().Add(-keepTombstones)
		for _, u := range r.servers() {
			if err := u.prune(before); err != nil {
				u.log.Warn("remove old attempts", logging.Err, err)
			}
		}
		if err := fragments.Prune(r.o.DataDir, before); err != nil {
			r.log.Warn("remove old fragments", logging.Err, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(housekeeping):
		}
	}
}

// Running reports whether an agent holds the data directory.
func Running(dataDir string) (bool, error) {
	held, err := proc.Held(filepath.Join(dataDir, lockFile))
	if err != nil {
		return false, fmt.Errorf("look whether the agent runs: %w", err)
	}
	return held, nil
}
