package launch

import (
	"context"

	"github.com/muster/muster/agent/internal/proc"
)

// replace starts the program and stays its parent until it has ended.
func replace(ctx context.Context, path string, args, env []string) error {
	p, err := proc.StartAgent(path, args, append(env, envLeash+"=1"))
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
	}
	p.Stop(stopGrace)
	return &Exit{Code: p.ExitCode()}
}

func restart(p Program, _ []string) error {
	if p.Slot == "" {
		return nil
	}
	return &Exit{Code: ExitRestart}
}
