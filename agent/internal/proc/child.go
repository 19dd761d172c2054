package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/muster/muster/packages/fault"
)

// Exit codes of ChildMain.
const (
	exitFailed = 1 // run returned an error; it is on standard error
	exitUsage  = 2 // not started by StartTask
	exitForced = 3 // run went on after its time
)

// errStarterGone is the cause of a task's context when its standard input has ended.
var errStarterGone = errors.New("the agent ended this task or has gone")

// ChildMain is the whole of `task NAME` in the child: it reads the input, calls run and returns the exit
// code of the process. emit sends one event, and returns when it is in the pipe. ctx is cancelled when
// standard input ends, that is when the agent wants the task to end or has died; a run that is not back
// KillGrace later is cut off, with all that it started except runners.
//
//fuzz:none FuzzReadLine takes the line apart, and package task what is in it
func ChildMain(run func(ctx context.Context, input []byte, emit func(v any) error) error) int {
	events, err := openEvents()
	if err != nil {
		fmt.Fprintf(os.Stderr, "this command is for the agent itself: %v\n", err)
		return exitUsage
	}
	sealDescriptors()
	stdin := bufio.NewReader(os.Stdin)
	input, err := readLine(stdin, MaxTaskInput)
	if err != nil {
		fmt.Fprintf(os.Stderr, "read task input: %v\n", err)
		return exitUsage
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go watch(stdin, cancel)
	if err := run(ctx, input, emitter(events)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return 0
}

// watch cancels the task when its input ends or it is told to end.
func watch(stdin io.Reader, cancel context.CancelCauseFunc) {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		close(ended)
	}()
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	// Without the agent nobody reads standard error. A write there must fail rather than kill the task
	// before it could clean up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	select {
	case <-ended:
	case <-told:
	}
	cancel(errStarterGone)
	time.AfterFunc(KillGrace, func() {
		endChildren()
		os.Exit(exitForced)
	})
}

func emitter(events io.Writer) func(v any) error {
	var mu sync.Mutex
	return func(v any) error {
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("emit event: %w", err)
		}
		if len(data) > MaxEvent {
			return fault.New(fault.TooLarge, "emit event: it has %d bytes, the limit is %d", len(data), MaxEvent)
		}
		mu.Lock()
		defer mu.Unlock()
		if _, err := events.Write(append(data, '\n')); err != nil {
			return fmt.Errorf("emit event: %w", err)
		}
		return nil
	}
}
