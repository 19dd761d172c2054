package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/muster/muster/packages/atomicfile"
)

// The files of an attempt's folder, in the order in which they come.
const (
	lockName    = "run.lock"     // held as long as the runner lives
	commandFile = "command.json" // the command was begun: it is never begun again
	startedFile = "started"      // the runner was about to start it, and when
	statusFile  = "status.json"  // it ended
	runnerLog   = "runner.log"   // what the runner itself had to say
)

// Run is a runner that this process started.
type Run struct {
	Dir string
	PID int

	done chan struct{} // closed when the runner has ended
}

// StartRunner begins the command of the attempt whose folder is dir, which must exist and belong to
// nobody else. The error is ErrBegun when a command was begun there before, whatever became of it. After
// any other error nothing has run, and StartRunner may be called again.
//
// The locks in hold stay held until the runner has ended, even if this process dies; not so on Windows
// (see Lock).
func StartRunner(dir string, command Command, hold ...*Lock) (*Run, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("start runner: %w", err)
	}
	if err := command.check(); err != nil {
		return nil, fmt.Errorf("start runner: %w", err)
	}
	if command.Dir, err = absolute(command.Dir); err != nil {
		return nil, fmt.Errorf("start runner: %w", err)
	}
	lock, _, err := TryLock(filepath.Join(dir, lockName), "runner")
	if errors.Is(err, ErrHeld) {
		return nil, fmt.Errorf("start runner in %s: %w", dir, ErrBegun)
	}
	if err != nil {
		return nil, fmt.Errorf("start runner: %w", err)
	}
	if begun, err := begun(dir); err != nil || begun {
		if err == nil {
			err = ErrBegun
		}
		return nil, errors.Join(fmt.Errorf("start runner in %s: %w", dir, err), lock.Unlock())
	}
	run, err := begin(dir, command, lock, hold)
	if err != nil {
		return nil, fmt.Errorf("start runner: %w", err)
	}
	return run, nil
}

// check refuses what no system can start, before anything is written.
func (c Command) check() error {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return errors.New("the command is empty")
	}
	for _, text := range append(append([]string{c.Dir}, c.Argv...), c.Env...) {
		if strings.ContainsRune(text, 0) {
			return fmt.Errorf("the command holds a zero byte in %q", text)
		}
	}
	return nil
}

