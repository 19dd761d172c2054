package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/logfile"
	"github.com/muster/muster/agent/internal/logforward"
	"github.com/muster/muster/agent/internal/removal"
	"github.com/muster/muster/agent/internal/resident"
	"github.com/muster/muster/agent/internal/service"
	"github.com/muster/muster/packages/logging"
)

// run stays until it is told to stop, or until the agent is removed from this computer.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	resident.Tune()
	serve := func(ctx context.Context) error {
		err := launched(ctx, "run", args, stderr, func(ctx context.Context, p launch.Program) error {
			for {
				// Begins anew after a server was left: that is rare, and nothing then lingers in this process.
				err := withResident("run", args, stderr, p, func(r *resident.Resident) error { return r.Run(ctx) })
				if !errors.Is(err, resident.ErrLeft) || ctx.Err() != nil {
					return err
				}
			}
		})
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // told to end while another agent was on trial
		}
		return err
	}
	if launch.Leashed() {
		return serve(ctx) // it is the launcher to whom a service manager speaks
	}
	return service.Run(ctx, serve)
}

// once checks in once, does what is asked and delivers.
func once(ctx context.Context, args []string, stderr io.Writer) error {
	return launched(ctx, "once", args, stderr, func(ctx context.Context, p launch.Program) error {
		err := withResident("once", args, stderr, p, func(r *resident.Resident) error { return r.Once(ctx) })
		if errors.Is(err, resident.ErrLeft) {
			return withResident("once", args, stderr, p, func(*resident.Resident) error { return nil })
		}
		return err
	})
}

// directory is the data directory that the arguments of a command name.
func directory(name string, args []string) (string, error) {
	set, data := flags(name)
	if _, err := parse(set, args, 0); err != nil {
		return "", err
	}
	return dataDir(*data)
}

func withResident(name string, args []string, stderr io.Writer, p launch.Program, use func(*resident.Resident) error) error {
	dir, err := directory(name, args)
	if err != nil {
		return err
	}
	conf, err := config.Load(dir)
	if err != nil {
		return err
	}
	if err := sweepLeft(dir); err != nil {
		return err
	}
	if removal.Marked(dir) {
		return goOnRemoving(dir, p.Installed, logging.New(stderr, conf.Level(), logging.Tagged))
	}
	o := resident.Options{DataDir: dir, Config: conf, Program: p}
	if o.Trial, err = trialOf(dir, p); err != nil {
		return err
	}
	file := logfile.New(dir, conf.Log.MaxBytes, conf.Log.Files)
	lines := logforward.New(conf.Level(), file, stderr)
	o.Log, o.Lines = lines.Logger(), lines
	r, err := resident.New(o)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	return errors.Join(use(r), r.Close(), file.Close())
}

// sweepLeft removes what is left of servers; with the last of them the agent is to be removed.
func sweepLeft(dir string) error {
	return resident.SweepLeft(dir, func() error { return removal.Mark(dir) })
}

// errRemoved says that this agent is on its way from the computer.
var errRemoved = errors.New("the agent is being removed from this computer")

// goOnRemoving hands the rest to a process that outlives this one.
func goOnRemoving(dir, program string, log *slog.Logger) error {
	if err := removal.Start(dir, program); err != nil {
		return err
	}
	log.Info("this was the last server: the agent is removed from this computer")
	return errRemoved
}
