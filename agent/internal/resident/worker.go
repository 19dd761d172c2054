package resident

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// When a task process that broke down is started again: the first time, and doubled up to the last.
const (
	taskRetry    = time.Minute
	taskRetryMax = time.Hour
)

// lookLimit is how long a task may take that changes nothing.
const lookLimit = 10 * time.Minute

// Bounds of what a report says in words, in bytes.
const (
	maxName    = 200
	maxMessage = 500
)

// runChanges runs the tasks that change the computer, of all servers, one after another until ctx ends.
func (r *Resident) runChanges(ctx context.Context) {
	runTasks(ctx.Done(), r.work, func() (time.Time, bool) { return r.runNext(ctx, changing, r.servers(), time.Now()) })
}

// runLooks runs the tasks of one server that change nothing, one after another until over is closed. Each server
// has a row of its own: one that takes minutes to take an inventory keeps no other waiting.
func (r *Resident) runLooks(ctx context.Context, over <-chan struct{}, u *unit) {
	runTasks(over, u.work, func() (time.Time, bool) { return r.runNext(ctx, looking, []*unit{u}, time.Now()) })
}

// runTasks calls next again and again, when it did nothing not before something changed or its time has come.
func runTasks(over, changed <-chan struct{}, next func() (again time.Time, ran bool)) {
	for {
		select {
		case <-over:
			return
		default:
		}
		again, ran := next()
		if ran {
			continue
		}
		var timer <-chan time.Time
		if !again.IsZero() {
			timer = time.After(time.Until(again))
		}
		select {
		case <-over:
		case <-changed:
		case <-timer:
		}
	}
}

// runNext runs what is to run now for these servers, or says when to look again. What servers ask for goes before
// what the agent does by itself.
func (r *Resident) runNext(ctx context.Context, l lane, units []*unit, now time.Time) (again time.Time, ran bool) {
	u, it, again := pick(l, units, now)
	if u != nil {
		if release, ok := r.hold(u); ok {
			r.runTask(ctx, u, it)
			release()
		}
		return again, true
	}
	if l != looking {
		return again, false
	}
	what, due := r.dueParcel(units)
	if from, at := dueInventory(units); from != nil && (what == nil || !at.After(due)) { // the most overdue of all
		what, due = func(ctx context.Context) {
			if release, ok := r.hold(from); ok {
				r.takeInventory(ctx, from)
				release()
			}
		}, at
	}
	switch {
	case what == nil:
		return again, false
	case !due.After(now):
		what(ctx)
		return again, true
	}
	if again.IsZero() || due.Before(again) {
		again = due
	}
	return again, false
}

// pick chooses over several servers: begun commands first, then by kind and priority, then in the servers' order.
func pick(l lane, units []*unit, now time.Time) (from *unit, best item, again time.Time) {
	for _, u := range units {
		it, ok, at := u.next(l, now)
		switch {
		case !ok:
			if !at.IsZero() && (again.IsZero() || at.Before(again)) {
				again = at
			}
		case from == nil, it.compare(best) < 0:
			from, best = u, it
		}
	}
	return from, best, again
}

// runTask runs one task to its end and, when a change finished by it, delivers and checks in, so that what
// was assigned, freed or held meanwhile comes in the right order.
func (r *Resident) runTask(ctx context.Context, u *unit, it item) {
	a, reason, err := u.folder(it)
	if err != nil {
		u.done(it)
		r.report(ctx, u, it, reason, err.Error())
		return
	}
	if !it.started && !slices.Contains(u.allowed, it.task.Kind) {
		u.done(it)
		if err := r.deny(ctx, u, a, it); err != nil {
			u.log.Error("refuse a task", logging.Attempt, a.ID(), logging.Err, err)
		}
		return
	}
	if why := u.distrust(); why != "" && !it.started && it.task.Kind != protocol.TaskDeploy && protocol.Changes(it.task.Kind) {
		r.wait(ctx, u, it, protocol.ReasonTrust, why)
		return
	}
	_, before := a.Settled()
	u.mu.Lock()
	asks := u.roll.asks
	u.mu.Unlock()
	end, err := r.process(ctx, u, it)
	switch {
	case ctx.Err() != nil:
		return // goes on at the next start
	case errors.Is(err, errWithdrawn):
		r.withdrawn(u, a, it)
		return
	case err != nil:
		r.brokeDown(ctx, u, a, it, err)
		return
	case end.Restart: // the next agent follows it to its end
		u.postpone(it, end.NextTry, true)
		r.end(ErrRestart)
		return
	case !end.State.Final():
		u.waits(it, end.NextTry)
		return
	}
	if err := a.Settle(); err != nil {
		u.log.Error("settle an attempt", logging.Attempt, a.ID(), logging.Err, err)
	}
	u.done(it)
	if it.task.Kind == protocol.TaskRemove && u.look() {
		select {
		case r.parting <- struct{}{}:
		default:
		}
		return // nothing follows but the farewell
	}
	if isGate(it) && end.State != protocol.StateSucceeded && end.State != protocol.StateNotApplicable {
		if n := u.drop(); n > 0 {
			u.log.Info("a priority-0 package did not succeed: the rest waits for the next check-in", "held", n)
		}
	}
	if !before {
		r.follow(ctx, u, it, end, asks)
	}
	r.settled()
}

