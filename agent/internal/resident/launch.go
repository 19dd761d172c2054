package resident

import (
	"context"
	"errors"

	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/packages/logging"
)

// Run and Once end with one of these when the launcher is to judge which program is the agent.
var (
	// ErrRestart says that an update is ready to be tried, or was tried.
	ErrRestart = errors.New("the agent restarts into another program")
	// ErrProved says that this program, which is on trial, has checked in where it had to.
	ErrProved = errors.New("this agent has proved itself")
)

// onTrial reports whether this program has yet to prove itself. Then it checks in and delivers, and begins
// nothing: what is offered is for the program that is chosen in the end.
func (r *Resident) onTrial() bool { return r.o.Trial != nil }

// answered is called when a server has answered a check-in. At the one that asked for this program, that is the
// evidence which the launcher waits for.
func (r *Resident) answered(server string) {
	if !r.onTrial() || r.o.Trial.Server != server {
		return
	}
	if err := launch.Prove(r.o.DataDir, r.o.Trial.Task); err != nil {
		r.log.Error("tell the launcher", logging.Err, err)
		return
	}
	r.log.Info("this agent has checked in: its trial is over", "server", server)
	r.end(ErrProved)
}

// end makes Run or Once come to its end for a cause, the first one that there is.
func (r *Resident) end(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause == nil {
		r.cause = cause
	}
	if r.stop != nil {
		r.stop(r.cause)
	}
}

// ending is the cause for which Run or Once is to end; nil when there is none.
func (r *Resident) ending() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause
}

// endable lets end cancel a context.
func (r *Resident) endable(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	r.mu.Lock()
	r.stop = stop
	r.mu.Unlock()
	return ctx, func() { stop(nil) }
}
