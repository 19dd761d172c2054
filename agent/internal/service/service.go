// Package service makes the agent a service of its system where no package does: a systemd unit on Linux, a
// service of the SCM on Windows, a launch daemon on macOS. The unit's text is the one in the packages.
//
// Install and Uninstall may be repeated, and go on after a crash wherever it left them. The cli calls it.
package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/muster/muster/packages/fault"
)

// Name is what the system calls the service.
const Name = "muster-agent"

// ExitRemoved is the exit code of an agent that was removed from its computer: it must not be started again.
const ExitRemoved = 10

// Options describe the service.
type Options struct {
	Program string // absolute path of the agent
	Data    string // absolute path of its data directory
	// Default says that Data is the one that the agent takes by itself.
	Default bool
}

// State is how the service stands.
type State string

// The states.
const (
	Absent  State = "not installed"
	Stopped State = "stopped"
	Running State = "running"
)

// ErrNone says that there is no service manager here that this package speaks to.
var ErrNone = errors.New("no service manager runs here")

// check refuses what no service can be made of.
func (o Options) check() error {
	for _, path := range []string{o.Program, o.Data} {
		for _, c := range path {
			if c < ' ' || c == 0x7f {
				return fault.New(fault.Invalid, "%q cannot be the path of a service: it holds a control character", path)
			}
		}
	}
	return nil
}

// Run runs the agent: where the system has started this process as a service and expects to be spoken to, as
// Windows does, that is done, and its wish to stop ends the context of run.
func Run(ctx context.Context, run func(context.Context) error) error { return runAs(ctx, run) }

// Install makes the service, enables it for every start of the computer, and starts it. A service of the
// same name that was made by others, as by a package, is a fault of code conflict.
func Install(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := install(ctx, o); err != nil {
		return fmt.Errorf("install the service: %w", err)
	}
	return nil
}

// Uninstall stops the service and removes what Install made. Without a service it does nothing.
func Uninstall(ctx context.Context, o Options) error {
	if err := uninstall(ctx, o); err != nil {
		return fmt.Errorf("uninstall the service: %w", err)
	}
	return nil
}

// Owns reports whether the service was made by Install for this very program and data directory.
func Owns(ctx context.Context, o Options) bool { return owns(ctx, o) }

// Start starts the service.
func Start(ctx context.Context) error { return start(ctx) }

// Stop stops the service and waits until its process has gone. Commands that it has begun go on. The error is
// ErrNone where no service manager runs.
func Stop(ctx context.Context) error { return stop(ctx) }

// Status tells how the service stands.
func Status(ctx context.Context) (State, error) { return status(ctx) }
