package proc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/muster/muster/packages/fault"
)

// maxLogLine is where a task's log lines are cut off.
const maxLogLine = 8 << 10

// TaskOptions describe a task process.
type TaskOptions struct {
	Name string
	// Input is one JSON value; nil stands for null.
	Input []byte
	// Limit is how long the task may take; 0 sets no limit.
	Limit time.Duration
	// StartsRunners says that the task starts runners, which need normal priority. Where this user cannot give it
	// to them from an idle process, the task itself keeps normal priority too, but for its input and output.
	StartsRunners bool
	// Env is added to the small environment that every child gets.
	Env []string
	// Log gets the task's standard error, one line per Write; it may be nil.
	Log io.Writer
	// Event is called for every event, in order, from one goroutine; the bytes are the callee's to keep.
	// An error ends the task and becomes the error of Wait. It may be nil.
	Event func(event json.RawMessage) error
}

// Task is a running task process.
type Task struct {
	cmd  *exec.Cmd
	tree *tree
	opts TaskOptions

	stdin  io.Closer
	closer sync.Once

	exited  chan struct{} // the process has ended
	broken  chan error    // an event could not be taken
	readers sync.WaitGroup
	done    chan struct{}
	err     error // once done is closed
}

// ExitError says how a task ended that did not end well.
type ExitError struct {
	Name   string
	Code   int    // -1 when a signal ended it
	Signal string // as "killed"
}

// Error describes the end.
func (e *ExitError) Error() string {
	if e.Signal != "" {
		return fmt.Sprintf("task %s was ended by signal: %s", e.Name, e.Signal)
	}
	return fmt.Sprintf("task %s ended with exit code %d", e.Name, e.Code)
}

// StartTask starts `task NAME` of this very program, at idle priority and in a process group of its own.
// Its standard input stays open after the input and ends when this process does, however it does, which
// makes the task end too. Cancelling ctx, or the limit, closes the input; a task that is still there
// after KillGrace is ended with everything it started, runners excepted.
func StartTask(ctx context.Context, opts TaskOptions) (*Task, error) {
	input, err := compactInput(opts.Input)
	if err != nil {
		return nil, fmt.Errorf("start task %s: %w", opts.Name, err)
	}
	cmd, err := self(ArgTask, opts.Name)
	if err != nil {
		return nil, fmt.Errorf("start task %s: %w", opts.Name, err)
	}
	t := &Task{cmd: cmd, opts: opts, exited: make(chan struct{}), broken: make(chan error, 1), done: make(chan struct{})}
	if err := t.start(input); err != nil {
		return nil, fmt.Errorf("start task %s: %w", opts.Name, err)
	}
	go t.supervise(ctx)
	return t, nil
}

// compactInput makes the input one line, whose end tells the task where it ends.
func compactInput(input []byte) ([]byte, error) {
	if input == nil {
		input = []byte("null")
	}
	if len(input) > MaxTaskInput {
		return nil, fault.New(fault.TooLarge, "the input has %d bytes, the limit is %d", len(input), MaxTaskInput)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, input); err != nil {
		return nil, fmt.Errorf("encode input: %w", err)
	}
	line.WriteByte('\n')
	return line.Bytes(), nil
}

// start starts the process and the goroutines that feed and read it.
func (t *Task) start(input []byte) (err error) {
	var files []*os.File
	defer func() {
		for _, file := range files {
			err = errors.Join(err, file.Close())
		}
	}()
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			files = append(files, r, w)
		}
		return r, w, err
	}
	stdinR, stdinW, err := pipe()
	if err != nil {
		return err
	}
	eventR, eventW, err := pipe()
	if err != nil {
		return err
	}
	logR, logW, err := pipe()
	if err != nil {
		return err
	}
	t.cmd.Stdin, t.cmd.Stderr = stdinR, logW
	t.cmd.Env = environ(t.opts.Env)
	if err := passEvents(t.cmd, eventW); err != nil {
		return err
	}
	low := idle
	if t.opts.StartsRunners {
		low = idleThatStarts
	}
	if t.tree, err = startTree(t.cmd, treeOptions{priority: low}); err != nil {
		return err
	}
	files = []*os.File{stdinR, eventW, logW} // the child's ends
	t.stdin = stdinW
	t.readers.Add(2)
	go t.readEvents(eventR)
	go t.readLog(logR)
	go func() {
		_, _ = stdinW.Write(input) // a task that does not read its input ends in an error of its own
	}()
	go func() {
		_ = t.cmd.Wait() // the state is what counts
		close(t.exited)
	}()
	// The readers end with their pipes, or are left PipeGrace after the process.
	go func() {
		<-t.exited
		timer := time.AfterFunc(PipeGrace, func() { eventR.Close(); logR.Close() })
		t.readers.Wait()
		timer.Stop()
		eventR.Close()
		logR.Close()
	}()
	return nil
}

