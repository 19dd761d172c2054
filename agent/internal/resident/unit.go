package resident

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/logforward"
	"github.com/muster/muster/agent/internal/session"
	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// unit is one server: its session, its spool and the tasks it has offered.
type unit struct {
	name    string
	store   *identity.Store
	session *session.Session
	spool   *spool.Spool
	forward *logforward.Forwarder // nil when the server may have no log lines
	allowed []string
	log     *slog.Logger

	stop context.CancelFunc // ends the session
	over chan struct{}      // closed when the session has ended
	work chan struct{}      // something changed that may give the worker of looks work
	busy sync.WaitGroup     // tasks that run in the server's name

	mu     sync.Mutex
	queue  []item
	later  map[string]time.Time // id → not before, for those that wait
	broken map[string]int       // id → how often its task broke down in a row
	roll   roll
	parcel parcel
	// present are the items whose task processes run, one of each lane at most.
	present []*process
	// Octets that tasks have exchanged with the server.
	sent, received int64
	// untrusted says why nothing may be begun: the newest offer came with refused trust documents.
	untrusted string
	// leaving says that the removal task has ended: nothing more is begun for this server.
	leaving bool
}

// longestWait is longer than any task waits: a time beyond it was named by a clock that was ahead and has
// been set right since.
const longestWait = 2 * taskRetryMax

// item is a task in the queue.
type item struct {
	task    protocol.Task
	started bool // its command was begun by an earlier process: no gate applies, it is only followed
	again   bool // of what modules found: all of it, also what the server has got
}

// process is an item while its task process runs; withdraw ends that process.
type process struct {
	item
	withdraw func()
}

// id is the attempt of a deploy task, else the task's own: it names the folder.
func (i item) id() string { return i.task.Work() }

// same reports whether both are the same piece of work, whatever the server calls the task.
func (i item) same(other item) bool { return i.id() == other.id() }

func (i item) priority() int {
	if i.task.Deploy == nil {
		return 0
	}
	return i.task.Deploy.Priority
}

// class orders the kinds: what was begun is followed first, for the change that it makes may still be under
// way; then the removal of the agent, its update, uninstalling, and deployments.
func (i item) class() int {
	switch {
	case i.started:
		return 0
	case i.task.Kind == protocol.TaskRemove:
		return 1
	case i.task.Kind == protocol.TaskUpdate:
		return 2
	case i.task.Kind == protocol.TaskUninstall:
		return 3
	default:
		return 4
	}
}

// runs is a task process in the status.
type runs struct {
	Task
	lane lane
}

// lane is a row of tasks that run one after another, beside those of the other lane: changes over all servers, the
// others for each server.
type lane int

// The lanes.
const (
	changing lane = iota // tasks that change the computer
	looking              // tasks that change nothing
)

func (i item) lane() lane {
	if protocol.Changes(i.task.Kind) {
		return changing
	}
	return looking
}

// asked takes what the server asks for of the log.
func (u *unit) asked(setting *protocol.LogSetting, at time.Time) {
	if u.forward != nil {
		u.forward.Set(setting, at)
	}
}

// close gives the spool back.
func (u *unit) close() error {
	if u.forward != nil {
		u.forward.Close()
	}
	return u.spool.Close()
}

// offer replaces the queue by what the server offers now. What is no longer offered was cancelled, held
// or retired and does not run; only commands that were begun already are followed to their end. With an
// error the tasks are only to say that they wait, and go on at once when an offer comes without.
func (u *unit) offer(tasks []protocol.Task, untrusted error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case untrusted != nil:
		u.untrusted = untrusted.Error()
	case u.untrusted != "":
		u.untrusted, u.later = "", nil
	}
	kept := slices.DeleteFunc(u.queue, func(i item) bool { return !i.started })
	for _, t := range tasks {
		if i := (item{task: t}); !slices.ContainsFunc(kept, i.same) {
			kept = append(kept, i)
		}
	}
	later, broken := map[string]time.Time{}, map[string]int{}
	for _, i := range kept {
		if at, ok := u.later[i.id()]; ok {
			later[i.id()] = at
		}
		if n := u.broken[i.id()]; n > 0 {
			broken[i.id()] = n
		}
	}
	u.queue, u.later, u.broken = kept, later, broken
	for _, p := range u.present {
		if !p.started && !slices.ContainsFunc(kept, p.same) {
			p.withdraw()
		}
	}
}