// begun reports whether a command was begun in dir. Only the command file decides, but the later files
// are looked at too: nothing that somebody removed may make a command run twice.
func begun(dir string) (bool, error) {
	for _, name := range []string{commandFile, startedFile, statusFile} {
		_, err := os.Lstat(filepath.Join(dir, name))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// begin writes the command file and starts the runner, which takes over lock. The file comes first: were
// it the other way round, a crash in between would leave a command that runs and that nobody knows of.
func begin(dir string, command Command, lock *Lock, hold []*Lock) (*Run, error) {
	path := filepath.Join(dir, commandFile)
	data, err := json.Marshal(command)
	if err == nil {
		err = atomicfile.Write(path, data, 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	run, err := launch(dir, lock, hold)
	if err != nil {
		// No runner exists, so nothing has run or will.
		return nil, errors.Join(err, os.Remove(path), atomicfile.SyncDir(dir), lock.Unlock())
	}
	return run, lock.Unlock()
}

// launch starts the runner detached from this process.
func launch(dir string, lock *Lock, hold []*Lock) (*Run, error) {
	log, err := os.OpenFile(filepath.Join(dir, runnerLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	cmd, err := self(ArgRunner, dir)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	cmd.Env, cmd.Stderr = environ([]string{runnerMark}), log
	err = errors.Join(startDetached(cmd, lock, hold), log.Close())
	if err != nil {
		return nil, fmt.Errorf("start the runner process: %w", err)
	}
	run := &Run{Dir: dir, PID: cmd.Process.Pid, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how the runner ended is judged by the files it left
		close(run.done)
	}()
	return run, nil
}

// self is a command that starts this very program, even when its file was replaced by an update.
func self(args ...string) (*exec.Cmd, error) {
	path, err := selfPath()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	cmd := exec.Command(path, args...)
	cmd.Args[0] = os.Args[0]
	return cmd, nil
}

// Await waits until the runner has ended and returns the status. When it died without leaving one, the
// error is ErrLost and the status holds what is known.
func (r *Run) Await(ctx context.Context) (*Status, error) {
	select {
	case <-r.done:
		return Await(ctx, r.Dir)
	case <-ctx.Done():
		return nil, fmt.Errorf("await command: %w", context.Cause(ctx))
	}
}

// Await waits until the command of dir has ended, whoever started it, and returns its status. When the
// runner died without leaving one, the error is ErrLost and the status holds what is known. The error is
// ErrNotBegun when there is no command.
func Await(ctx context.Context, dir string) (*Status, error) {
	for interval := pollMin; ; interval = min(interval*5/4, pollMax) {
		phase, status, err := Inspect(dir)
		switch {
		case err != nil:
			return nil, fmt.Errorf("await command: %w", err)
		case phase == RunFinished:
			return status, nil
		case phase == RunLost:
			return status, fmt.Errorf("await command of %s: %w", dir, ErrLost)
		case phase == RunNone:
			return nil, fmt.Errorf("await command of %s: %w", dir, ErrNotBegun)
		}
		if err := pause(ctx, interval); err != nil {
			return nil, fmt.Errorf("await command: %w", err)
		}
	}
}

// Await asks again and again, ever more rarely. Waiting for the lock in the kernel would need no asking,
// but cannot be cancelled and would hold on to a thread for as long as the command runs.
const (
	pollMin = 10 * time.Millisecond
	pollMax = time.Second
)

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Inspect tells how far the command of dir has come. The status is there for RunFinished and RunLost; for
// RunLost it holds what is known, and a zero StartedAt then says that the command surely never started.
func Inspect(dir string) (Phase, *Status, error) {
	if status, ok := readStatus(dir); ok {
		return withOutput(dir, RunFinished, status)
	}
	if begun, err := begun(dir); err != nil || !begun {
		return RunNone, nil, err
	}
	held, err := Held(filepath.Join(dir, lockName))
	if err != nil {
		return RunNone, nil, fmt.Errorf("inspect command: %w", err)
	}
	if held {
		return RunActive, nil, nil
	}
	// Looked at again: the runner may have ended since.
	if status, ok := readStatus(dir); ok {
		return withOutput(dir, RunFinished, status)
	}
	return withOutput(dir, RunLost, &Status{ExitCode: -1, StartedAt: readStarted(dir)})
}

func withOutput(dir string, phase Phase, status *Status) (Phase, *Status, error) {
	output, written, err := readOutput(dir, status.OutputBytes)
	if err != nil {
		return RunNone, nil, fmt.Errorf("inspect command: %w", err)
	}
	status.Output, status.OutputBytes = output, written
	return phase, status, nil
}

// readStatus returns the status if it is there. It is written in one step, so one that cannot be read was
// damaged later; then nobody can tell how the command ended, which is what no status means.
func readStatus(dir string) (*Status, bool) {
	data, err := readBounded(filepath.Join(dir, statusFile), 64<<10)
	if err != nil {
		return nil, false
	}
	var status Status
	if err := json.Unmarshal(data, &status); err != nil {
		return nil, false
	}
	return &status, true
}

func readStarted(dir string) time.Time {
	data, err := readBounded(filepath.Join(dir, startedFile), 64)
	if err != nil {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(data)))
	if err != nil {
		// The file is there, so the command may have started; its content came too late for the disk.
		if info, statErr := os.Stat(filepath.Join(dir, startedFile)); statErr == nil {
			return info.ModTime().UTC()
		}
	}
	return at
}
