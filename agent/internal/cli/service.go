package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/resident"
	"github.com/muster/muster/agent/internal/service"
	"github.com/muster/muster/packages/fault"
)

// stopLimit is how long an agent that was asked to end may take.
const stopLimit = 30 * time.Second

// manage makes and steers the service.
func manage(ctx context.Context, args []string, stdout io.Writer) error {
	set, data := flags("service")
	rest, err := parse(set, args, 1)
	if err != nil {
		return err
	}
	verb := ""
	if len(rest) == 1 {
		verb = rest[0]
	}
	o, err := serviceOptions(*data)
	if err != nil {
		return err
	}
	switch verb {
	case "install":
		if _, err := dataDir(*data); err != nil {
			return err
		}
		return service.Install(ctx, o)
	case "uninstall":
		return service.Uninstall(ctx, o)
	case "start":
		return service.Start(ctx)
	case "stop":
		return stopAgent(ctx, o.Data)
	case "status":
		state, err := service.Status(ctx)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(stdout, service.Name, "is", state)
		return err
	default:
		return fmt.Errorf("%w: service install, uninstall, start, stop or status", errUsage)
	}
}

func serviceOptions(given string) (service.Options, error) {
	program, err := launch.Running()
	if err != nil {
		return service.Options{}, err
	}
	dir, err := filepath.Abs(given)
	return service.Options{Program: program.Installed, Data: dir, Default: isSystem(dir)}, err
}

// isSystem reports whether a data directory is that of the agent of the whole computer.
func isSystem(dir string) bool {
	return dir == defaultData() && (runtime.GOOS == "windows" || os.Geteuid() == 0)
}

// stopAgent stops the service or, where none runs it, the agent of a data directory, and waits for its end.
func stopAgent(ctx context.Context, dir string) error {
	if err := service.Stop(ctx); !errors.Is(err, service.ErrNone) {
		return err
	}
	pid, err := proc.Holder(launch.LockPath(dir)) // the parent of an agent on trial
	if err == nil && pid == 0 {
		pid, err = proc.Holder(resident.LockPath(dir))
	}
	if err != nil || pid == 0 {
		return err
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("find the agent, process %d: %w", pid, err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ask the agent, process %d, to end: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	for {
		if running, err := resident.Running(dir); err != nil || !running {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Conflict, "the agent, process %d, does not end", pid)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
