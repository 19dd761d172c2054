package resident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/muster/muster/agent/internal/fragments"
	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/local"
	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/session"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// StatusFile is what the resident last said about itself, in the data directory.
const StatusFile = "status.json"

// statusEvery is the shortest time between two writings of the status.
const statusEvery = time.Second

// Status is the content of StatusFile. It is for people: nothing is decided by it.
type Status struct {
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	// Program says whether that is the installed program or one that an update brought.
	Program launch.Program `json:"program"`
	Written time.Time      `json:"written"`
	Stopped bool           `json:"stopped"`
	// Attempt is the id of the change of this computer that is being made.
	Attempt string `json:"running_attempt,omitempty"`
	// Running are the tasks at work: one change at most, and beside it one that changes nothing.
	Running   []Task             `json:"running"`
	Queued    int                `json:"queued_tasks"`
	Footprint protocol.Footprint `json:"footprint"` // its octets are those of all servers
	Servers   []ServerStatus     `json:"servers"`
	// Enrollment strings in the data directory that have not succeeded yet, and why.
	PendingEnrollments int         `json:"pending_enrollments"`
	EnrollmentProblem  string      `json:"enrollment_problem,omitempty"`
	Listener           local.State `json:"listener"`
	// Modules are the modules from outside, by name.
	Modules []ModuleStatus `json:"modules"`
}

// ModuleStatus is how a module from outside stands.
type ModuleStatus struct {
	modules.State
	Last time.Time `json:"last_run"` // by its schedule; zero: never
	Next time.Time `json:"next_run"` // zero: only when a server asks
}

// Task is a task at work.
type Task struct {
	Server string `json:"server"`
	Kind   string `json:"kind"`
	ID     string `json:"id,omitempty"` // of the attempt or task; empty for an inventory that nobody asked for
}

// ServerStatus is how the agent stands with one server.
type ServerStatus struct {
	session.Status
	TasksAllowed []string `json:"tasks_allowed"`
	Queued       int      `json:"queued_tasks"`
	LogLevel     string   `json:"log_level"` // from which on log lines are forwarded, or off
	// The inventory the server took last, and when the next is due; zero without one.
	LastInventory    time.Time `json:"last_inventory"`
	NextInventory    time.Time `json:"next_inventory"`
	InventoryProblem string    `json:"inventory_problem,omitempty"`
	// ModulesProblem is why the server has not got what modules found.
	ModulesProblem string `json:"modules_problem,omitempty"`
	SentBytes      int64  `json:"sent_bytes"`
	ReceivedBytes  int64  `json:"received_bytes"`
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
	s := Status{
		PID: os.Getpid(), Version: buildinfo.Version, Since: r.since, Program: r.o.Program, Written: time.Now().UTC(), Running: []Task{},
		Footprint: r.footprint(), Servers: []ServerStatus{}, Listener: r.listener.State(), Modules: r.outside.status(),
	}
	r.mu.Lock()
	s.PendingEnrollments, s.EnrollmentProblem = r.pending.lines, r.pending.problem
	for _, p := range r.running {
		if s.Running = append(s.Running, p.Task); p.lane == changing {
			s.Attempt = p.ID
		}
	}
	r.mu.Unlock()
	for _, u := range r.servers() {
		one := u.status()
		s.Queued += one.Queued
		s.Footprint.SentBytes, s.Footprint.ReceivedBytes = s.Footprint.SentBytes+one.SentBytes, s.Footprint.ReceivedBytes+one.ReceivedBytes
		s.Servers = append(s.Servers, one)
	}
	return s
}

func (u *unit) status() ServerStatus {
	cost := u.session.Footprint()
	one := ServerStatus{Status: u.session.Status(), TasksAllowed: slices.Clone(u.allowed), SentBytes: cost.SentBytes, ReceivedBytes: cost.ReceivedBytes}
	if one.TasksAllowed == nil {
		one.TasksAllowed = []string{}
	}
	one.LogLevel = protocol.LogOff
	if u.forward != nil {
		one.LogLevel = u.forward.Level()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	one.Queued, one.ModulesProblem = len(u.queue), u.parcel.problem
	if u.roll.wanted {
		one.LastInventory, one.NextInventory, one.InventoryProblem = u.roll.plan.Last, u.roll.plan.Next, u.roll.plan.Problem
	}
	return one
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
