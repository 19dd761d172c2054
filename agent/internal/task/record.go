package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Patience is how long a task waits for a predecessor that is ending: its agent may have been killed right before.
const Patience = 3 * proc.KillGrace

// Record is the journal of a task that a server asked for and that changes nothing. Without Open it keeps and tells
// nothing, as for what the agent does on its own account.
type Record struct {
	task    protocol.Task
	emit    Emit
	guard   *proc.Lock
	journal *journal.Journal[attempt.Record]
	reached map[protocol.State]bool
}

// NewRecord makes the record of a task.
func NewRecord(t protocol.Task, emit Emit) *Record { return &Record{task: t, emit: emit} }

// Open takes the task's lock, tells what was journalled before, and returns the final state if there is one.
func (r *Record) Open(ctx context.Context, serverDir string) (over protocol.State, err error) {
	a, err := attempt.Open(serverDir, r.task.ID)
	if err != nil {
		return "", err
	}
	if err := a.Begin(r.task); err != nil {
		return "", err
	}
	guard, holder, err := proc.AwaitLock(ctx, a.LockPath(), "task "+r.task.Kind, Patience)
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
		if err := r.emit(Event{Report: &records[n].Report}); err != nil {
			return "", fmt.Errorf("tell a report again: %w", err)
		}
	}
	if state := attempt.Furthest(records); state.Final() {
		over = state
	}
	return over, nil
}

// Close lets go of the task.
func (r *Record) Close(log *slog.Logger) {
	if err := errors.Join(r.journal.Close(), r.guard.Unlock()); err != nil {
		log.Warn("close the task", logging.Err, err)
	}
}

// Reach journals and tells a state, once.
func (r *Record) Reach(t protocol.TaskReport) error {
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
	r.reached[t.State] = true
	if err := r.emit(Event{Report: &report}); err != nil {
		return fmt.Errorf("tell %s: %w", t.State, err)
	}
	return nil
}

// Reached reports whether the task has told the state, now or before a crash.
func (r *Record) Reached(s protocol.State) bool { return r.reached[s] }

// End tells the resident the end of the task.
func (e Emit) End(end End) error {
	if err := e(Event{End: &end}); err != nil {
		return fmt.Errorf("tell the end: %w", err)
	}
	return nil
}
