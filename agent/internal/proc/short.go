package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/muster/muster/packages/fault"
)

// Output runs a short command of the system and returns what it printed on standard output, and its exit
// code. Any exit code is an answer, not an error; the error says that there is no answer: the command
// could not be started, was ended by a signal, by ctx or by the limit (ErrTimeLimit; DefaultTimeLimit when
// limit is 0), or printed more than MaxShortOutput. The exit code is -1 then. Standard error is
// discarded.
//
// At the end of ctx or of the limit the command's whole tree is ended. Nobody watches over it when this
// process dies: a command that changes the computer needs a runner.
func Output(ctx context.Context, argv []string, dir string, env []string, limit time.Duration) ([]byte, int, error) {
	command := Command{Argv: argv, Dir: dir, Env: env}
	if err := command.check(); err != nil {
		return nil, -1, fmt.Errorf("run command: %w", err)
	}
	if limit <= 0 {
		limit = DefaultTimeLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w after %s", ErrTimeLimit, limit))
	defer cancel()
	out, state, err := output(ctx, command)
	if err != nil {
		return out, -1, fmt.Errorf("run %s: %w", argv[0], err)
	}
	if name := signalName(state); name != "" {
		return out, -1, fmt.Errorf("run %s: ended by signal: %s", argv[0], name)
	}
	return out, state.ExitCode(), nil
}

func output(ctx context.Context, command Command) ([]byte, *os.ProcessState, error) {
	env := environ(command.Env)
	path, err := lookPath(command.Argv[0], command.Dir, env)
	if err != nil {
		return nil, nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer reader.Close()
	cmd := &exec.Cmd{Path: path, Args: command.Argv, Dir: command.Dir, Env: env, Stdout: writer}
	sealDescriptors()
	tree, err := startTree(cmd, treeOptions{})
	writer.Close()
	if err != nil {
		return nil, nil, err
	}
	defer tree.close()
	var out []byte
	copied, exited, overflow := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(copied)
		out, _ = io.ReadAll(io.LimitReader(reader, MaxShortOutput+1)) // up to the end or the closing of the pipe
		if len(out) > MaxShortOutput {
			close(overflow)
		}
	}()
	go func() {
		_ = cmd.Wait() // the state is what counts
		close(exited)
	}()
	err = awaitOutput(ctx, tree, exited, copied, overflow)
	reader.Close()
	<-copied
	if err != nil {
		return out, nil, err
	}
	if cmd.ProcessState == nil {
		return out, nil, errors.New("its end could not be awaited")
	}
	return out, cmd.ProcessState, nil
}

// awaitOutput waits for the end of the command and then of its output, or ends the command.
func awaitOutput(ctx context.Context, tree *tree, exited, copied, overflow <-chan struct{}) error {
	var cause error
	select {
	case <-exited:
		waitFor(copied, PipeGrace)
		select {
		case <-overflow:
			return errOverflow()
		default:
			return nil
		}
	case <-overflow:
		cause = errOverflow()
	case <-ctx.Done():
		cause = context.Cause(ctx)
	}
	tree.end(KillGrace)
	waitFor(exited, KillGrace)
	return cause
}

func errOverflow() error {
	return fault.New(fault.TooLarge, "it printed more than %d bytes", MaxShortOutput)
}

func waitFor(event <-chan struct{}, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-event:
	case <-timer.C:
	}
}
