// Package resident is the small process that stays: it holds the single-instance lock of a data
// directory, one session per server, and runs the tasks they are offered, each in a process of its own.
// Those that change the computer run one after another over all servers; those that change nothing, as an
// inventory, run beside them, one after another for each server.
//
// It keeps no state of its own that a crash could lose: what was begun stands in the attempts' journals,
// what was said in the spools, who we are in the identities. After a restart it goes on with what the
// journals hold unfinished. The cli makes one Resident and calls Run or Once, once.
package resident

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/agent/internal/backoff"
	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/local"
	"github.com/muster/muster/agent/internal/logforward"
	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/session"
	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/schedule"
)

// Names in the data directory.
const (
	lockFile = "resident.lock"
	spoolDir = "spool" // of a server's folder
)

// Times.
const (
	keepTombstones = 7 * 24 * time.Hour
	housekeeping   = 6 * time.Hour
	deliverLimit   = 30 * time.Second // for delivering and checking in between two tasks
	releaseAfter   = 10 * time.Second // of quiet, before memory is given back to the system
)

// Options make a Resident.
type Options struct {
	DataDir string
	Config  config.Config
	Log     *slog.Logger
	// Lines takes what tasks log, and forwards what servers ask for; nil drops both.
	Lines *logforward.Log
	// Program is this very program, and Trial what the launcher waits for while it is on trial; else nil.
	Program launch.Program
	Trial   *launch.Trial
}

// Resident is the agent while it runs.
type Resident struct {
	o        Options
	log      *slog.Logger
	instance string
	since    time.Time
	lock     *proc.Lock
	work     chan struct{} // something changed that may give the worker of changes work
	changed  chan struct{} // the status changed
	burst    *time.Timer
	listener *local.Listener
	parting  chan struct{} // a removal task has ended
	outside  *outside

	look    chan struct{}     // the servers on the disk may have changed
	strings chan struct{}     // the file of enrollment strings may have changed
	serving sync.WaitGroup    // sessions, and servers that are let go of
	broken  map[string]string // server → why it is left out, as it was said

	mu      sync.Mutex
	units   []*unit
	leaving map[string]bool // servers that are being let go of
	pending pending
	running []*runs // the task processes that run, changes first
	cause   error   // for which Run or Once is to end
	stop    context.CancelCauseFunc
}

// New takes the single-instance lock and opens everything. A second agent on the same data directory is a
// fault of code conflict that says who holds it. Close must be called in the end.
func New(o Options) (*Resident, error) {
	lock, holder, err := proc.TryLock(filepath.Join(o.DataDir, lockFile), "muster-agent")
	if errors.Is(err, proc.ErrHeld) {
		return nil, fault.New(fault.Conflict, "another muster-agent uses %s already: %s", o.DataDir, holder)
	}
	if err != nil {
		return nil, fmt.Errorf("take the lock of %s: %w", o.DataDir, err)
	}
	r := &Resident{
		o: o, log: o.Log, lock: lock, since: time.Now().UTC(),
		work: make(chan struct{}, 1), changed: make(chan struct{}, 1), look: make(chan struct{}, 1), strings: make(chan struct{}, 1), parting: make(chan struct{}, 1),
		broken: map[string]string{}, leaving: map[string]bool{},
	}
	r.listener = r.newListener()
	r.outside = newOutside(o.DataDir, o.Config.ModulesPath(o.DataDir))
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Resident) open() error {
	id, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("make an instance id: %w", err)
	}
	r.instance = id.String()
	names, err := identity.List(r.o.DataDir)
	if err != nil {
		return err
	}
	r.burst = time.AfterFunc(releaseAfter, release)
	for _, name := range names {
		u, err := r.newUnit(name)
		if err != nil {
			// One server whose enrollment was cut off must not keep the others from this device.
			r.log.Error("a server is left out", "server", name, logging.Err, err)
			r.broken[name] = err.Error()
			continue
		}
		r.units = append(r.units, u)
	}
	return nil
}

