package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func shell(script string) Command { return Command{Argv: []string{"/bin/sh", "-c", script}} }

func within(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// runCommand carries out a command to its end.
func runCommand(t *testing.T, command Command) (*Status, string) {
	t.Helper()
	dir := t.TempDir()
	run, err := StartRunner(dir, command)
	require.NoError(t, err)
	status, err := run.Await(within(t, time.Minute))
	require.NoError(t, err)
	phase, again, err := Inspect(dir)
	require.NoError(t, err)
	require.Equal(t, RunFinished, phase)
	require.Equal(t, status, again, "the same status is found again later")
	return status, dir
}

// living reports whether a process exists and is no zombie.
func living(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	p, ok := parseStat(data)
	return ok && !p.zombie
}

func requireGone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool { return !living(pid) }, time.Minute, 10*time.Millisecond, "process %d lives", pid)
}

// pidFrom waits for a file that holds a process id.
func pidFrom(t *testing.T, path string) int {
	t.Helper()
	var pid int
	require.Eventually(t, func() bool {
		data, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
		return err == nil
	}, time.Minute, 10*time.Millisecond, "no process id in %s", path)
	return pid
}

func killAtEnd(t *testing.T, pid int) {
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
}

func TestRunner_endings(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "setup.sh")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\necho from script \"$1\"\n"), 0o700))
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, os.WriteFile(plain, []byte("text"), 0o600))
	folder := t.TempDir()
	cases := map[string]struct {
		command    Command
		exit       int
		signal     string
		output     string
		startError string
	}{
		"success":            {command: shell("echo out; echo err >&2"), output: "out\nerr\n"},
		"exit code":          {command: shell("exit 42"), exit: 42},
		"reboot exit code":   {command: shell("exit 194"), exit: 194},
		"signal":             {command: shell("kill -SEGV $$"), exit: -1, signal: "segmentation fault"},
		"killed":             {command: shell("kill -9 $$"), exit: -1, signal: "killed"},
		"by name":            {command: Command{Argv: []string{"echo", "hi"}}, output: "hi\n"},
		"relative to folder": {command: Command{Argv: []string{"./setup.sh", "a b;$(id)"}, Dir: filepath.Dir(script)}, output: "from script a b;$(id)\n"},
		"folder":             {command: Command{Argv: []string{"pwd"}, Dir: folder}, output: folder + "\n"},
		"no such program":    {command: Command{Argv: []string{"/no/such/program"}}, exit: -1, startError: "no such file"},
		"no such name":       {command: Command{Argv: []string{"no-such-name"}}, exit: -1, startError: "not found in /usr"},
		"not executable":     {command: Command{Argv: []string{plain}}, exit: -1, startError: "permission denied"},
		"no such folder":     {command: Command{Argv: []string{"true"}, Dir: "/no/such/folder"}, exit: -1, startError: "no such file"},
		"stdin is empty":     {command: Command{Argv: []string{"cat"}}},
		"invalid utf-8":      {command: shell(`printf 'a\377\376b\n'`), output: "a\uFFFDb\n"},
		"umask":              {command: shell("umask"), output: "0022\n"},
		"added environment":  {command: Command{Argv: []string{"/bin/sh", "-c", "echo $A $LANG"}, Env: []string{"A=1", "LANG=x"}}, output: "1 x\n"},
		"own session": {
			command: shell(`ps -o sid= -p $PPID | tr -d ' ' > s; [ "$(cat s)" = "$PPID" ] && echo leader`), output: "leader\n",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.command.Dir == "" {
				tc.command.Dir = t.TempDir()
			}
			status, _ := runCommand(t, tc.command)
			require.Equal(t, tc.exit, status.ExitCode)
			require.Equal(t, tc.signal, status.Signal)
			require.Equal(t, tc.output, status.Output)
			require.False(t, status.TimedOut)
			require.False(t, status.EndedAt.Before(status.StartedAt))
			if tc.startError == "" {
				require.Empty(t, status.StartError)
			} else {
				require.Contains(t, status.StartError, tc.startError)
			}
		})
	}
}

func TestRunner_leaksNothingToTheCommand(t *testing.T) {
	t.Setenv("MUSTER_SECRET", "hunter2")
	extra, err := os.Open("/dev/null")
	require.NoError(t, err)
	defer extra.Close()
	// As if whatever started the agent had left a descriptor open.
	_, err = unix.FcntlInt(extra.Fd(), unix.F_SETFD, 0)
	require.NoError(t, err)
	status, _ := runCommand(t, shell("env; echo --; ls -l /proc/self/fd"))
	env, fds, _ := strings.Cut(status.Output, "--\n")
	require.NotContains(t, env, "hunter2")
	require.NotContains(t, env, "MUSTER")
	require.Contains(t, env, "PATH=/usr/local/sbin:")
	require.Contains(t, env, "HOME=")
	require.Contains(t, env, "LANG=C.UTF-8")
	require.NotContains(t, fds, lockName)
	require.Contains(t, fds, "0 -> /dev/null")
	require.Equal(t, 1, strings.Count(fds, "/dev/null"), fds)
}

func TestRunner_reapsOrphans(t *testing.T) {
	t.Parallel()
	status, _ := runCommand(t, shell(`for i in 1 2 3 4 5; do (sleep 0 &); done; sleep 1; ps --ppid $PPID -o stat= | grep -c Z`))
	require.Equal(t, "0\n", status.Output)
}

