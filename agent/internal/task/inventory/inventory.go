package inventory

import (
	"context"
	"log/slog"
	"time"

	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/task"
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
	asked := task.NewRecord(in.Task, emit)
	if in.Task.ID != "" {
		over, err := asked.Open(ctx, store.Dir(), log)
		if err != nil {
			return err
		}
		defer asked.Close(log)
		if over != "" {
			return emit.End(task.End{State: over})
		}
		if err := asked.Reach(protocol.TaskReport{State: protocol.StateAccepted}); err != nil {
			return err
		}
	}
	sum, err := t.take(ctx, in, c, log)
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // told to stop: made anew at the next start
	case err == nil:
		log.Info("inventory taken", "sections", sum.sections, "sent", sum.Sent, "problems", sum.problems)
		if err := asked.Reach(protocol.TaskReport{State: protocol.StateSucceeded, Reason: protocol.ReasonDone, Message: sum.String()}); err != nil {
			return err
		}
		return emit.End(task.End{State: protocol.StateSucceeded})
	case client.Final(err):
		if err := asked.Reach(protocol.TaskReport{State: protocol.StateFailed, Reason: protocol.ReasonDeviceError, Message: cut(err.Error(), protocol.MaxMessage)}); err != nil {
			return err
		}
		return emit.End(task.End{State: protocol.StateFailed, Problem: err.Error()})
	default:
		// Nothing is kept: what is collected at the next try is as good, and newer.
		return emit.End(task.End{State: protocol.StateWaiting, Problem: err.Error(), NextTry: time.Now().Add(client.RetryAfter(err))})
	}
}
