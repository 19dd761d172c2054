package task

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Patience is how long a task waits for a predecessor that is ending: its agent may have been killed right before.
const Patience = 6 * proc.KillGrace

// Record is the journal of a task that a server asked for and that changes nothing. Without Open it keeps and tells
// nothing, as for what the agent does on its own account.
type Record struct {
	task    protocol.Task
	emit    Emit
	hold    *Hold
	reached map[protocol.State]bool
}

// NewRecord makes the record of a task.
func NewRecord(t protocol.Task, emit Emit) *Record { return &Record{task: t, emit: emit} }

// Open takes the task's lock, tells what was journalled before, and returns the final state if there is one.
func (r *Record) Open(ctx context.Context, serverDir string, log *slog.Logger) (over protocol.State, err error) {
	if r.hold, err = Take(ctx, serverDir, r.task, r.emit, log); err != nil {
		return "", err
	}
	r.reached = map[protocol.State]bool{}
	for n := range r.hold.Records {
		r.reached[r.hold.Records[n].State()] = true
	}
	if state := attempt.Furthest(r.hold.Records); state.Final() {
		over = state
	}
	return over, nil
}

// Close lets go of the task.
func (r *Record) Close(log *slog.Logger) {
	if err := r.hold.Close(); err != nil {
		log.Warn("close the task", logging.Err, err)
	}
}

// Reach journals and tells a state, once.
func (r *Record) Reach(t protocol.TaskReport) error {
	if r.hold == nil || r.reached[t.State] {
		return nil
	}
	t.TaskID, t.Kind = r.task.ID, r.task.Kind
	report, err := attempt.NewTaskReport(time.Now(), t)
	if err != nil {
		return err
	}
	if err := r.hold.Journal.Append(attempt.Record{Report: report}); err != nil {
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
