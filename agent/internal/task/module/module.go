// Package module is the task that runs modules from outside: programs with a manifest in the modules folder of the
// device, see package modules. What a module finds becomes a section of the inventory.
//
// One process does one of three things: it looks at all modules (Scan), runs one, by schedule or because a server
// asks (Run), or sends a server what modules found (Send). A run's result is on the disk before anything is
// told of it. A run that was begun and left no result, because the agent or the computer went down, is reported as
// interrupted when a server had asked for it; it is not made again before its time. The task registry of
// the agent's command line calls it.
package module

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Run carries out the task. Without a module it looks at all of them, or, with a server, sends what they found;
// with one it runs it, for a server when the task has an id.
func Run(ctx context.Context, in task.Input, emit task.Emit, log *slog.Logger) error {
	results := modules.ResultsOf(in.DataDir)
	switch {
	case in.Task.Module == nil && in.Server == "":
		return scan(in, results, emit, log)
	case in.Task.Module == nil:
		return send(ctx, in, results, emit, log)
	case in.Task.ID == "":
		return scheduled(ctx, in, results, emit, log)
	default:
		return asked(ctx, in, results, emit, log)
	}
}

// scheduled runs a module because it is due.
func scheduled(ctx context.Context, in task.Input, results modules.Results, emit task.Emit, log *slog.Logger) error {
	name := in.Task.Module.Name
	release, err := hold(ctx, results, name)
	if err != nil {
		return err
	}
	defer release(log)
	m, err := modules.Load(in.Modules, name)
	var schema *schema
	if err == nil {
		schema, err = compile(m.Manifest)
	}
	if err != nil {
		log.Error("a module was not run", "module", name, logging.Err, err)
		if !fault.Is(err, fault.NotFound) {
			err = refuse(results, name, err)
		}
		return errors.Join(err, emit.End(task.End{State: protocol.StateFailed}))
	}
	parameters, err := schema.parameters(nil)
	if err != nil { // the module's own fit: compile has seen to that
		return err
	}
	res, err := execute(ctx, results, run{module: m, parameters: parameters}, log)
	if err != nil {
		return err
	}
	return emit.End(task.End{State: res.State, Problem: res.Problem})
}

// asked runs a module because a server asks.
func asked(ctx context.Context, in task.Input, results modules.Results, emit task.Emit, log *slog.Logger) error {
	store := identity.Open(in.DataDir, in.Server)
	record := task.NewRecord(in.Task, emit)
	over, err := record.Open(ctx, store.Dir(), log)
	if err != nil {
		return err
	}
	defer record.Close(log)
	if over != "" {
		return emit.End(task.End{State: over})
	}
	final := func(r protocol.TaskReport) error {
		r.Message = cut(r.Message, protocol.MaxMessage)
		if err := record.Reach(r); err != nil {
			return err
		}
		return emit.End(task.End{State: r.State, Problem: r.Message})
	}
	name := in.Task.Module.Name
	release, err := hold(ctx, results, name)
	if err != nil {
		return err
	}
	defer release(log)
	res, err := results.Head(name)
	switch had := err == nil && res.TaskID == in.Task.ID; {
	case had: // before a crash
	case record.Reached(protocol.StateStarted):
		return final(protocol.TaskReport{State: protocol.StateInterrupted, Reason: protocol.ReasonNoStatus,
			Message: "the agent or the computer went down while the module ran"})
	default:
		r, refusal, err := prepare(in, name)
		if err != nil {
			return err
		}
		if refusal != nil {
			log.Warn("a module is not run", "module", name, "reason", refusal.Reason, "message", refusal.Message)
			return final(*refusal)
		}
		if err := record.Reach(protocol.TaskReport{State: protocol.StateAccepted}); err != nil {
			return err
		}
		if err := record.Reach(protocol.TaskReport{State: protocol.StateStarted}); err != nil {
			return err
		}
		if res, err = execute(ctx, results, r, log); err != nil {
			return err
		}
	}
	// The rows go first, so that whoever hears of the end finds them there. Where that does not succeed now, they
	// follow when they can.
	if err := deliver(ctx, store, results, []string{name}, false, log); err != nil {
		log.Warn("what a module found follows later", "module", name, logging.Err, err)
	}
	return final(protocol.TaskReport{State: res.State, Reason: res.Reason, Message: res.Message})
}

// prepare makes a run of what a server asks for, or says why it is refused.
func prepare(in task.Input, name string) (run, *protocol.TaskReport, error) {
	refusal := func(reason protocol.Reason, err error) (run, *protocol.TaskReport, error) {
		return run{}, &protocol.TaskReport{State: protocol.StateRefused, Reason: reason, Message: err.Error()}, nil
	}
	m, err := modules.Load(in.Modules, name)
	if err != nil {
		return refusal(protocol.ReasonNoModule, err)
	}
	schema, err := compile(m.Manifest)
	if err != nil {
		return refusal(protocol.ReasonNoModule, err)
	}
	parameters, err := schema.parameters(in.Task.Module.Parameters)
	if err != nil {
		return refusal(protocol.ReasonParameters, err)
	}
	return run{module: m, parameters: parameters, taskID: in.Task.ID}, nil, nil
}

// hold takes the lock of a module: two runs of one never overlap.
func hold(ctx context.Context, results modules.Results, name string) (release func(*slog.Logger), err error) {
	if err := results.Make(); err != nil {
		return nil, err
	}
	lock, holder, err := proc.AwaitLock(ctx, results.LockPath(name), "module "+name, task.Patience)
	if err != nil {
		return nil, fmt.Errorf("take the lock of module %s, held by %q: %w", name, holder, err)
	}
	return func(log *slog.Logger) {
		if err := lock.Unlock(); err != nil {
			log.Warn("let go of a module", "module", name, logging.Err, err)
		}
	}, nil
}

// send sends a server what it has not got yet of what modules found; all, when the task says so by an inventory.
func send(ctx context.Context, in task.Input, results modules.Results, emit task.Emit, log *slog.Logger) error {
	names, err := results.Names()
	if err != nil {
		return err
	}
	err = deliver(ctx, identity.Open(in.DataDir, in.Server), results, names, in.Again, log)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return emit.End(task.End{State: protocol.StateSucceeded})
	case client.Final(err):
		return emit.End(task.End{State: protocol.StateFailed, Problem: err.Error()})
	default:
		return emit.End(task.End{State: protocol.StateWaiting, Problem: err.Error(), NextTry: time.Now().Add(client.RetryAfter(err))})
	}
}

func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make the id of a result: %w", err)
	}
	return id.String(), nil
}