// supervise decides when the task is over and why.
func (t *Task) supervise(ctx context.Context) {
	var limit <-chan time.Time
	if t.opts.Limit > 0 {
		timer := time.NewTimer(t.opts.Limit)
		defer timer.Stop()
		limit = timer.C
	}
	var cause error
	select {
	case <-t.exited:
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-limit:
		cause = fmt.Errorf("%w after %s", ErrTimeLimit, t.opts.Limit)
	case cause = <-t.broken:
	}
	if cause != nil {
		t.stop()
	}
	<-t.exited
	t.readers.Wait()
	t.closeInput()
	t.tree.close()
	if cause == nil {
		select {
		case cause = <-t.broken:
		default:
		}
	}
	if cause != nil {
		t.err = fmt.Errorf("task %s: %w", t.opts.Name, cause)
	} else {
		t.err = t.exitError()
	}
	close(t.done)
}

// stop asks the task to end and ends it.
func (t *Task) stop() {
	t.closeInput()
	timer := time.NewTimer(KillGrace)
	defer timer.Stop()
	select {
	case <-t.exited:
	case <-timer.C:
	}
	// Also when it went by itself: what it started and left in its group goes too.
	t.tree.end(KillGrace)
}

func (t *Task) closeInput() {
	t.closer.Do(func() { _ = t.stdin.Close() })
}

func (t *Task) exitError() error {
	state := t.cmd.ProcessState
	if state == nil {
		return &ExitError{Name: t.opts.Name, Code: -1, Signal: "unknown"}
	}
	if state.Success() {
		return nil
	}
	return &ExitError{Name: t.opts.Name, Code: state.ExitCode(), Signal: signalName(state)}
}

// readEvents hands over the events, one JSON value per line.
func (t *Task) readEvents(r io.Reader) {
	defer t.readers.Done()
	lines := bufio.NewReaderSize(r, 16<<10)
	for {
		line, err := readLine(lines, MaxEvent)
		if err == nil {
			err = t.deliver(line)
		} else if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			return // an event that is cut off was not emitted
		}
		if err != nil {
			t.broken <- fmt.Errorf("take event: %w", err)
			_, _ = io.Copy(io.Discard, r) // the task must not block while it is being ended
			return
		}
	}
}

func (t *Task) deliver(line []byte) error {
	if !json.Valid(line) {
		return fault.New(fault.Invalid, "not a JSON value: %.80q", line)
	}
	if t.opts.Event == nil {
		return nil
	}
	return t.opts.Event(line)
}

// readLog passes the task's log on, line by line.
func (t *Task) readLog(r io.Reader) {
	defer t.readers.Done()
	lines := bufio.NewReaderSize(r, maxLogLine)
	within := false // a line that is too long
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 && t.opts.Log != nil && !within {
			if line[len(line)-1] != '\n' {
				line = append(bytes.Clone(line), '\n') // too long, or the last one
			}
			_, _ = t.opts.Log.Write(line) // a log that cannot be written must not stop the task
		}
		within = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// readLine reads one line of at most limit bytes and returns it without its end. The error is io.EOF
// when the input ends before the line does.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit+1 {
			return nil, fault.New(fault.TooLarge, "a line has more than %d bytes", limit)
		}
		if err == nil {
			return line[:len(line)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// PID is the process id.
func (t *Task) PID() int { return t.cmd.Process.Pid }

// Done is closed when the task has ended and all its events were taken.
func (t *Task) Done() <-chan struct{} { return t.done }

// Wait waits for Done. It returns nil after exit code 0, an *ExitError after any other end, ErrTimeLimit,
// the cause of ctx, or the error of Event.
func (t *Task) Wait() error {
	<-t.done
	return t.err
}