// follow does what follows from a task that has just come to its end. asks is how often inventories had been asked for
// when it began.
func (r *Resident) follow(ctx context.Context, u *unit, it item, end task.End, asks int) {
	switch {
	case it.task.Kind == protocol.TaskModule:
		r.resultsChanged()
	case it.task.Kind == protocol.TaskInventory && end.State == protocol.StateSucceeded:
		u.mu.Lock()
		u.inventoryTaken(time.Now(), asks, it.task.Inventory == nil || len(it.task.Inventory.Sections) == 0)
		u.savePlan()
		u.mu.Unlock()
	case protocol.Changes(it.task.Kind):
		r.changedBy(ctx, u, end.State)
	}
}

// changedBy looks at the computer anew after a change of it, and asks the server what is next.
func (r *Resident) changedBy(ctx context.Context, u *unit, s protocol.State) {
	if mayHaveChanged(s) {
		for _, u := range r.servers() {
			u.inventorySoon(time.Now().Add(afterChange))
		}
		r.nudge()
	}
	r.comeBack(ctx, u)
}

// mayHaveChanged reports whether a task that ended so may have changed the computer.
func mayHaveChanged(s protocol.State) bool {
	return s == protocol.StateSucceeded || s == protocol.StateFailed || s == protocol.StateInterrupted
}

// folder is the folder of an item, or why the item cannot be begun.
func (u *unit) folder(it item) (*attempt.Attempt, protocol.Reason, error) {
	if !slices.Contains(config.Kinds(), it.task.Kind) {
		return nil, protocol.ReasonUnknownTask, fmt.Errorf("this agent knows no task of the kind %q", it.task.Kind)
	}
	if err := it.task.Validate(); err != nil {
		return nil, protocol.ReasonMalformed, err
	}
	a, err := attempt.Open(u.store.Dir(), it.id())
	if err != nil {
		return nil, protocol.ReasonMalformed, err
	}
	if was, err := a.Task(); err == nil && was.Kind != it.task.Kind {
		return nil, protocol.ReasonMalformed, fmt.Errorf("%s is the id of another task, of the kind %s", a.ID(), was.Kind)
	}
	return a, "", nil
}

// errWithdrawn ends the process of a task that the server has taken back.
var errWithdrawn = errors.New("the server has taken the task back")

// withdrawn leaves an attempt that was taken back as it is: the server may offer it again. One whose command
// began in the same moment is followed to its end all the same.
func (r *Resident) withdrawn(u *unit, a *attempt.Attempt, it item) {
	records, err := a.Peek()
	if err != nil || begun(records) {
		u.postpone(it, time.Time{}, true)
		return
	}
	u.log.Info("a task is no longer wanted: it was stopped before its command began", logging.Task, it.task.Kind, logging.Attempt, a.ID())
	r.settled()
}