func (r *Resident) newUnit(name string) (*unit, error) {
	sched, err := r.o.Config.ScheduleOf(name)
	if err != nil {
		return nil, err
	}
	u := &unit{
		name: name, store: identity.Open(r.o.DataDir, name), allowed: r.o.Config.Allowed(name),
		later: map[string]time.Time{}, log: r.log.With("server", name), over: make(chan struct{}), work: make(chan struct{}, 1),
	}
	inventories, err := schedule.Parse(r.o.Config.Inventory.Schedule)
	if err != nil {
		return nil, err
	}
	u.planInventories(inventories, time.Duration(r.o.Config.Inventory.Jitter), facts.BootID(), time.Now())
	u.parcel.retry = backoff.Backoff{Base: moduleRetry, Cap: inventoryCap}
	if names, err := r.outside.results.Names(); err == nil && len(names) > 0 {
		u.sendSoon(time.Now(), false)
	}
	if u.spool, err = spool.Open(filepath.Join(u.store.Dir(), spoolDir), spool.Limits{}); err != nil {
		return nil, err
	}
	quiet := r.log
	if r.o.Lines != nil {
		quiet = r.o.Lines.Quiet()
		if slices.Contains(u.allowed, protocol.TaskLog) {
			o := logforward.Options{
				Store: u.store, Spool: u.spool, PerMinute: r.o.Config.Log.ForwardPerMinute, Burst: r.o.Config.Log.ForwardBurst,
			}
			if !slices.Contains(u.allowed, protocol.TaskModule) {
				o.Except = protocol.TaskModule // what modules say tells what they find
			}
			u.forward = r.o.Lines.Forward(o)
		} else if err := logforward.Forget(u.store); err != nil {
			return nil, errors.Join(err, u.close())
		}
	}
	u.session, err = session.New(session.Options{
		Store: u.store, Schedule: sched, Jitter: time.Duration(r.o.Config.Jitter), Spool: u.spool,
		Instance: r.instance, Log: r.log, Quiet: quiet,
		Host: session.Host{
			Asked:    u.asked,
			Facts:    func() protocol.Facts { return Facts(r.o.Config, r.o.DataDir, name) },
			Attempts: u.unfinished,
			Offer: func(tasks []protocol.Task, untrusted error) {
				u.offer(tasks, untrusted)
				u.answered(time.Now())
				r.nudge()
				nudge(r.look)
			},
			Offline:  func() { u.goOn(); r.nudge() },
			Answered: func() { r.answered(name) },
			Changed:  r.statusChanged,
			Settled:  r.settled,
			Footprint: func() protocol.Footprint {
				f := r.footprint()
				u.mu.Lock()
				defer u.mu.Unlock()
				f.SentBytes, f.ReceivedBytes = u.sent, u.received
				return f
			},
		},
	})
	if err != nil {
		return nil, errors.Join(err, u.close())
	}
	return u, nil
}

// noServer says why there is nothing to do.
func (r *Resident) noServer() error {
	for name, why := range r.broken {
		return fault.New(fault.Conflict, "server %q: %s", name, why)
	}
	if n, why := r.pendingState(); n > 0 {
		return fault.New(fault.Unavailable, "this device is not enrolled at any server yet: %s", why)
	}
	return fault.New(fault.NotFound, "this device is not enrolled at any server: run muster-agent enroll first (data directory %s)", r.o.DataDir)
}

// Facts are what this device tells the named server about itself.
func Facts(c config.Config, dataDir, server string) protocol.Facts {
	f := facts.Read(c.Allowed(server))
	f.Modules = config.Kinds()
	if !slices.Contains(f.TasksAllowed, protocol.TaskModule) {
		return f // a name tells what is found, too
	}
	if names, err := modules.Names(c.ModulesPath(dataDir)); err == nil { // refused ones, too: their sections say why
		for _, name := range names {
			f.Modules = append(f.Modules, protocol.ModuleFact(name))
		}
	}
	return f
}

