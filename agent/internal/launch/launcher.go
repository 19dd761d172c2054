package launch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"syscall"
	"time"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// ExitRestart is the exit code of an agent that wants its launcher to judge again, where a program cannot execute
// another in its place.
const ExitRestart = 11

// Times.
const (
	stopGrace  = 20 * time.Second // for a program to end when it is asked to; service managers kill after 30
	firstPause = time.Second      // between two starts of a trial; doubled each time
)

// Launcher starts the program that is to be the agent.
type Launcher struct {
	DataDir string
	Program Program  // this very program
	Args    []string // of the command line, without the program
	// Busy reports whether an agent runs on the data directory, which nobody must try to replace.
	Busy func() (bool, error)
	Log  *slog.Logger
	// Pause replaces the pause between the first two starts of a trial, when it is not 0.
	Pause time.Duration
}

// LockPath is the file whose lock a launcher holds while it judges a program on trial.
func LockPath(dataDir string) string { return filepath.Join(dataDir, Folder, lockFile) }

// Exit is the error of a launcher whose program has ended, and which is to end with the same code.
type Exit struct{ Code int }

// Error describes the end.
func (e *Exit) Error() string { return fmt.Sprintf("the agent ended with exit code %d", e.Code) }

// Run starts the chosen program, and tries a new one if there is one. It returns nil when the caller is to be the
// agent itself. Where a program can execute another in its place it does not return when a slot was chosen; else
// the error is an *Exit when that program has ended. The error is that of ctx when it ended before.
func (l *Launcher) Run(ctx context.Context) error {
	if s, err := Load(l.DataDir); err == nil && s.Trial != nil && s.Trial.Armed {
		lock, _, err := proc.TryLock(LockPath(l.DataDir), "muster-agent")
		if errors.Is(err, proc.ErrHeld) {
			return fault.Wrap(err, fault.Conflict, "another muster-agent uses %s already, and is trying a new version", l.DataDir)
		}
		if err != nil {
			return l.giveUp(ctx, s, err)
		}
		defer func() { _ = lock.Unlock() }() // of no use any more
		if busy, err := l.Busy(); err != nil || busy {
			return err // the caller says who it is
		}
	}
	for ctx.Err() == nil {
		d, s := l.decide()
		switch {
		case d.end != nil:
			l.Log.Info("the trial of a new agent is over", "outcome", d.end.Outcome, "reason", d.end.Reason, "message", d.end.Message)
			if err := conclude(l.DataDir, s, *d.end); err != nil {
				return l.giveUp(ctx, s, err)
			}
		case d.trial:
			if err := l.try(ctx, s); err != nil {
				return l.giveUp(ctx, s, err)
			}
		case d.slot != nil:
			return l.become(ctx, *d.slot)
		default:
			return nil
		}
	}
	return ctx.Err()
}

// decide reads the disk and judges.
func (l *Launcher) decide() (decision, State) {
	s, err := Load(l.DataDir)
	if err != nil {
		l.Log.Error("the installed agent runs: which other one is to run cannot be read", logging.Err, err)
	}
	return decide(s, facts{
		installed: l.Program.Version, proved: s.Trial != nil && s.Trial.proved(l.DataDir),
		usable: func(slot Slot) error {
			err := slot.Check(l.DataDir)
			if err != nil {
				l.Log.Error("a program is passed over", "slot", slot.Name, "version", slot.Version, logging.Err, err)
			}
			return err
		},
	}), s
}