// brokeDown keeps an attempt whose task process ended without a result, for instance because the computer
// ran out of memory, and lets people see it. Of a command that may have begun nothing is told but its end.
func (r *Resident) brokeDown(ctx context.Context, u *unit, a *attempt.Attempt, it item, err error) {
	records, perr := a.Peek()
	started := it.started || perr != nil || begun(records)
	next := u.broke(it, time.Now(), started).UTC().Truncate(time.Second)
	u.log.Error("task", logging.Task, it.task.Kind, logging.Attempt, a.ID(), logging.Err, err, "again_at", next)
	if started {
		return
	}
	r.tellWaiting(ctx, u, it, protocol.ReasonDeviceError, "the task broke down on the device: "+err.Error(), next)
}

// wait postpones an item that must not begin yet.
func (r *Resident) wait(ctx context.Context, u *unit, it item, reason protocol.Reason, why string) {
	next := u.broke(it, time.Now(), false).UTC().Truncate(time.Second)
	r.tellWaiting(ctx, u, it, reason, why, next)
}

func (r *Resident) tellWaiting(ctx context.Context, u *unit, it item, reason protocol.Reason, why string, next time.Time) {
	report, err := it.report(protocol.StateWaiting, reason, why, &next)
	if err == nil {
		err = u.spool.Add(ctx, report)
	}
	if err != nil {
		u.log.Error("report a task that waits", logging.Attempt, it.id(), logging.Err, err)
	}
}

// report makes a report of how the item stands.
func (i item) report(state protocol.State, reason protocol.Reason, message string, next *time.Time) (protocol.Report, error) {
	if d := i.task.Deploy; i.task.Kind == protocol.TaskDeploy && d != nil {
		return attempt.NewReport(time.Now(), protocol.DeploymentReport{
			DeploymentID: d.DeploymentID, AttemptID: d.AttemptID, State: state, Reason: reason, Message: shorten(message, maxMessage), NextTry: next,
		})
	}
	return attempt.NewTaskReport(time.Now(), protocol.TaskReport{
		TaskID: shorten(i.task.ID, maxName), Kind: shorten(i.task.Kind, maxName), State: state, Reason: reason,
		Message: shorten(message, maxMessage), NextTry: next,
	})
}

// comeBack delivers what the deployment reported and asks what is next.
func (r *Resident) comeBack(ctx context.Context, u *unit) {
	ctx, cancel := context.WithTimeout(ctx, deliverLimit)
	defer cancel()
	if err := u.session.Flush(ctx); err != nil {
		u.log.Debug("deliver after a task", logging.Err, err)
		if !fault.Is(err, fault.Unauthenticated) {
			return // unreachable: the batch goes on, the reports wait
		}
	}
	if err := u.session.CheckIn(ctx); err != nil {
		u.log.Debug("check in after a task", logging.Err, err)
	}
}

// process runs the task's process and hands on what it tells. A report is in the spool before the next
// event is taken.
func (r *Resident) process(ctx context.Context, u *unit, it item) (task.End, error) {
	var end task.End
	input, err := json.Marshal(task.Input{
		DataDir: r.o.DataDir, Server: u.name, ChangeLock: r.o.Config.LockPath(r.o.DataDir), LogLevel: r.logLevel(), Task: it.task,
		Untrusted: u.distrust(), Program: r.o.Program, Processes: r.o.Config.Inventory.Processes, KeepFragments: r.o.Config.Listener.KeepFragments,
		Modules: r.outside.folder, Again: it.again,
	})
	if err != nil {
		return end, fmt.Errorf("encode the task's input: %w", err)
	}
	if it.task.Module != nil {
		r.outside.running.Lock()
		defer r.outside.running.Unlock()
	}
	defer r.nowRuns(it.lane(), Task{Server: u.name, Kind: it.task.Kind, ID: it.id()})()
	wanted, withdraw := context.WithCancelCause(ctx)
	defer withdraw(nil)
	p := u.begin(it, func() { withdraw(errWithdrawn) })
	defer u.ended(p)
	options := proc.TaskOptions{
		Name: it.task.Kind, Input: input, Env: proxyEnv(os.Environ()), Limit: limitOf(it), StartsRunners: it.lane() == changing,
		Event: func(data json.RawMessage) error { return r.event(ctx, u, p, data, &end) },
	}
	if r.o.Lines != nil {
		options.Log = r.o.Lines.Task(it.task.Kind, u.name)
	}
	t, err := proc.StartTask(wanted, options)
	if err != nil {
		return end, fmt.Errorf("start the task: %w", err)
	}
	err = t.Wait()
	ended := errors.Is(err, errWithdrawn) && end.State.Final() // it was over before it was stopped
	if err != nil && !ended {
		return end, err
	}
	if end.State == "" {
		return end, errors.New("the task ended without a result")
	}
	return end, nil
}

