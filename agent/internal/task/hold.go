package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/protocol"
)

// ErrUntold marks that nobody listens any more: the agent has gone. It says nothing about the task, which goes on when
// the next agent starts.
var ErrUntold = errors.New("nobody listens")

// Marked marks errors of emit with ErrUntold.
func Marked(emit Emit) Emit {
	return func(e Event) error {
		if err := emit(e); err != nil {
			return fmt.Errorf("%w: %w", ErrUntold, err)
		}
		return nil
	}
}

// Hold is the folder of a task in the hand of the one process that carries it out.
type Hold struct {
	Attempt *attempt.Attempt
	Journal *journal.Journal[attempt.Record]
	Records []attempt.Record // journalled before
	guard   *proc.Lock
}

// Take begins the task's folder or finds it, waits for a former process of the task to end, opens the journal, and
// tells what was journalled before. After an error nothing is held.
func Take(ctx context.Context, serverDir string, t protocol.Task, emit Emit, log *slog.Logger) (_ *Hold, err error) {
	h := &Hold{}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.Attempt, err = attempt.Open(serverDir, t.Work()); err != nil {
		return nil, err
	}
	if err := h.Attempt.Begin(t); err != nil {
		return nil, err
	}
	if h.guard, _, err = proc.AwaitLock(ctx, h.Attempt.LockPath(), "task "+t.Kind, Patience); err != nil {
		return nil, fmt.Errorf("wait for a former process of this task: %w", err)
	}
	if h.Journal, h.Records, err = h.Attempt.Journal(); err != nil {
		return nil, err
	}
	if r := h.Journal.Recovery(); !r.Clean() {
		log.Warn("the task's journal was damaged", "detail", r.Detail, "bytes_lost", r.LostSize)
	}
	for n := range h.Records {
		if err := emit(Event{Report: &h.Records[n].Report}); err != nil {
			return nil, fmt.Errorf("tell a report again: %w", err)
		}
	}
	return h, nil
}

// Close lets go of the task.
func (h *Hold) Close() error {
	var errs []error
	if h.Journal != nil {
		errs = append(errs, h.Journal.Close())
	}
	if h.guard != nil {
		errs = append(errs, h.guard.Unlock())
	}
	return errors.Join(errs...)
}
