package resident

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/backoff"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// A server is left in three steps, each of which is on the disk before the next: its removal task has ended and
// the final report is in the spool; the server has taken the report (leftFile); the folder has gone. With the
// last server the agent itself is to be removed.

// leftFile says that a server has taken the final report: its folder is of no more use.
const leftFile = "left"

// First and longest pause between two tries to deliver a final report.
const (
	farewellRetry    = 2 * time.Second
	farewellRetryMax = 15 * time.Minute
)

// ErrLeft ends Run and Once: a server was left. After Close, SweepLeft is to be called.
var ErrLeft = errors.New("a server was left")

// leaves reports whether the removal task of the server has ended well, so that nothing but the farewell is
// to be done for it.
func (u *unit) leaves() bool {
	list, err := attempt.List(u.store.Dir())
	if err != nil {
		return false
	}
	for _, a := range list {
		if _, over := a.Settled(); !over {
			continue
		}
		if t, err := a.Task(); err != nil || t.Kind != protocol.TaskRemove {
			continue
		}
		if records, err := a.Peek(); err == nil && attempt.Furthest(records) == protocol.StateSucceeded {
			return true
		}
	}
	return false
}

// look notes whether the unit leaves its server; then it begins nothing more.
func (u *unit) look() bool {
	leaves := u.leaves()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.leaving = u.leaving || leaves
	return u.leaving
}

// farewells delivers the final reports of servers that are left, for as long as it takes, and calls left
// after each.
func (r *Resident) farewells(ctx context.Context, left func()) {
	retry := backoff.Backoff{Base: farewellRetry, Cap: farewellRetryMax}
	for {
		var again <-chan time.Time
		for _, u := range r.servers() {
			if !u.look() {
				continue
			}
			err := r.farewell(ctx, u)
			if err == nil {
				left()
				return
			}
			u.log.Info("the server is left as soon as it has the final report", logging.Err, err)
			again = time.After(retry.Next())
		}
		select {
		case <-ctx.Done():
			return
		case <-r.parting:
		case <-again:
		}
	}
}

// farewell delivers what is in the spool. A server that does not know this device any more has taken the
// final report before, or wants nothing of it.
func (r *Resident) farewell(ctx context.Context, u *unit) error {
	ctx, cancel := context.WithTimeout(ctx, deliverLimit)
	defer cancel()
	if err := u.session.Flush(ctx); err != nil && !fault.Is(err, fault.Unauthenticated) {
		return err
	}
	if err := atomicfile.Write(filepath.Join(u.store.Dir(), leftFile), nil, 0o600); err != nil {
		return fmt.Errorf("note that the server was left: %w", err)
	}
	u.log.Info("the server was left")
	return nil
}

// Goodbye leaves all servers, on an administrator's word on this device. The error names those that could
// not be told yet; they are left as soon as an agent that runs has told them. SweepLeft is to be called in
// any case, after Close.
func (r *Resident) Goodbye(ctx context.Context) error {
	var errs []error
	for _, u := range r.servers() {
		err := r.part(ctx, u)
		if err == nil {
			err = r.farewell(ctx, u)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("server %q: %w", u.name, err))
		}
	}
	return errors.Join(errs...)
}

// part does what the removal task does, as if the server had asked for it.
func (r *Resident) part(ctx context.Context, u *unit) (err error) {
	if u.look() {
		return nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make an id: %w", err)
	}
	t := protocol.Task{ID: id.String(), Kind: protocol.TaskRemove, Remove: &protocol.RemoveTask{}}
	a, err := attempt.Open(u.store.Dir(), t.ID)
	if err != nil {
		return err
	}
	report, err := (item{task: t}).report(protocol.StateSucceeded, protocol.ReasonDone, "the agent was removed on the device itself", nil)
	if err != nil {
		return err
	}
	if err := a.Begin(t); err != nil {
		return err
	}
	j, _, err := a.Journal()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if err := j.Append(attempt.Record{Report: report}); err != nil {
		return fmt.Errorf("keep the final report: %w", err)
	}
	if err := u.spool.Add(ctx, report); err != nil {
		return fmt.Errorf("keep the final report: %w", err)
	}
	return a.Settle()
}

// SweepLeft removes the folders of the servers that were left. When no server stays and no enrollment waits,
// last is called before: it notes on the disk that the agent is to be removed. No agent may run on the data
// directory.
func SweepLeft(dataDir string, last func() error) error {
	names, err := identity.List(dataDir)
	if err != nil {
		return err
	}
	left, err := leftServers(dataDir)
	if err != nil || len(left) == 0 {
		return err
	}
	stay := slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(left, name) })
	_, err = os.Stat(filepath.Join(dataDir, EnrollmentFile))
	if !stay && errors.Is(err, fs.ErrNotExist) {
		if err := last(); err != nil {
			return err
		}
	}
	for _, name := range left {
		dir := identity.Open(dataDir, name).Dir()
		if err := identity.Forget(dataDir, name); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove the folder of server %q: %w", name, err)
		}
	}
	return nil
}

// leftServers names the folders that are marked as left, whether or not the identity in them is gone already.
func leftServers(dataDir string) (left []string, err error) {
	entries, err := os.ReadDir(identity.Folder(dataDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for servers that were left: %w", err)
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(identity.Open(dataDir, e.Name()).Dir(), leftFile)); err == nil {
			left = append(left, e.Name())
		}
	}
	return left, nil
}

// LockPath is the file whose lock an agent holds as long as it runs on the data directory.
func LockPath(dataDir string) string { return filepath.Join(dataDir, lockFile) }