// begin says that the item's task process starts; withdraw is called when the server takes the task back
// before its command has begun.
func (u *unit) begin(i item, withdraw func()) *process {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := &process{item: i, withdraw: withdraw}
	u.present = append(u.present, p)
	if !i.started && !slices.ContainsFunc(u.queue, i.same) {
		withdraw() // between the choice of the item and now
	}
	return p
}

// commandBegins says that the command of the process's item begins: it is not taken back any more, and stays
// in the queue until it is done, whatever is offered meanwhile.
func (u *unit) commandBegins(p *process) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p.started = true
	if n := slices.IndexFunc(u.queue, p.same); n >= 0 {
		u.queue[n].started = true
	} else {
		u.queue = append(u.queue, p.item)
	}
}

// ended says that the task process is over.
func (u *unit) ended(p *process) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.present = slices.DeleteFunc(u.present, func(other *process) bool { return other == p })
}

// goOnStarted queues the attempts whose command was begun before this start. They go first: the change
// they make to the computer may still be under way.
func (u *unit) goOnStarted() { u.enqueue(true) }

// goOn queues what else the disk holds unfinished, when no server says what is wanted now: a finished
// download is no less good because the server is away. What the server took back before is left alone.
func (u *unit) goOn() { u.enqueue(false) }

func (u *unit) enqueue(started bool) {
	list, err := attempt.Unsettled(u.store.Dir())
	if err != nil {
		u.log.Error("look for unfinished attempts", logging.Err, err)
		return
	}
	offered := u.store.LoadState().Offered
	u.mu.Lock()
	defer u.mu.Unlock()
	var found []item
	for _, a := range list {
		if !started && !slices.Contains(offered, a.ID()) {
			continue
		}
		i, ok := u.resumable(a)
		if !ok || i.started != started || slices.ContainsFunc(u.queue, i.same) {
			continue
		}
		found = append(found, i)
	}
	slices.SortStableFunc(found, item.compare)
	u.queue = append(u.queue, found...)
}

// resumable is the unfinished attempt as a queue item; one that waits until a time keeps waiting.
func (u *unit) resumable(a *attempt.Attempt) (item, bool) {
	if _, over := a.Settled(); over {
		return item{}, false
	}
	t, err := a.Task()
	if err != nil {
		u.log.Warn("an attempt on disk cannot be resumed", logging.Attempt, a.ID(), logging.Err, err)
		return item{}, false
	}
	records, err := a.Peek()
	if err != nil {
		u.log.Warn("an attempt on disk cannot be resumed", logging.Attempt, a.ID(), logging.Err, err)
		return item{}, false
	}
	if n := len(records); n > 0 && records[n-1].State() == protocol.StateWaiting {
		last := records[n-1]
		switch {
		case last.NextTry() == nil:
		case last.Reason() == protocol.ReasonTrust: // that is for a check-in to say
		case last.Reason() == protocol.ReasonCleanBoot: // this may be the start that it waits for
		default:
			u.later[a.ID()] = *last.NextTry()
		}
	}
	return item{task: t, started: begun(records)}, true
}

// begun reports whether an attempt's command may have been begun.
func begun(records []attempt.Record) bool {
	return attempt.Furthest(records).Rank() >= protocol.StateStarted.Rank()
}

// unfinished lists the attempts of deployments on disk that are not over.
func (u *unit) unfinished() []string {
	list, err := attempt.Unsettled(u.store.Dir())
	if err != nil {
		u.log.Error("list unfinished attempts", logging.Err, err)
		return nil
	}
	var ids []string
	for _, a := range list {
		if t, err := a.Task(); err != nil || t.Deploy != nil { // one that cannot be read is told as before
			ids = append(ids, a.ID())
		}
	}
	return ids[:min(len(ids), protocol.MaxTasks)]
}

