package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/muster/muster/packages/atomicfile"
)

// syncInterval is how much output a power cut may cost.
const syncInterval = time.Second

// runner is the state of `runner DIR`.
type runner struct {
	dir     string
	lock    *Lock
	command Command
	output  *recorder
	tree    *tree
}

// RunnerMain is the whole of `runner DIR`, which StartRunner starts and nobody else: it carries out the
// command of dir and writes how it ended. Its return value is the exit code of the process; it is not 0
// when no status could be written. stderr is for faults of the runner itself.
func RunnerMain(dir string, stderr io.Writer) int {
	if err := runnerMain(dir); err != nil {
		fmt.Fprintf(stderr, "runner: %v\n", err)
		return 1
	}
	return 0
}

func runnerMain(dir string) (err error) {
	lock, err := adoptLock(dir)
	if err != nil {
		return fmt.Errorf("take over lock: %w", err)
	}
	// Not only for tidiness: the lock must not be collected while the command runs.
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := prepareRunner(); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	ignoreSignals()
	r := &runner{dir: dir, lock: lock}
	if err := r.load(); err != nil {
		return fmt.Errorf("read command: %w", err)
	}
	if r.output, err = newRecorder(dir); err != nil {
		return fmt.Errorf("make output file: %w", err)
	}
	if err := r.markStarted(); err != nil {
		return fmt.Errorf("mark the command as started: %w", err)
	}
	status := r.run()
	return r.record(status)
}

// ignoreSignals lets the runner outlive what ends its task or the machine's services: during a shutdown
// it has until the final kill to write down how the command ended. Caught rather than ignored, because a
// child inherits ignored signals.
func ignoreSignals() {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
}

func (r *runner) load() error {
	data, err := os.ReadFile(filepath.Join(r.dir, commandFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &r.command); err != nil {
		return err
	}
	if r.command.TimeLimit <= 0 {
		r.command.TimeLimit = DefaultTimeLimit
	}
	return r.command.check()
}

// markStarted says on the disk that the command may have started. It fails when it was said before.
func (r *runner) markStarted() error {
	file, err := os.OpenFile(filepath.Join(r.dir, startedFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, time.Now().UTC().Format(time.RFC3339Nano))
	return errors.Join(err, file.Sync(), file.Close(), atomicfile.SyncDir(r.dir))
}

// run starts the command and stays with it until it has ended.
func (r *runner) run() *Status {
	status := &Status{ExitCode: -1, StartedAt: time.Now().UTC()}
	reader, writer, err := os.Pipe()
	if err != nil {
		status.StartError = err.Error()
		return status
	}
	cmd, err := r.start(writer)
	writer.Close()
	if err != nil {
		reader.Close()
		status.StartError = err.Error()
		status.EndedAt = time.Now().UTC()
		return status
	}
	copied := make(chan struct{})
	go func() {
		_, _ = io.Copy(r.output, reader) // ends at the end of the pipe or when it is closed below
		close(copied)
	}()
	stop := r.syncOutput()
	r.await(cmd, status)
	status.EndedAt = time.Now().UTC()
	select {
	case <-copied:
	case <-time.After(PipeGrace):
		// A service that the command started writes to our pipe. It is not ours to end, nor to wait for.
		status.OutputHeld = true
	}
	reader.Close()
	<-copied
	stop()
	r.tree.close()
	return status
}

func (r *runner) start(output *os.File) (*exec.Cmd, error) {
	env := environ(r.command.Env)
	path, err := lookPath(r.command.Argv[0], r.command.Dir, env)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: path, Args: r.command.Argv, Dir: r.command.Dir, Env: env,
		Stdout: output, Stderr: output, // Stdin stays nil: the null device
	}
	r.tree, err = startTree(cmd, treeOptions{runner: true, priority: normal})
	return cmd, err
}

// await waits for the command's own process and ends the whole tree at the time limit.
func (r *runner) await(cmd *exec.Cmd, status *Status) {
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	limit := time.NewTimer(r.command.TimeLimit)
	defer limit.Stop()
	var err error
	select {
	case err = <-exited:
	case <-limit.C:
		select {
		case err = <-exited: // both at once: it did end in time
		default:
			status.TimedOut = true
			r.tree.end(KillGrace)
			select {
			case err = <-exited:
			case <-time.After(KillGrace):
				// Not even SIGKILL ends a process that hangs in the kernel.
				status.Signal = "cannot be killed"
				return
			}
		}
	}
	if err != nil && cmd.ProcessState == nil {
		status.Signal = err.Error() // the process could not be waited for
		return
	}
	status.ExitCode, status.Signal = cmd.ProcessState.ExitCode(), signalName(cmd.ProcessState)
}

// syncOutput puts the output on the disk every now and then, until the returned function is called.
func (r *runner) syncOutput() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(syncInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				r.output.Sync()
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

// record writes the output and then the status, which says that everything else is there.
func (r *runner) record(status *Status) error {
	var outputErr error
	status.OutputBytes, outputErr = r.output.Close()
	data, err := json.Marshal(status)
	if err == nil {
		err = atomicfile.Write(filepath.Join(r.dir, statusFile), data, 0o600)
	}
	if err != nil {
		err = fmt.Errorf("write status: %w", err)
	}
	if outputErr != nil {
		outputErr = fmt.Errorf("write output: %w", outputErr)
	}
	return errors.Join(err, outputErr)
}

// signalName names the signal that ended a process, and is empty when none did.
func signalName(state *os.ProcessState) string {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal().String()
	}
	return ""
}
