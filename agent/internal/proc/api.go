package proc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"
)

var errNotBuilt = errors.New("being written")

// Run is a runner that this process started.
type Run struct {
	Dir string
	PID int
}

// StartRunner begins the command of the attempt whose folder is dir (it must exist). ErrBegun when a command was begun there before.
// The locks in hold stay held until the runner has ended, even if this process dies.
func StartRunner(dir string, cmd Command, hold ...*Lock) (*Run, error) { return nil, errNotBuilt }

// Await waits until the runner ended and returns the status; ErrLost with the partial status when it died.
func (r *Run) Await(ctx context.Context) (*Status, error) { return nil, errNotBuilt }

// Inspect tells how far the command of dir has come.
func Inspect(dir string) (Phase, *Status, error) { return RunNone, nil, errNotBuilt }

// Await waits for the command of dir, whoever started it: status, or ErrLost (with what is known), or ErrNotBegun.
func Await(ctx context.Context, dir string) (*Status, error) { return nil, errNotBuilt }

// RunnerMain is `runner DIR`.
func RunnerMain(dir string, stderr io.Writer) int { return 1 }

// TaskOptions describes a task process.
type TaskOptions struct {
	Name  string
	Input []byte        // JSON
	Limit time.Duration // 0: none
	Env   []string      // added to the small base environment
	Log   io.Writer     // gets the task's standard error, one line per Write; may be nil
	// Event is called for every event, in order, from one goroutine; the bytes are the callee's. An error ends the task.
	Event func(event json.RawMessage) error
}

// Task is a running task process.
type Task struct{}

// StartTask starts `self task NAME`; cancelling ctx ends it.
func StartTask(ctx context.Context, opts TaskOptions) (*Task, error) { return nil, errNotBuilt }

// PID is the process id.
func (t *Task) PID() int { return 0 }

// Done is closed when the task has ended and all its events were delivered.
func (t *Task) Done() <-chan struct{} { return nil }

// Wait waits for Done: nil after exit code 0, else an *ExitError, ErrTimeLimit, the error of ctx or of Event.
func (t *Task) Wait() error { return errNotBuilt }

// ExitError says how a task ended that did not end well.
type ExitError struct {
	Code   int
	Signal string
}

// Error describes the end.
func (e *ExitError) Error() string { return "" }

// ChildMain is `task NAME` in the child.
func ChildMain(run func(ctx context.Context, input []byte, emit func(v any) error) error) int {
	return 1
}

// Output runs a short command: its standard output, its exit code. A non-zero exit code is no error.
func Output(ctx context.Context, argv []string, dir string, env []string, limit time.Duration) ([]byte, int, error) {
	return nil, -1, errNotBuilt
}

// Lock is a held lock.
type Lock struct{}

// TryLock takes the lock at path, or returns ErrHeld and who holds it.
func TryLock(path, owner string) (lock *Lock, holder string, err error) { return nil, "", errNotBuilt }

// Unlock gives the lock back, except as far as a runner still holds it.
func (l *Lock) Unlock() error { return errNotBuilt }
