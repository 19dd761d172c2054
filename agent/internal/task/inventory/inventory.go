package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Task carries out inventories. One that a server asked for has an id, a journal and reports; what the agent
// does on its own account has none of them, for the inventory itself says that it was made.
type Task struct {
	// Software lists the installed programs; without it they are left out.
	Software func(ctx context.Context) ([]protocol.Software, error)
	// Take replaces Collect.
	Take func(ctx context.Context, o Options) []Section
}

// Run collects and sends one inventory.
func (t Task) Run(ctx context.Context, in task.Input, emit task.Emit, log *slog.Logger) error {
	store := identity.Open(in.DataDir, in.Server)
	id, err := store.Load()
	if err != nil {
		return err
	}
	c, err := client.New(client.Options{
		URLs: id.URLs, CAPEM: id.CAPEM, DeviceID: id.DeviceID, Secret: id.Secret, NextSecret: id.NextSecret, KeepAlive: true,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	asked := &record{task: in.Task, emit: emit}
	if in.Task.ID != "" {
		over, err := asked.open(store.Dir())
		if err != nil {
			return err
		}
		defer asked.close(log)
		if over != "" {
			return tell(emit, task.End{State: over})
		}
		if err := asked.reach(protocol.TaskReport{State: protocol.StateAccepted}); err != nil {
			return err
		}
	}
	sum, err := t.take(ctx, in, c, log)
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // told to stop: made anew at the next start
	case err == nil:
		log.Info("inventory taken", "sections", sum.sections, "sent", sum.sent, "problems", sum.problems)
		if err := asked.reach(protocol.TaskReport{State: protocol.StateSucceeded, Reason: protocol.ReasonDone, Message: sum.String()}); err != nil {
			return err
		}
		return tell(emit, task.End{State: protocol.StateSucceeded})
	case client.Final(err):
		if err := asked.reach(protocol.TaskReport{State: protocol.StateFailed, Reason: protocol.ReasonDeviceError, Message: cut(err.Error(), protocol.MaxMessage)}); err != nil {
			return err
		}
		return tell(emit, task.End{State: protocol.StateFailed, Problem: err.Error()})
	default:
		// Nothing is kept: what is collected at the next try is as good, and newer.
		return tell(emit, task.End{State: protocol.StateWaiting, Problem: err.Error(), NextTry: time.Now().Add(client.RetryAfter(err))})
	}
}

func tell(emit task.Emit, end task.End) error {
	if err := emit(task.Event{End: &end}); err != nil {
		return fmt.Errorf("tell the end: %w", err)
	}
	return nil
}

// record is the journal of an inventory that a server asked for. Without a journal it keeps and tells
// nothing.
type record struct {
	task    protocol.Task
	emit    task.Emit
	guard   *proc.Lock
	journal *journal.Journal[attempt.Record]
	reached map[protocol.State]bool
}

// open takes the task's lock, tells what was journalled before, and returns the final state if there is one.
func (r *record) open(serverDir string) (over protocol.State, err error) {
	a, err := attempt.Open(serverDir, r.task.ID)
	if err != nil {
		return "", err
	}
	if err := a.Begin(r.task); err != nil {
		return "", err
	}
	guard, holder, err := proc.TryLock(a.LockPath(), "task inventory")
	if err != nil {
		return "", fmt.Errorf("take the lock of task %s, held by %q: %w", r.task.ID, holder, err)
	}
	j, records, err := a.Journal()
	if err != nil {
		return "", errors.Join(err, guard.Unlock())
	}
	r.guard, r.journal, r.reached = guard, j, map[protocol.State]bool{}
	for n := range records {
		r.reached[records[n].State()] = true
		if err := r.emit(task.Event{Report: &records[n].Report}); err != nil {
			return "", fmt.Errorf("tell a report again: %w", err)
		}
	}
	if state := attempt.Furthest(records); state.Final() {
		over = state
	}
	return over, nil
}

func (r *record) close(log *slog.Logger) {
	if err := errors.Join(r.journal.Close(), r.guard.Unlock()); err != nil {
		log.Warn("close the task", logging.Err, err)
	}
}

// reach journals and tells a state, once.
func (r *record) reach(t protocol.TaskReport) error {
	if r.journal == nil || r.reached[t.State] {
		return nil
	}
	t.TaskID, t.Kind = r.task.ID, r.task.Kind
	report, err := attempt.NewTaskReport(time.Now(), t)
	if err != nil {
		return err
	}
	if err := r.journal.Append(attempt.Record{Report: report}); err != nil {
		return fmt.Errorf("journal %s: %w", t.State, err)
	}
	if err := r.emit(task.Event{Report: &report}); err != nil {
		return fmt.Errorf("tell %s: %w", t.State, err)
	}
	return nil
}
