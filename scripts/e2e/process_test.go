package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds every wait; a state that is not there by then is a failure.
const patience = 60 * time.Second

// await polls until ok, and fails with the last account of what was seen instead.
func await(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	awaitFor(t, patience, what, ok)
}

func awaitFor(t *testing.T, limit time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	awaitEvery(t, 50*time.Millisecond, limit, what, ok)
}

func awaitEvery(t *testing.T, every, limit time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, seen := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			require.FailNow(t, "waited in vain for "+what, "last seen: %s", seen)
		}
	}
}

// untilFile is shell code that waits for a file, or for the end of the test that was to make it: a command outlives
// its agent, and must not outlive a test that fails.
func untilFile(path string) string {
	return fmt.Sprintf("while [ -d '%s' ] && [ ! -e '%s' ]; do sleep 0.05; done", filepath.Dir(path), path)
}

// process is a program that was started and stays until it is stopped.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // file of its output
	done chan struct{}
	err  error // after done
}

// start starts one of our programs; its log is shown when the test fails.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command(program(name), args...))
}

func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	name := filepath.Base(cmd.Path)
	file, err := os.CreateTemp(t.TempDir(), name+"-*.log")
	require.NoError(t, err)
	p := &process{name: name, cmd: cmd, log: file.Name(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = file, file
	require.NoError(t, p.cmd.Start())
	file.Close()
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", strings.Join(cmd.Args, " "), tail(p.output(), 8<<10))
		}
	})
	return p
}

func (p *process) output() string {
	b, _ := os.ReadFile(p.log)
	return string(b)
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop asks the program to end, as a service manager does, and wants a clean exit.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if !p.running() {
		return
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
		require.NoError(t, p.err, "%s did not end cleanly", p.name)
	case <-time.After(patience):
		require.FailNow(t, p.name+" does not stop")
	}
}

// end asks the program to end and does not wait for ever.
func (p *process) end() {
	if !p.running() {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.kill()
	}
}

// kill ends the program without asking.
func (p *process) kill() {
	if p.running() {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// result is what a finished command did.
type result struct {
	stdout, stderr string
	code           int
}

// command runs a program to its end.
func command(t *testing.T, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !strings.Contains(name, "/") {
		name = program(name)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "%s %v did not end in time\n%s%s", name, args, &stdout, &stderr)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// succeed is a command that must exit 0.
func succeed(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	r := command(t, env, name, args...)
	require.Zero(t, r.code, "%s %v\n%s%s", name, args, r.stdout, r.stderr)
	return r.stdout
}

// freePort is a port of 127.0.0.1 that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