// Close gives everything back.
func (r *Resident) Close() error {
	var errs []error
	if r.burst != nil {
		r.burst.Stop()
	}
	for _, u := range r.servers() {
		errs = append(errs, u.close())
	}
	return errors.Join(append(errs, r.lock.Unlock())...)
}

// Tune makes the runtime of this process small: it waits nearly all of the time.
func Tune() {
	debug.SetGCPercent(25)
	runtime.GOMAXPROCS(1)
}

// Run stays until ctx ends. Task processes end with it; the command of a deployment does not, and is
// attached to again at the next start. The error is ErrLeft when a server was left,
// ErrRestart or ErrProved when the launcher is to judge.
func (r *Resident) Run(ctx context.Context) error {
	ctx, stop := r.endable(ctx)
	defer stop()
	r.log.Info("agent starts", "data", r.o.DataDir, "servers", len(r.servers()))
	if len(r.servers()) == 0 {
		r.log.Warn("this device is not enrolled at any server: run muster-agent enroll, the agent takes it up from there", "data", r.o.DataDir)
	}
	var wg sync.WaitGroup
	for _, u := range r.servers() {
		r.serve(ctx, u)
	}
	wg.Go(func() { r.keepServers(ctx) })
	wg.Go(func() { r.enrollAll(ctx) })
	wg.Go(func() { r.writeStatusAll(ctx) })
	wg.Go(func() { r.listener.Run(ctx) })
	wg.Go(func() { r.keepHouse(ctx) })
	if !r.onTrial() {
		wg.Go(func() { r.keepModules(ctx) })
		wg.Go(func() { r.farewells(ctx, func() { r.end(ErrLeft) }) })
		wg.Go(func() { r.runModules(ctx) })
		wg.Go(func() { r.runChanges(ctx) })
	}
	wg.Wait()
	r.serving.Wait()
	r.log.Info("agent stops")
	return errors.Join(r.writeStatus(true), r.ending())
}

// Once checks in at every server, runs what is offered until nothing more may run now, and delivers. ErrLeft is
// among its errors when a server was left, ErrRestart or ErrProved when the launcher is to judge.
func (r *Resident) Once(ctx context.Context) error {
	r.enrollPending(ctx)
	r.takeUp()
	if len(r.servers()) == 0 {
		return r.noServer()
	}
	var errs []error
	r.outside.changed(time.Now())
	for _, u := range r.servers() {
		u.goOnStarted()
		if err := u.session.CheckIn(ctx); err != nil {
			errs = append(errs, fmt.Errorf("server %q: %w", u.name, err))
		}
	}
	for ctx.Err() == nil && !r.onTrial() && r.ending() == nil {
		if _, ran := r.runNext(ctx, changing, r.servers(), time.Now()); ran {
			continue
		}
		if _, ran := r.runNext(ctx, looking, r.servers(), time.Now().Add(afterChange)); ran {
			continue
		}
		if _, ran := r.nextModule(ctx, time.Now().Add(afterChange)); !ran {
			break
		}
	}
	for _, u := range r.servers() {
		if u.forward != nil {
			u.forward.Flush()
		}
		deliver := u.session.Flush
		leaves := u.look()
		if leaves {
			deliver = func(ctx context.Context) error { return r.farewell(ctx, u) }
		}
		switch err := deliver(ctx); {
		case err != nil:
			errs = append(errs, fmt.Errorf("server %q: %w", u.name, err))
		case leaves:
			errs = append(errs, ErrLeft)
		}
	}
	return errors.Join(append(errs, ctx.Err(), r.writeStatus(true), r.ending())...)
}

func (r *Resident) nudge() {
	nudge(r.work)
	nudge(r.outside.work)
	for _, u := range r.servers() {
		nudge(u.work)
	}
}

// servers are the units at present.
func (r *Resident) servers() []*unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.units)
}

// settled gives memory back after a burst, when it has been quiet for a while.
func (r *Resident) settled() { r.burst.Reset(releaseAfter) }
