package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/removal"
	"github.com/muster/muster/agent/internal/resident"
	"github.com/muster/muster/agent/internal/service"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
)

// uninstall takes the agent off this computer: after a last word to every server or, with --force, without.
func uninstall(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set, data := flags("uninstall")
	force := set.Bool("force", false, "do not tell the servers")
	if _, err := parse(set, args, 0); err != nil {
		return err
	}
	dir, err := dataDir(*data)
	if err != nil {
		return err
	}
	restart := false
	if isSystem(dir) {
		state, err := service.Status(ctx)
		if err != nil && !errors.Is(err, service.ErrNone) {
			return err
		}
		if restart = state == service.Running; restart {
			if err := service.Stop(ctx); err != nil {
				return err
			}
		}
	}
	if running, err := resident.Running(dir); err != nil || running {
		return errors.Join(err, fault.New(fault.Conflict, "an agent runs on %s: stop it first", dir))
	}
	if !*force && !removal.Marked(dir) {
		if err := goodbye(ctx, dir, stderr); err != nil {
			if restart {
				err = errors.Join(err, service.Start(ctx))
			}
			return fmt.Errorf("%w; the agent goes as soon as it has told every server, or now with: muster-agent uninstall --force", err)
		}
	}
	if err := removal.Mark(dir); err != nil {
		return err
	}
	if err := finish(ctx, dir, stderr); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, "the agent was removed from this computer")
	return err
}

// goodbye tells every server that the agent goes.
func goodbye(ctx context.Context, dir string, stderr io.Writer) error {
	names, err := identity.List(dir)
	if err != nil || len(names) == 0 {
		return err
	}
	conf, err := config.Load(dir)
	if err != nil {
		return err
	}
	r, err := resident.New(resident.Options{DataDir: dir, Config: conf, Log: logging.New(stderr, conf.Level(), logging.Tagged)})
	if err != nil {
		return err
	}
	return errors.Join(r.Goodbye(ctx), r.Close(), sweepLeft(dir))
}

// finish does the rest of a removal in this process.
func finish(ctx context.Context, dir string, stderr io.Writer) error {
	program, err := launch.Running()
	if err != nil {
		return err
	}
	conf, err := config.Load(dir)
	if err != nil {
		conf = config.Default() // of no use any more
	}
	return removal.Finish(ctx, removal.Options{
		DataDir: dir, Default: isSystem(dir), AgentLock: resident.LockPath(dir), ChangeLock: conf.LockPath(dir), Program: program.Installed,
		Log: logging.New(stderr, conf.Level(), logging.Tagged).With(logging.Task, "remove"),
	})
}

// removalMain is the hidden command `removal DIR`, which goOnRemoving starts.
func removalMain(dir string, stderr io.Writer) int {
	if err := finish(context.Background(), dir, stderr); err != nil {
		fmt.Fprintf(stderr, "muster-agent: %s\n", oneLine(err))
		return exitFailed
	}
	return exitOK
}