func TestRunner_outlivesItsStarter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	starter := exec.Command("/proc/self/exe", "start-runner", dir)
	starter.Env = append(os.Environ(), "TEST_COMMAND=echo $$ > "+dir+"/pid; while [ ! -e "+dir+"/go ]; do sleep 0.05; done; echo done")
	starter.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := starter.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, starter.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "started\n", line)
	require.NoError(t, syscall.Kill(-starter.Process.Pid, syscall.SIGKILL)) // its whole group
	_ = starter.Wait()
	killAtEnd(t, pidFrom(t, filepath.Join(dir, "pid")))

	phase, status, err := Inspect(dir)
	require.NoError(t, err)
	require.Equal(t, RunActive, phase)
	require.Nil(t, status)
	_, err = StartRunner(dir, shell("echo again"))
	require.ErrorIs(t, err, ErrBegun)
	_, holder, err := TryLock(dir+"/change.lock", "another")
	require.ErrorIs(t, err, ErrHeld, "the runner still holds the lock of its starter")
	require.Contains(t, holder, "process "+strconv.Itoa(starter.Process.Pid)+", test, since ")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), nil, 0o600))
	status, err = Await(within(t, 20*time.Second), dir)
	require.NoError(t, err)
	require.Equal(t, "done\n", status.Output)
	_, err = StartRunner(dir, shell("echo again"))
	require.ErrorIs(t, err, ErrBegun)
	require.Eventually(t, func() bool {
		lock, _, err := TryLock(dir+"/change.lock", "another")
		return err == nil && lock.Unlock() == nil
	}, time.Minute, 10*time.Millisecond, "the lock is free when the runner has ended")
}

func TestRunner_killedRunnerIsLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run, err := StartRunner(dir, Command{Argv: []string{"/bin/sh", "-c", "echo so far; echo $$ > pid; exec sleep 300"}, Dir: dir})
	require.NoError(t, err)
	command := pidFrom(t, filepath.Join(dir, "pid"))
	killAtEnd(t, command)
	require.Eventually(t, func() bool { // the line is in the file as soon as the runner has read it
		data, err := os.ReadFile(filepath.Join(dir, outputFile))
		return err == nil && len(data) > 0
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, syscall.Kill(run.PID, syscall.SIGKILL))

	status, err := run.Await(within(t, 20*time.Second))
	require.ErrorIs(t, err, ErrLost)
	require.Equal(t, "so far\n", status.Output)
	require.WithinDuration(t, time.Now(), status.StartedAt, time.Minute)
	_, err = Await(within(t, 20*time.Second), dir)
	require.ErrorIs(t, err, ErrLost)
	require.True(t, living(command), "nobody knows what it is doing; it is left alone")
	_, err = StartRunner(dir, shell("echo again"))
	require.ErrorIs(t, err, ErrBegun, "a lost command is not begun again")
}

func TestRunner_survivesSignals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run, err := StartRunner(dir, Command{Argv: []string{"/bin/sh", "-c", "echo $$ > pid; while [ ! -e go ]; do sleep 0.05; done"}, Dir: dir})
	require.NoError(t, err)
	pidFrom(t, filepath.Join(dir, "pid"))
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		require.NoError(t, syscall.Kill(run.PID, sig))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), nil, 0o600))
	status, err := run.Await(within(t, 20*time.Second))
	require.NoError(t, err)
	require.Equal(t, 0, status.ExitCode)
}

func TestRunner_refusesWithoutTheLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, err := json.Marshal(shell("touch " + dir + "/ran"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, commandFile), data, 0o600))
	out, err := exec.Command("/proc/self/exe", ArgRunner, dir).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "lock")
	_, err = os.Stat(filepath.Join(dir, "ran"))
	require.ErrorIs(t, err, os.ErrNotExist)
	phase, status, err := Inspect(dir)
	require.NoError(t, err)
	require.Equal(t, RunLost, phase)
	require.Zero(t, status.StartedAt, "it surely never started")
}

func TestStartRunner_refuses(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]Command{
		"empty": {}, "empty name": {Argv: []string{""}}, "zero byte": {Argv: []string{"echo", "a\x00b"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := StartRunner(dir, command)
			require.Error(t, err)
			phase, _, err := Inspect(dir)
			require.NoError(t, err)
			require.Equal(t, RunNone, phase)
		})
	}
	_, err := StartRunner(filepath.Join(t.TempDir(), "missing"), shell("true"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestStartRunner_onceAmongMany(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	results := make(chan error, 10)
	for range cap(results) {
		go func() {
			_, err := StartRunner(dir, Command{Argv: []string{"/bin/sh", "-c", "echo ran >> ran"}, Dir: dir})
			results <- err
		}()
	}
	begun := 0
	for range cap(results) {
		if err := <-results; err == nil {
			begun++
		} else {
			require.ErrorIs(t, err, ErrBegun)
		}
	}
	require.Equal(t, 1, begun)
	_, err := Await(within(t, 20*time.Second), dir)
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(dir, "ran"))
	require.NoError(t, err)
	require.Equal(t, "ran\n", string(data))
}

func TestAwait_endsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run, err := StartRunner(dir, Command{Argv: []string{"/bin/sh", "-c", "echo $$ > pid; exec sleep 300"}, Dir: dir})
	require.NoError(t, err)
	killAtEnd(t, run.PID)
	killAtEnd(t, pidFrom(t, filepath.Join(dir, "pid")))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Await(ctx, dir)
	require.ErrorIs(t, err, context.Canceled)
	_, err = run.Await(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = Await(context.Background(), t.TempDir())
	require.ErrorIs(t, err, ErrNotBegun)
}

func TestInspect_damagedStatusIsLost(t *testing.T) {
	t.Parallel()
	_, dir := runCommand(t, shell("echo hi"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, statusFile), []byte(`{"exit_code":`), 0o600))
	phase, status, err := Inspect(dir)
	require.NoError(t, err)
	require.Equal(t, RunLost, phase)
	require.Equal(t, "hi\n", status.Output)
}
