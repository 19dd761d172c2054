package resident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/attempt"
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

// runTasks runs tasks one after another until ctx ends: one change of this computer at a time.
func (r *Resident) runTasks(ctx context.Context) {
	for ctx.Err() == nil {
		u, it, again := r.pick(time.Now())
		if u != nil {
			r.runTask(ctx, u, it)
			continue
		}
		var timer <-chan time.Time
		if !again.IsZero() {
			timer = time.After(time.Until(again))
		}
		select {
		case <-ctx.Done():
		case <-r.work:
		case <-timer:
		}
	}
}

// pick chooses over all servers: begun commands first, then by priority, then in the servers' order.
func (r *Resident) pick(now time.Time) (from *unit, best item, again time.Time) {
	for _, u := range r.units {
		it, ok, at := u.next(now)
		switch {
		case !ok:
			if !at.IsZero() && (again.IsZero() || at.Before(again)) {
				again = at
			}
		case from == nil, it.started && !best.started, it.started == best.started && it.priority() < best.priority():
			from, best = u, it
		}
	}
	return from, best, again
}

// runTask runs one task to its end and, when a deployment finished by it, delivers and checks in, so that
// what was assigned, freed or held meanwhile comes in the right order.
func (r *Resident) runTask(ctx context.Context, u *unit, it item) {
	if it.task.Kind != protocol.TaskDeploy || it.task.Deploy == nil {
		u.done(it)
		r.report(ctx, u, taskReport(it.task, protocol.ReasonUnknownTask, "this agent knows no task of the kind %q", it.task.Kind))
		return
	}
	a, err := attempt.Open(u.store.Dir(), it.attemptID())
	if err == nil {
		err = it.task.Deploy.Validate()
	}
	if err != nil {
		u.done(it)
		r.report(ctx, u, taskReport(it.task, protocol.ReasonMalformed, "%v", err))
		return
	}
	if !it.started && !slices.Contains(u.allowed, it.task.Kind) {
		u.done(it)
		if err := r.deny(ctx, u, a, it); err != nil {
			u.log.Error("refuse a task", logging.Attempt, a.ID(), logging.Err, err)
		}
		return
	}
	_, before := a.Settled()
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
	case !end.State.Final():
		u.postpone(it, end.NextTry, false)
		return
	}
	if err := a.Settle(); err != nil {
		u.log.Error("settle an attempt", logging.Attempt, a.ID(), logging.Err, err)
	}
	u.done(it)
	if isGate(it) && end.State != protocol.StateSucceeded && end.State != protocol.StateNotApplicable {
		if n := u.drop(); n > 0 {
			u.log.Info("a priority-0 package did not succeed: the rest waits for the next check-in", "held", n)
		}
	}
	if !before {
		r.comeBack(ctx, u)
	}
	r.settled()
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
	report, rerr := attempt.NewReport(time.Now(), protocol.DeploymentReport{
		DeploymentID: it.task.Deploy.DeploymentID, AttemptID: a.ID(), State: protocol.StateWaiting, Reason: protocol.ReasonDeviceError,
		Message: shorten("the task broke down on the device: " + err.Error()), NextTry: &next,
	})
	if rerr == nil {
		rerr = u.spool.Add(ctx, report)
	}
	if rerr != nil {
		u.log.Error("report a task that broke down", logging.Attempt, a.ID(), logging.Err, rerr)
	}
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
		DataDir: r.o.DataDir, Server: u.name, ChangeLock: r.o.Config.LockPath(r.o.DataDir), LogLevel: r.o.Config.Level(), Task: it.task,
		Untrusted: u.distrust(),
	})
	if err != nil {
		return end, fmt.Errorf("encode the task's input: %w", err)
	}
	r.setRunning(it.attemptID())
	defer r.setRunning("")
	wanted, withdraw := context.WithCancelCause(ctx)
	defer withdraw(nil)
	u.begin(it, func() { withdraw(errWithdrawn) })
	defer u.ended()
	options := proc.TaskOptions{
		Name: it.task.Kind, Input: input, Env: proxyEnv(os.Environ()),
		Event: func(data json.RawMessage) error { return r.event(ctx, u, data, &end) },
	}
	if r.o.LogTo != nil {
		options.Log = r.o.LogTo
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

func (r *Resident) event(ctx context.Context, u *unit, data json.RawMessage, end *task.End) error {
	var e task.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("read the task's event: %w", err)
	}
	switch {
	case e.Report != nil:
		if d := e.Report.Deployment; d != nil && d.State == protocol.StateStarted {
			u.commandBegins()
		}
		if err := u.spool.Add(ctx, *e.Report); err != nil {
			return fmt.Errorf("keep a report: %w", err)
		}
		r.statusChanged()
	case e.Progress != nil:
		u.session.Progress(*e.Progress)
	case e.End != nil:
		*end = *e.End
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
		report, err := attempt.NewReport(time.Now(), protocol.DeploymentReport{
			DeploymentID: it.task.Deploy.DeploymentID, AttemptID: a.ID(), State: protocol.StateRefused, Reason: protocol.ReasonNotAllowed,
			Message: fmt.Sprintf("this device's configuration does not let the server ask for %q tasks", it.task.Kind),
		})
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

func taskReport(t protocol.Task, reason protocol.Reason, format string, args ...any) protocol.TaskReport {
	message := strings.ToValidUTF8(fmt.Sprintf(format, args...), "\uFFFD")
	return protocol.TaskReport{
		TaskID: shorten(t.ID), Kind: shorten(t.Kind), Reason: reason, Message: message[:min(len(message), 500)],
	}
}

func shorten(s string) string { return strings.ToValidUTF8(s[:min(len(s), 200)], "") }

// report says that a task was not begun.
func (r *Resident) report(ctx context.Context, u *unit, t protocol.TaskReport) {
	report, err := attempt.NewReport(time.Now(), protocol.DeploymentReport{})
	if err == nil {
		report.Kind, report.Deployment, report.Task = protocol.ReportTask, nil, &t
		err = u.spool.Add(ctx, report)
	}
	if err != nil {
		u.log.Error("report a task that was not begun", logging.Err, err)
		return
	}
	u.log.Warn("a task was not begun", logging.Task, t.Kind, "reason", t.Reason, "message", t.Message)
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

func (r *Resident) setRunning(id string) {
	r.mu.Lock()
	r.running = id
	r.mu.Unlock()
	r.statusChanged()
}
