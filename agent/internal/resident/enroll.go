package resident

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/backoff"
	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Names in the data directory.
const (
	// EnrollmentFile holds enrollment strings, one a line, that whoever installed the agent left for it. They
	// are secrets: neither the log nor an argument of a program ever has one.
	EnrollmentFile = "enrollment"
	// RefusedFile holds those that can never succeed.
	RefusedFile = "enrollment.refused"
)

// Times and limits of enrollments that were left for the agent.
const (
	maxStrings  = 64 << 10         // bytes of the file
	enrollLimit = time.Minute      // for one try
	enrollRetry = 10 * time.Second // first bound of the back-off
	enrollCap   = 15 * time.Minute // its last
)

// pending is how the enrollment strings stand that were left for the agent.
type pending struct {
	lines   int
	problem string // why the first of them has not succeeded
}

// enrollAll tries the enrollment strings until there are none, and again when there are new ones, until ctx
// ends. Nobody waits for it: installing an agent does not fail because its server is away.
func (r *Resident) enrollAll(ctx context.Context) {
	retry := backoff.Backoff{Base: enrollRetry, Cap: enrollCap}
	for {
		r.enrollPending(ctx)
		tried := r.stringsStamp()
		var again <-chan time.Time
		if tried == "" {
			retry.Reset()
		} else {
			again = time.After(retry.Next())
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return
			case <-again:
				waiting = false
			case <-r.strings:
				waiting = r.stringsStamp() == tried
			}
		}
	}
}

// stringsStamp changes when the file of enrollment strings does; empty when there is none.
func (r *Resident) stringsStamp() string {
	info, err := os.Stat(filepath.Join(r.o.DataDir, EnrollmentFile))
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.Size(), info.ModTime())
}

// pendingState is how many strings are left, and why.
func (r *Resident) pendingState() (lines int, problem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending.lines, r.pending.problem
}

// enrollPending tries each string once. One that has succeeded leaves the file; one that never can goes to
// RefusedFile, and the log says what to do. After a crash a string is tried again, which makes no second
// device.
func (r *Resident) enrollPending(ctx context.Context) {
	var now pending
	path := filepath.Join(r.o.DataDir, EnrollmentFile)
	lines, err := readStrings(path)
	if err != nil {
		r.log.Error("read the enrollment strings", logging.Err, err)
		now = pending{lines: 1, problem: err.Error()}
	}
	for n, line := range lines {
		name, err := r.enrollOne(ctx, line)
		if ctx.Err() != nil {
			return
		}
		refused := err != nil && forGood(err)
		switch {
		case err == nil:
			err = dropString(path, line)
		case refused:
			r.log.Error("an enrollment string is refused for good: make a new one on the server, and run muster-agent enroll with it or write it to the file",
				"line", n+1, "file", path, "server", name, "moved_to", RefusedFile, logging.Err, err)
			err = errors.Join(keepRefused(filepath.Join(r.o.DataDir, RefusedFile), line), dropString(path, line))
		default:
			if _, said := r.pendingState(); said != err.Error() {
				r.log.Warn("enroll", "server", name, logging.Err, err)
			}
		}
		if err != nil {
			if now.lines++; now.problem == "" {
				now.problem = err.Error()
			}
		}
	}
	r.mu.Lock()
	changed := r.pending != now
	r.pending = now
	r.mu.Unlock()
	if changed {
		r.statusChanged()
	}
}

// enrollOne makes this computer a device of the server that a string names, or finds that it is one.
func (r *Resident) enrollOne(ctx context.Context, line string) (name string, err error) {
	e, err := protocol.ParseEnrollment(line)
	if err != nil {
		return "", err
	}
	name = identity.NameFor(e)
	if !config.ValidName(name) {
		return "", fault.New(fault.Invalid, "no name can be made of the server's address: run muster-agent enroll --name NAME")
	}
	store := identity.Open(r.o.DataDir, name)
	if id, err := store.Load(); err == nil && id.Enrolled() {
		if id.RootKeyID == e.Root && id.CAFingerprint == e.CA {
			return name, nil
		}
		return name, fault.New(fault.Conflict, "another server is enrolled as %q already: run muster-agent enroll --name with another name", name)
	}
	ctx, cancel := context.WithTimeout(ctx, enrollLimit)
	defer cancel()
	id, state, err := identity.Enroll(ctx, store, e, Facts(r.o.Config, r.o.DataDir, name))
	if err != nil {
		if now, lerr := store.Load(); forGood(err) && lerr == nil && !now.Enrolled() {
			if rerr := os.RemoveAll(store.Dir()); rerr != nil {
				r.log.Warn("forget an enrollment", logging.Err, rerr)
			}
		}
		return name, err
	}
	r.log.Info("enrolled", "server", name, "device", id.DeviceID, "state", state)
	nudge(r.look)
	return name, nil
}

// forGood reports whether an enrollment can never succeed: the string is none, the name is taken, or the
// server itself does not want the token.
func forGood(err error) bool {
	var answer *client.Error
	if errors.As(err, &answer) {
		return client.Final(err) || !answer.Foreign && fault.Is(err, fault.Unauthenticated)
	}
	return fault.Is(err, fault.Invalid) || fault.Is(err, fault.Conflict)
}

// readStrings reads the lines of the file, which is made private if it is not.
func readStrings(path string) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxStrings:
		return nil, fault.New(fault.Invalid, "%s is no file of at most %d bytes", path, maxStrings)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// dropString takes a line out of the file, and the file away with its last one. What was written to it
// meanwhile stays.
func dropString(path, line string) error {
	lines, err := readStrings(path)
	if err != nil {
		return err
	}
	lines = slices.DeleteFunc(lines, func(other string) bool { return other == line })
	if len(lines) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the used enrollment strings: %w", err)
		}
		return nil
	}
	return atomicfile.Write(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// keepRefused adds a line to the file of refused strings, once.
func keepRefused(path, line string) error {
	lines, err := readStrings(path)
	if err != nil || slices.Contains(lines, line) {
		return err
	}
	return atomicfile.Write(path, []byte(strings.Join(append(lines, line), "\n")+"\n"), 0o600)
}
