package software

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Times of an uninstall task.
const (
	changeWait = 2 * time.Second // for a runner to end that has written its status
	minRetry   = 5 * time.Second // first wait of a waiting task; as long again as it has waited, up to
	maxRetry   = 15 * time.Minute
	sayAgain   = time.Hour // after which a reason to wait is reported again that has become a habit
)

// maxOutputs is how much output the items of one report have together, in bytes: each report repeats the
// items before, and an event of a task may not exceed proc.MaxEvent.
const maxOutputs = 64 << 10

// Uninstaller is the uninstall task: the named programs go one after another, each by the package manager
// that brought it, and each is looked for afresh when its command has ended. Its zero value is the real
// one. Only a task process may run it.
//
// A command belongs to a runner, as that of a deployment, and outlives a killed task and resident. What is
// done stands in the journal with the report that says so. After a crash a command that was begun is waited
// for, then the program is looked for: gone is removed, still there without a known end is tried again.
type Uninstaller struct {
	// Root is the folder whose software is uninstalled; empty is the computer's own root.
	Root string
	// Programs is the folder of the package managers; empty is wherever they are found.
	Programs string
	// Recorded is called after each record is on the disk and before it is told.
	Recorded func(attempt.Record)
}

// uninstalling is one task while its process lives.
type uninstalling struct {
	*Uninstaller
	in      task.Input
	task    protocol.UninstallTask
	refs    map[string]Ref // of each key, once taken apart
	emit    task.Emit
	log     *slog.Logger
	attempt *attempt.Attempt
	journal *journal.Journal[attempt.Record]
	records []attempt.Record
	done    []protocol.TaskItem
	config  config.Config
	own     map[string]string // source → package of this very program, once asked for
	hold    *task.Hold        // what the three are of
	change  *proc.Lock        // of the computer
}

// verdict ends the task, or this process's part of it when the state is waiting.
type verdict struct {
	state   protocol.State
	reason  protocol.Reason
	message string
	next    *time.Time
	quiet   bool // it was said before, and not long ago
}

// Error tells the verdict like a log line.
func (v *verdict) Error() string { return fmt.Sprintf("%s (%s): %s", v.state, v.reason, v.message) }

// Run carries out the task.
func (p *Uninstaller) Run(ctx context.Context, in task.Input, emit task.Emit, log *slog.Logger) error {
	if in.Task.Uninstall == nil {
		return fault.New(fault.Invalid, "the task names no programs")
	}
	u := &uninstalling{
		Uninstaller: p, in: in, task: *in.Task.Uninstall, refs: map[string]Ref{}, own: map[string]string{}, log: log.With(logging.Attempt, in.Task.ID),
		emit: task.Marked(emit),
	}
	defer u.close()
	if err := u.open(ctx); err != nil {
		return err
	}
	return u.drive(ctx)
}

// open takes the task's lock, opens its journal and tells what was journalled before.
func (u *uninstalling) open(ctx context.Context) (err error) {
	if u.hold, err = task.Take(ctx, identity.Open(u.in.DataDir, u.in.Server).Dir(), u.in.Task, u.emit, u.log); err != nil {
		return err
	}
	u.attempt, u.journal, u.records = u.hold.Attempt, u.hold.Journal, u.hold.Records
	for n := range u.records {
		if t := u.records[n].Report.Task; t != nil && len(t.Items) > len(u.done) {
			u.done = t.Items
		}
	}
	return nil
}

func (u *uninstalling) close() {
	var errs []error
	if u.change != nil {
		errs = append(errs, u.change.Unlock())
	}
	if u.hold != nil {
		errs = append(errs, u.hold.Close())
	}
	if err := errors.Join(errs...); err != nil {
		u.log.Warn("close the task", logging.Err, err)
	}
}

// drive goes on behind the last record and reports how it ends.
func (u *uninstalling) drive(ctx context.Context) error {
	if state := attempt.Furthest(u.records); state.Final() {
		u.cleanUp()
		return u.tell(state, time.Time{})
	}
	err := u.carryOut(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // told to stop: goes on at the next start
	case errors.Is(err, task.ErrUntold):
		return err
	}
	v := u.asVerdict(err)
	var next time.Time
	if v.next != nil {
		next = *v.next
	}
	if v.quiet {
		return u.tell(v.state, next)
	}
	if err := u.record(v.state, v.reason, v.message, v.next); err != nil {
		return err
	}
	u.log.Info("uninstalling ends", "state", v.state, "reason", v.reason, "message", v.message)
	if v.state.Final() {
		u.cleanUp()
	}
	return u.tell(v.state, next)
}

