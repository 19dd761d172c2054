// Package removal takes the agent off its computer: service, package, program, data. It is the last thing that
// happens, after every server was told (package resident) or on an administrator's word on the device itself.
//
// A marker in the data directory says that it is under way, and stays until all else has gone: an agent that
// finds it when it starts does nothing but go on with the removal. Every step may be repeated. The work
// is done by a process in a session of its own, because the agent is stopped on the way.
//
// Only an agent with the default data directory has a service, a package and settings of the system; that of
// any other directory takes its own data alone. A program is deleted when `service install` made a service of
// it; one that lies somewhere and was run by hand stays there, for nobody knows what else it is for.
package removal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/service"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
)

// Names in the data directory.
const (
	markerFile = "removal.json"
	workDir    = "removal" // of the process that does it
)

// settings is where administrators leave things for the agent.
const settings = "/etc/muster-agent"

// Arg is the agent's hidden command that does the work: `removal DIR`.
const Arg = "removal"

// Times.
const (
	patience   = 24 * time.Hour   // for a command that runs, or whoever else uses the package manager
	lookAgain  = 10 * time.Second // while the package manager is busy
	tick       = 50 * time.Millisecond
	purgeLimit = 10 * time.Minute
)

// Options say what is removed.
type Options struct {
	DataDir string
	// Default says that DataDir is the agent's default one.
	Default bool
	// AgentLock and ChangeLock are held while an agent, or a change of this computer, is at work.
	AgentLock, ChangeLock string
	Program               string
	Log                   *slog.Logger
}

// marker is the content of the marker, for people.
type marker struct {
	At time.Time `json:"at"`
}