// next is the item of the lane to run now, and when to look again if there is none. Within a class the
// order is the server's; while a priority-0 item is in the queue, no package behind it runs.
func (u *unit) next(l lane, now time.Time) (it item, ok bool, again time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	gate := slices.ContainsFunc(u.queue, isGate)
	for _, i := range u.queue {
		if i.lane() != l || u.leaving && !i.started || gate && i.task.Kind == protocol.TaskDeploy && !isGate(i) && !i.started {
			continue
		}
		at := u.later[i.id()]
		switch {
		case !at.After(now) || at.After(now.Add(longestWait)):
			if !ok || i.class() < it.class() {
				it, ok = i, true
			}
		case again.IsZero() || at.Before(again):
			again = at
		}
	}
	return it, ok, again
}

// distrust says why nothing of the offer may be begun; empty when it may.
func (u *unit) distrust() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.untrusted
}

// isGate reports whether other packages must wait for the item.
func isGate(i item) bool { return i.task.Kind == protocol.TaskDeploy && i.priority() == 0 }

// compare orders items of different servers, or of the disk: by class, then by priority.
func (i item) compare(other item) int {
	return cmp.Or(cmp.Compare(i.class(), other.class()), cmp.Compare(i.priority(), other.priority()))
}

// done takes an item out of the queue after it ran.
func (u *unit) done(i item) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queue = slices.DeleteFunc(u.queue, func(q item) bool { return q.same(i) })
	delete(u.later, i.id())
	delete(u.broken, i.id())
}

// broke postpones an item whose task broke down, longer each time in a row, and returns until when.
func (u *unit) broke(i item, now time.Time, started bool) time.Time {
	u.mu.Lock()
	if u.broken == nil {
		u.broken = map[string]int{}
	}
	until := now.Add(min(taskRetry<<min(u.broken[i.id()], 10), taskRetryMax))
	u.broken[i.id()]++
	u.mu.Unlock()
	u.postpone(i, until, started)
	return until
}

// waits postpones an item that is not over: a change until the time that it names, what names none, or changes
// nothing, at least as long as one that broke down.
func (u *unit) waits(i item, until time.Time) {
	if i.lane() == looking || until.IsZero() {
		if again := u.broke(i, time.Now(), false); !again.Before(until) {
			return
		}
	}
	u.postpone(i, until, false)
}

// postpone keeps an item in the queue and does not run it before a time. If its command has begun, it
// will be followed whatever the server offers.
func (u *unit) postpone(i item, until time.Time, started bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.later[i.id()] = until
	i.started = i.started || started
	if n := slices.IndexFunc(u.queue, i.same); n >= 0 {
		u.queue[n].started = u.queue[n].started || i.started
	} else if i.started { // taken out of the offer meanwhile
		u.queue = append(u.queue, i)
	}
}

// drop takes the deployments out of the queue until the next check-in, but for commands that were begun.
func (u *unit) drop() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := len(u.queue)
	u.queue = slices.DeleteFunc(u.queue, func(i item) bool { return !i.started && i.task.Kind == protocol.TaskDeploy })
	return before - len(u.queue)
}

// prune removes the tombstones of attempts that were over long ago and whose reports were all
// acknowledged, and attempts that nobody has asked for in as long.
func (u *unit) prune(before time.Time) error {
	if u.spool.Len() > 0 {
		return nil
	}
	list, err := attempt.List(u.store.Dir())
	if err != nil {
		return err
	}
	u.mu.Lock()
	queued := map[string]bool{}
	for _, i := range u.queue {
		queued[i.id()] = true
	}
	u.mu.Unlock()
	for _, a := range list {
		at, over := a.Settled()
		if !over {
			at = a.Modified()
		}
		if queued[a.ID()] || at.After(before) {
			continue
		}
		if !over {
			u.mu.Lock()
			i, ok := u.resumable(a)
			u.mu.Unlock()
			if ok && i.started {
				continue
			}
		}
		if err := a.Remove(); err != nil {
			return fmt.Errorf("prune: %w", err)
		}
	}
	return nil
}