// asVerdict is what the end of carryOut means for the task.
func (u *uninstalling) asVerdict(err error) *verdict {
	var v *verdict
	switch {
	case err == nil:
		return u.sum()
	case errors.As(err, &v):
		return v
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return u.wait(protocol.ReasonDiskSpace, "the disk is full: %v", err)
	default:
		return &verdict{state: protocol.StateFailed, reason: protocol.ReasonDeviceError, message: err.Error()}
	}
}

// wait is a verdict that pauses the task, for as long again as it has waited.
func (u *uninstalling) wait(reason protocol.Reason, format string, args ...any) *verdict {
	v := &verdict{state: protocol.StateWaiting, reason: reason, message: fmt.Sprintf(format, args...)}
	pause := minRetry
	for n := len(u.records) - 1; n >= 0 && u.records[n].State() == protocol.StateWaiting; n-- {
		since := time.Since(u.records[n].Report.Time)
		pause = max(pause, since)
		v.quiet = v.quiet || u.records[n].Reason() == reason && since < sayAgain
	}
	v.quiet = v.quiet && pause >= maxRetry
	next := time.Now().Add(min(pause, maxRetry)).UTC().Truncate(time.Second)
	v.next = &next
	return v
}

func (u *uninstalling) tell(state protocol.State, next time.Time) error {
	if err := u.emit(task.Event{End: &task.End{State: state, NextTry: next}}); err != nil {
		return fmt.Errorf("tell the end: %w", err)
	}
	return nil
}

func (u *uninstalling) has(state protocol.State) bool {
	return slices.ContainsFunc(u.records, func(r attempt.Record) bool { return r.State() == state })
}

// record journals how the task stands, with what is done so far, and then tells it.
func (u *uninstalling) record(state protocol.State, reason protocol.Reason, message string, next *time.Time) error {
	report, err := attempt.NewTaskReport(time.Now(), protocol.TaskReport{
		TaskID: u.in.Task.ID, Kind: protocol.TaskUninstall, State: state, Reason: reason, Message: clean(message, protocol.MaxMessage),
		Items: slices.Clone(u.done), NextTry: next,
	})
	if err != nil {
		return err
	}
	record := attempt.Record{Report: report}
	if err := u.journal.Append(record); err != nil {
		return fmt.Errorf("journal %s: %w", state, err)
	}
	u.records = append(u.records, record)
	if u.Recorded != nil {
		u.Recorded(record)
	}
	if err := u.emit(task.Event{Report: &report}); err != nil {
		return fmt.Errorf("tell %s: %w", state, err)
	}
	return nil
}

// carryOut brings every program to its status. Its error is a verdict, or what went wrong with the device.
func (u *uninstalling) carryOut(ctx context.Context) error {
	if err := u.accept(); err != nil {
		return err
	}
	if err := u.attach(ctx); err != nil {
		return err
	}
	lock, holder, err := proc.AwaitLock(ctx, u.in.ChangeLock, "uninstall", changeWait)
	if errors.Is(err, proc.ErrHeld) {
		return u.wait(protocol.ReasonBusy, "another change of this computer is running (%s)", holder)
	}
	if err != nil {
		return fmt.Errorf("take the change lock: %w", err)
	}
	u.change = lock // until this process, and the last runner, have ended
	if u.config, err = config.Load(u.in.DataDir); err != nil {
		return fmt.Errorf("learn what is protected: %w", err)
	}
	if !u.has(protocol.StateStarted) {
		if err := u.record(protocol.StateStarted, "", "uninstalling "+programs(len(u.keys())), nil); err != nil {
			return err
		}
	}
	return u.items(ctx)
}

// accept refuses what cannot be meant for this device, and journals that the task is known. What a key says
// is trusted with nothing: it is taken apart, and compared with what a fresh look at the system finds.
func (u *uninstalling) accept() error {
	if err := u.task.Validate(); err != nil {
		return &verdict{state: protocol.StateRefused, reason: protocol.ReasonMalformed, message: err.Error()}
	}
	for _, key := range u.task.Software {
		ref, err := Parse(key)
		if err != nil {
			return &verdict{state: protocol.StateRefused, reason: protocol.ReasonNotReported, message: "this device has not reported such a program: " + err.Error()}
		}
		u.refs[key] = ref
	}
	if u.in.Untrusted != "" && !u.has(protocol.StateStarted) {
		return u.wait(protocol.ReasonTrust, "%s", u.in.Untrusted)
	}
	if u.has(protocol.StateAccepted) {
		return nil
	}
	return u.record(protocol.StateAccepted, "", "accepted", nil)
}

