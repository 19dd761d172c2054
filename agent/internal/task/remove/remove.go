// Package remove is the task by which a server asks the agent to leave it. The task itself only waits until no
// change of this computer is under way and gives the final report; the resident delivers it, and then the
// server's folder goes, and with the last server the agent (packages resident and removal).
//
// The report is journalled before it is told. After a crash the same report is told again, under the same id.
// Only task processes call this package.
package remove

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Times.
const (
	changeWait = 2 * time.Second  // for a change that is ending
	again      = 15 * time.Second // when another change goes on
)

// removal is one task while its process lives.
type removal struct {
	in      task.Input
	emit    task.Emit
	journal *journal.Journal[attempt.Record]
	records []attempt.Record
}

// Run carries out the task.
func Run(ctx context.Context, in task.Input, emit task.Emit, log *slog.Logger) (err error) {
	if in.Task.Remove == nil {
		return fault.New(fault.Invalid, "the task asks for no removal")
	}
	h, err := task.Take(ctx, identity.Open(in.DataDir, in.Server).Dir(), in.Task, emit, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	r := &removal{in: in, emit: emit, journal: h.Journal, records: h.Records}
	if state := attempt.Furthest(r.records); state.Final() {
		return r.end(state, time.Time{})
	}
	return r.leave(ctx, log)
}

// leave gives the final report when nothing changes this computer, and else says that it waits.
func (r *removal) leave(ctx context.Context, log *slog.Logger) error {
	change, holder, err := proc.AwaitLock(ctx, r.in.ChangeLock, "task remove", changeWait)
	if errors.Is(err, proc.ErrHeld) {
		next := time.Now().Add(again).UTC().Truncate(time.Second)
		if n := len(r.records); n == 0 || r.records[n-1].State() != protocol.StateWaiting {
			if err := r.tell(protocol.StateWaiting, protocol.ReasonBusy, "another change of this computer is under way: "+holder, &next); err != nil {
				return err
			}
		}
		return r.end(protocol.StateWaiting, next)
	}
	if err != nil {
		return fmt.Errorf("take the change lock: %w", err)
	}
	defer func() { _ = change.Unlock() }() // it ends with this process at the latest
	if err := r.tell(protocol.StateSucceeded, protocol.ReasonDone, "the agent leaves this server", nil); err != nil {
		return err
	}
	log.Info("leaving this server, as it asked")
	return r.end(protocol.StateSucceeded, time.Time{})
}

// tell journals a report and then tells it.
func (r *removal) tell(state protocol.State, reason protocol.Reason, message string, next *time.Time) error {
	report, err := attempt.NewTaskReport(time.Now(), protocol.TaskReport{
		TaskID: r.in.Task.ID, Kind: protocol.TaskRemove, State: state, Reason: reason, Message: message, NextTry: next,
	})
	if err != nil {
		return err
	}
	if err := r.journal.Append(attempt.Record{Report: report}); err != nil {
		return fmt.Errorf("journal %s: %w", state, err)
	}
	if err := r.emit(task.Event{Report: &report}); err != nil {
		return fmt.Errorf("tell %s: %w", state, err)
	}
	return nil
}

func (r *removal) end(state protocol.State, next time.Time) error {
	if err := r.emit(task.Event{End: &task.End{State: state, NextTry: next}}); err != nil {
		return fmt.Errorf("tell the end: %w", err)
	}
	return nil
}
