package cli

import (
	"context"
	"errors"
	"io"

	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/logfile"
	"github.com/muster/muster/agent/internal/removal"
	"github.com/muster/muster/agent/internal/resident"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
)

// launched makes the program that is chosen the agent of a data directory: this very one, which then calls agent, or
// one that an update brought. It begins anew when the agent wants to be judged.
func launched(ctx context.Context, name string, args []string, stderr io.Writer, agent func(context.Context, launch.Program) error) error {
	p, err := launch.Running()
	if err != nil {
		return err
	}
	if launch.Leashed() {
		leashed, release := context.WithCancel(ctx)
		defer release()
		go func() { launch.AwaitRelease(); release() }()
		ctx = leashed
	}
	for {
		if p.Slot == "" {
			if err := judge(ctx, name, args, stderr, p); err != nil {
				return err
			}
		}
		err := agent(ctx, p)
		switch {
		case errors.Is(err, resident.ErrProved):
			return nil
		case ctx.Err() != nil || !errors.Is(err, resident.ErrRestart):
			return err
		}
		if err := launch.Restart(p, append([]string{name}, args...)); err != nil {
			return err
		}
	}
}

// judge runs the launcher. It returns nil when this very program is to be the agent.
func judge(ctx context.Context, name string, args []string, stderr io.Writer, p launch.Program) error {
	dir, err := directory(name, args)
	if err != nil || removal.Marked(dir) {
		return err
	}
	conf, err := config.Load(dir)
	if err != nil {
		conf = config.Default() // the agent itself says what is wrong with it
	}
	lines := io.MultiWriter(stderr, lineFile{dir})
	l := launch.Launcher{
		DataDir: dir, Program: p, Args: append([]string{name}, args...), Log: logging.New(lines, conf.Level(), logging.Tagged),
		Busy: func() (bool, error) { return resident.Running(dir) },
	}
	for {
		err := l.Run(ctx)
		if exit := (*launch.Exit)(nil); !errors.As(err, &exit) || exit.Code != launch.ExitRestart || ctx.Err() != nil {
			return err
		}
	}
}

// lineFile is the agent's log for the few lines of a launcher. It is not kept open: between two lines the agent that
// the launcher has started writes to it.
type lineFile struct{ dir string }

// Write appends a line. A log that cannot be written must not keep an agent from running.
func (f lineFile) Write(line []byte) (int, error) {
	_ = logfile.Append(f.dir, line)
	return len(line), nil
}

// trialOf is what the launcher waits for while this program is on trial; nil when it is not.
func trialOf(dir string, p launch.Program) (*launch.Trial, error) {
	if p.Task == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	s, err := launch.Load(dir)
	if err != nil {
		return nil, err
	}
	if s.Trial == nil || s.Trial.Task != p.Task {
		return nil, fault.New(fault.Conflict, "the launcher of %s knows nothing of the trial %s", dir, p.Task)
	}
	return s.Trial, nil
}