// logLevel is the level that a task logs from; it keeps it as long as it runs.
func (r *Resident) logLevel() slog.Level {
	if r.o.Lines == nil {
		return r.o.Config.Level()
	}
	return r.o.Lines.Level()
}

// limitOf is how long a task process may take. Those that change the computer limit their commands themselves.
func limitOf(it item) time.Duration {
	switch {
	case it.task.Kind == protocol.TaskModule:
		return moduleLimit
	case it.lane() == looking:
		return lookLimit
	default:
		return 0
	}
}

func (r *Resident) event(ctx context.Context, u *unit, p *process, data json.RawMessage, end *task.End) error {
	var e task.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("read the task's event: %w", err)
	}
	switch {
	case e.Report != nil:
		if record := (attempt.Record{Report: *e.Report}); record.State() == protocol.StateStarted {
			u.commandBegins(p)
		}
		if err := u.spool.Add(ctx, *e.Report); err != nil {
			return fmt.Errorf("keep a report: %w", err)
		}
		r.statusChanged()
	case e.Progress != nil:
		u.session.Progress(*e.Progress)
	case e.End != nil:
		*end = *e.End
		u.mu.Lock()
		u.sent, u.received = u.sent+max(end.Sent, 0), u.received+max(end.Received, 0)
		u.mu.Unlock()
	}
	return nil
}

// deny reports that this device's own configuration does not let the server ask for the task. The report
// is journalled like any other, so that asking again gets the same answer.
func (r *Resident) deny(ctx context.Context, u *unit, a *attempt.Attempt, it item) error {
	if err := a.Begin(it.task); err != nil {
		return err
	}
	j, records, err := a.Journal()
	if err != nil {
		return err
	}
	defer j.Close()
	if !attempt.Furthest(records).Final() {
		report, err := it.report(protocol.StateRefused, protocol.ReasonNotAllowed,
			fmt.Sprintf("this device's configuration does not let the server ask for %q tasks", it.task.Kind), nil)
		if err != nil {
			return err
		}
		if err := j.Append(attempt.Record{Report: report}); err != nil {
			return err
		}
		records = append(records, attempt.Record{Report: report})
		u.log.Warn("a task is denied by this device's configuration", logging.Task, it.task.Kind)
	}
	for _, rec := range records {
		if err := u.spool.Add(ctx, rec.Report); err != nil {
			return err
		}
	}
	return a.Settle()
}

func shorten(s string, most int) string {
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// report says that a task was not begun, nor will be. The server takes back what it hears this of.
func (r *Resident) report(ctx context.Context, u *unit, it item, reason protocol.Reason, message string) {
	told := protocol.TaskReport{
		TaskID: shorten(it.task.ID, maxName), Kind: shorten(it.task.Kind, maxName), Reason: reason, Message: shorten(message, maxMessage),
	}
	if it.task.Kind != protocol.TaskDeploy {
		told.State = protocol.StateRefused
	}
	report, err := attempt.NewTaskReport(time.Now(), told)
	if err == nil {
		err = u.spool.Add(ctx, report)
	}
	if err != nil {
		u.log.Error("report a task that was not begun", logging.Err, err)
		return
	}
	u.log.Warn("a task was not begun", logging.Task, told.Kind, "reason", told.Reason, "message", told.Message)
}

// proxyEnv is what a task needs of our environment to reach the server as we do.
func proxyEnv(environ []string) []string {
	var out []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		switch strings.ToUpper(name) {
		case "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY":
			out = append(out, e)
		}
	}
	return out
}

// nowRuns puts a task into the status until over is called.
func (r *Resident) nowRuns(l lane, what Task) (over func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &runs{Task: what, lane: l}
	r.running = append(r.running, p)
	slices.SortStableFunc(r.running, func(a, b *runs) int { return cmp.Compare(a.lane, b.lane) })
	r.statusChanged()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.running = slices.DeleteFunc(r.running, func(other *runs) bool { return other == p })
		r.statusChanged()
	}
}