// keys are the programs in the order asked for, each once.
func (u *uninstalling) keys() []string {
	var out []string
	for _, key := range u.task.Software {
		if !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return out
}

// items works through the programs that have no status yet. One whose dependants are all still to come is
// put off behind them.
func (u *uninstalling) items(ctx context.Context) error {
	all := u.keys()
	pending := slices.DeleteFunc(slices.Clone(all), func(key string) bool {
		return slices.ContainsFunc(u.done, func(i protocol.TaskItem) bool { return i.ID == key })
	})
	for put := 0; len(pending) > 0; {
		key := pending[0]
		item := &protocol.TaskItem{ID: key, Status: protocol.ItemSkipped, Message: "left alone after the failure before, as asked"}
		if !u.stopped() {
			var err error
			if item, err = u.uninstall(ctx, slices.Index(all, key), key); err != nil {
				return err
			}
		}
		if pending = pending[1:]; item.Status == protocol.ItemNeeded && put < len(pending) && u.allPending(item.Others, pending) {
			pending, put = append(pending, key), put+1
			continue
		}
		put = 0
		u.log.Info("program", "key", key, "status", item.Status, "message", item.Message)
		u.done = append(u.done, *item)
		slices.SortStableFunc(u.done, func(a, b protocol.TaskItem) int { return slices.Index(all, a.ID) - slices.Index(all, b.ID) })
		if len(pending) == 0 {
			break // the final report says it
		}
		if err := u.record(protocol.StateStarted, "", fmt.Sprintf("%d of %s done", len(u.done), programs(len(all))), nil); err != nil {
			return err
		}
	}
	return nil
}

// stopped reports that a program failed to go and the rest is to be left alone.
func (u *uninstalling) stopped() bool {
	return u.task.StopAtFailure && slices.ContainsFunc(u.done, func(i protocol.TaskItem) bool { return !gone(i.Status) })
}

// allPending reports whether names are all among the programs that are still to come.
func (u *uninstalling) allPending(names, pending []string) bool {
	for _, name := range names {
		if !slices.ContainsFunc(pending, func(key string) bool { return u.refs[key].Name == name }) {
			return false
		}
	}
	return true
}

func gone(s protocol.ItemStatus) bool {
	return s == protocol.ItemRemoved || s == protocol.ItemNotInstalled
}

// sum is the final verdict over all items.
func (u *uninstalling) sum() *verdict {
	counts := map[protocol.ItemStatus]int{}
	for _, item := range u.done {
		counts[item.Status]++
	}
	v := &verdict{state: protocol.StateSucceeded, reason: protocol.ReasonDone}
	v.message = fmt.Sprintf("%d of %s removed", counts[protocol.ItemRemoved], programs(len(u.done)))
	for _, more := range []struct {
		status protocol.ItemStatus
		text   string
	}{
		{protocol.ItemNotInstalled, "not installed"},
		{protocol.ItemFailed, "failed"},
		{protocol.ItemNeeded, "needed by others"},
		{protocol.ItemProtected, "protected"},
		{protocol.ItemUnsupported, "of a source that this agent cannot uninstall from"},
		{protocol.ItemSkipped, "skipped"},
	} {
		if n := counts[more.status]; n > 0 {
			v.message += fmt.Sprintf(", %d %s", n, more.text)
			if !gone(more.status) {
				v.state, v.reason = protocol.StateFailed, protocol.ReasonItems
			}
		}
	}
	return v
}

func programs(n int) string {
	if n == 1 {
		return "1 program"
	}
	return fmt.Sprintf("%d programs", n)
}

// itemsDir holds a folder for each program, with one for each command that was begun; dryDir is that of the
// last command which only looked.
const (
	itemsDir = "items"
	dryDir   = "dry"
)

func (u *uninstalling) path(names ...string) string {
	return filepath.Join(append([]string{u.attempt.Dir()}, names...)...)
}

// attach waits for what an earlier process of this task began, and which holds the change lock.
func (u *uninstalling) attach(ctx context.Context) error {
	runs, err := filepath.Glob(u.path(itemsDir, "*", "*"))
	if err != nil {
		return fmt.Errorf("look for commands that run: %w", err)
	}
	for _, dir := range append(runs, u.path(dryDir)) {
		if phase, err := phaseOf(dir); err == nil && phase == proc.RunActive {
			u.log.Info("waiting for a command that an earlier process began", "folder", dir)
			if _, err := proc.Await(ctx, dir); err != nil && !errors.Is(err, proc.ErrLost) {
				return fmt.Errorf("wait for a command: %w", err)
			}
		}
	}
	return nil
}

// phaseOf is how far the command of a folder, which may be missing, has come.
func phaseOf(dir string) (proc.Phase, error) {
	phase, _, err := proc.Inspect(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return proc.RunNone, nil
	}
	return phase, err
}

// cleanUp removes what only the running task needed. The journal stays, as what the task did.
func (u *uninstalling) cleanUp() {
	if err := errors.Join(os.RemoveAll(u.path(itemsDir)), os.RemoveAll(u.path(dryDir))); err != nil {
		u.log.Warn("clean up after the task", logging.Err, err)
	}
}