// Mark says on the disk that the agent is to be removed. From then on it is.
func Mark(dataDir string) error {
	data, err := json.Marshal(marker{At: time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		err = atomicfile.Write(filepath.Join(dataDir, markerFile), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("note the removal: %w", err)
	}
	return nil
}

// Marked reports whether the agent is to be removed.
func Marked(dataDir string) bool {
	_, err := os.Stat(filepath.Join(dataDir, markerFile))
	return err == nil
}

// Start makes a process that does the work and outlives this one, unless there is one.
func Start(dataDir, program string) error {
	dir := filepath.Join(dataDir, workDir)
	phase, _, err := proc.Inspect(dir)
	if err == nil && phase == proc.RunActive {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil { // of one that did not come to its end
		return fmt.Errorf("begin the removal: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("begin the removal: %w", err)
	}
	if _, err := proc.StartRunner(dir, proc.Command{Argv: []string{program, Arg, dataDir}, TimeLimit: 2 * patience}); err != nil {
		return fmt.Errorf("begin the removal: %w", err)
	}
	return nil
}

// Finish does the work, once no agent runs and no change is under way. A directory without the marker is a
// fault of code not_found, and is not touched.
func Finish(ctx context.Context, o Options) error {
	if !Marked(o.DataDir) {
		return fault.New(fault.NotFound, "%s holds no agent that is to be removed", o.DataDir)
	}
	svc := service.Options{Program: o.Program, Data: o.DataDir, Default: o.Default}
	ours := service.Owns(ctx, svc)
	if ours || o.Default {
		if err := service.Stop(ctx); err != nil && !errors.Is(err, service.ErrNone) {
			o.Log.Warn("stop the service", logging.Err, err) // what counts is that the agent has ended
		}
	}
	if err := until(ctx, func() (bool, error) { held, err := proc.Held(o.AgentLock); return !held, err }); err != nil {
		return fmt.Errorf("wait for the agent to end: %w", err)
	}
	lock, err := takeChange(ctx, o)
	if err != nil {
		return fmt.Errorf("wait for a change of this computer to end: %w", err)
	}
	defer func() { _ = lock.Unlock() }() // its file may have gone
	if err := empty(o, markerFile, workDir); err != nil {
		return err
	}
	if o.Default {
		if err := purge(ctx, o); err != nil {
			return err
		}
		if err := os.RemoveAll(settings); err != nil {
			return fmt.Errorf("remove the settings: %w", err)
		}
	}
	if ours {
		if err := errors.Join(service.Uninstall(ctx, svc), removeProgram(o.Program)); err != nil {
			return err
		}
	}
	return vanish(o)
}

// takeChange waits for the lock of all changes.
func takeChange(ctx context.Context, o Options) (lock *proc.Lock, err error) {
	said := false
	err = until(ctx, func() (bool, error) {
		var holder string
		lock, holder, err = proc.TryLock(o.ChangeLock, "removal of the agent")
		if errors.Is(err, proc.ErrHeld) {
			if !said {
				o.Log.Info("waiting for a change of this computer to end", "holder", holder)
			}
			said = true
			return false, nil
		}
		return err == nil, err
	})
	return lock, err
}

// until asks again and again, within patience.
func until(ctx context.Context, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if ok, err := is(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// known are the names that agents make in their data directories.
var known = []string{
	"agent.json", "change.lock", "enrollment", "enrollment.new", "enrollment.refused", "fragment-lists", "fragments", "launch", "listener.pem", "log",
	"module-results", "modules", "private-fragments", "reboot_needed", "removal", "removal.json", "resident.lock", "servers", "status.json",
}

// isPart reports whether a name is of a file that package atomicfile was writing when a crash cut it off.
func isPart(name string) bool { return strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".tmp") }

// empty removes what is in the data directory but the names in keep. Of a directory that an administrator
// has chosen, what the agent did not make stays.
func empty(o Options, keep ...string) error {
	entries, err := os.ReadDir(o.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the data: %w", err)
	}
	var errs []error
	for _, e := range entries {
		switch name := e.Name(); {
		case slices.Contains(keep, name):
		case !o.Default && !slices.Contains(known, name) && !isPart(name):
			o.Log.Warn("this is not the agent's and stays", "path", filepath.Join(o.DataDir, name))
		default:
			errs = append(errs, os.RemoveAll(filepath.Join(o.DataDir, name)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the data: %w", err)
	}
	return nil
}

// vanish removes the rest of the data, the marker last.
func vanish(o Options) error {
	if err := empty(o, markerFile); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(o.DataDir, markerFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the marker: %w", err)
	}
	if left, err := os.ReadDir(o.DataDir); err == nil && len(left) > 0 {
		return nil // an administrator's
	}
	if err := os.Remove(o.DataDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the data directory: %w", err)
	}
	return nil
}

// purge lets the package manager remove the package that the program is of, if it is of one, for as long as
// somebody else keeps the package manager busy.
func purge(ctx context.Context, o Options) error {
	argv := purger(ctx, o.Program)
	if argv == nil {
		return nil
	}
	giveUp := time.Now().Add(patience)
	for {
		_, code, err := proc.Output(ctx, argv, "/", []string{"DEBIAN_FRONTEND=noninteractive"}, purgeLimit)
		if err == nil && code == 0 {
			return nil
		}
		if _, gone := os.Stat(o.Program); errors.Is(gone, fs.ErrNotExist) && purger(ctx, o.Program) == nil {
			return nil // by somebody else meanwhile
		}
		o.Log.Warn("the package cannot be removed yet", "command", strings.Join(argv, " "), "exit_code", code, logging.Err, err)
		if time.Now().After(giveUp) {
			return fault.New(fault.Unavailable, "%s does not succeed (exit code %d)", strings.Join(argv, " "), code)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

// dpkgList is dpkg's list of the files of our package.
const dpkgList = "/var/lib/dpkg/info/" + service.Name + ".list"

// purger is the command that removes the package of which the program is; nil when it is of none.
func purger(ctx context.Context, program string) []string {
	if list, err := os.ReadFile(dpkgList); err == nil && slices.Contains(strings.Split(string(list), "\n"), program) {
		return []string{"dpkg", "--purge", service.Name}
	}
	name, code, err := proc.Output(ctx, []string{"rpm", "-qf", "--queryformat", "%{NAME}", program}, "/", nil, time.Minute)
	if err == nil && code == 0 && string(name) == service.Name {
		return []string{"rpm", "-e", service.Name}
	}
	return nil
}