// giveUp goes on where nothing can be kept, because the disk is full or broken. A program on trial that nobody counts
// must not be started: it is removed, which needs no room, and without its program the trial is over. What was chosen
// before it runs. One that has proved itself runs: its evidence stays, and the next launcher notes it.
func (l *Launcher) giveUp(ctx context.Context, s State, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.Log.Error("how the trial of a new agent stands cannot be kept", logging.Err, cause)
	if s.Trial.proved(l.DataDir) {
		return l.become(ctx, s.Trial.Slot)
	}
	if err := remove(s.Trial.Path(l.DataDir)); err != nil {
		l.Log.Error("remove the new agent", logging.Err, err)
	}
	s.Trial = nil
	d := decide(s, facts{installed: l.Program.Version, usable: func(slot Slot) error { return slot.Check(l.DataDir) }})
	if d.slot == nil {
		return nil
	}
	return l.become(ctx, *d.slot)
}

// become makes the slot's program the agent. What cannot be started is passed over in favour of the caller.
func (l *Launcher) become(ctx context.Context, slot Slot) error {
	env := environ(envInstalled+"="+l.Program.Version+" "+l.Program.Installed, envSlot+"="+slot.Name)
	err := replace(ctx, slot.Path(l.DataDir), l.Args, env)
	var exit *Exit
	if errors.As(err, &exit) || ctx.Err() != nil {
		return err
	}
	l.Log.Error("the installed agent runs: another cannot be started", "slot", slot.Name, "version", slot.Version, logging.Err, err)
	return nil
}

// try starts the program on trial once and stays with it until it has ended. What it left is judged afterwards;
// the error says that the start could not be counted.
func (l *Launcher) try(ctx context.Context, s State) error {
	t := s.Trial
	if t.Attempts > 0 && !l.pause(ctx, t.Attempts) {
		return ctx.Err()
	}
	t.Attempts++
	if err := save(l.DataDir, s); err != nil {
		return err
	}
	l.Log.Info("a new agent is on trial", "version", t.Version, "slot", t.Name, "attempt", t.Attempts, "seconds", int(t.left().Seconds()))
	env := environ(envInstalled+"="+l.Program.Version+" "+l.Program.Installed, envSlot+"="+t.Name, envTrial+"="+t.Task, envLeash+"=1")
	began := time.Now() // a difference of two of these ignores whoever sets the clock
	p, err := proc.StartAgent(t.Path(l.DataDir), l.Args, env)
	if err != nil {
		l.Log.Error("start the new agent", "version", t.Version, logging.Err, err)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) {
			return nil // it was counted; the computer may have more to give the next time
		}
		t.Attempts-- // nothing of it ran, and nothing ever will
		return conclude(l.DataDir, s, *t.outcome(t.Untried(), protocol.ReasonCannotStart, "agent %s cannot be started: %v", t.Version, err))
	}
	timer := time.NewTimer(t.left())
	defer timer.Stop()
	over := false
	select {
	case <-p.Done():
	case <-timer.C:
		over = true
	case <-ctx.Done():
	}
	p.Stop(stopGrace)
	l.Log.Info("the new agent has ended", "version", t.Version, "how", p.End())
	t.UsedMS += max(time.Since(began).Milliseconds(), 1)
	switch {
	case over:
		t.UsedMS = max(t.UsedMS, t.ProbationMS)
	case ctx.Err() != nil:
		t.Attempts-- // it was told to end
	}
	if err := save(l.DataDir, s); err != nil {
		l.Log.Error("keep how a trial stands", logging.Err, err) // the start was counted
	}
	return nil
}

// pause lets what may have disturbed a start go by, and reports whether to go on.
func (l *Launcher) pause(ctx context.Context, attempts int) bool {
	first := firstPause
	if l.Pause > 0 {
		first = l.Pause
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(first << (attempts - 1)):
		return true
	}
}

// Restart lets the launcher judge again: the installed program is executed in place of this one, with the same
// arguments. Where a system cannot do that, the error is an *Exit with ExitRestart for a program in a slot, whose
// launcher sees it, and nil for the installed one, which calls Launcher.Run again.
func Restart(p Program, args []string) error {
	if err := restart(p, args); err != nil {
		return fmt.Errorf("restart %s: %w", p.Installed, err)
	}
	return nil
}
