package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
)

// logBook collects a task's log, one entry per Write.
type logBook struct {
	mu    sync.Mutex
	lines []string
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func input(t *testing.T, in testInput) []byte {
	t.Helper()
	data, err := json.MarshalIndent(in, "", "  ") // of several lines
	require.NoError(t, err)
	return data
}

// startTask starts a test task; its events come out of the channel.
func startTask(t *testing.T, ctx context.Context, opts TaskOptions) (*Task, chan json.RawMessage) {
	t.Helper()
	events := make(chan json.RawMessage, 100)
	opts.Event = func(event json.RawMessage) error {
		events <- event
		return nil
	}
	opts.Env = append(opts.Env, endAtOnce)
	task, err := StartTask(ctx, opts)
	require.NoError(t, err)
	return task, events
}

func decode[T any](t *testing.T, events chan json.RawMessage) T {
	t.Helper()
	var v T
	select {
	case event := <-events:
		require.NoError(t, json.Unmarshal(event, &v))
	case <-time.After(time.Minute):
		require.Fail(t, "no event came")
	}
	return v
}

func TestTask_inputEventsAndLog(t *testing.T) {
	t.Parallel()
	log := &logBook{}
	task, events := startTask(t, context.Background(), TaskOptions{
		Name: "echo", Input: input(t, testInput{Text: "a\nb", Count: 50}), Log: log,
	})
	require.NoError(t, task.Wait())
	require.Len(t, events, 50, "Wait returns after the last event")
	for i := range 50 {
		require.Equal(t, fmt.Sprintf("a\nb %d", i), decode[string](t, events))
	}
	require.Equal(t, "a line for the log\n", log.lines[0])
	require.Equal(t, strings.Repeat("x", maxLogLine)+"\n", log.lines[1], "a line that is too long is cut off")
	require.Len(t, log.lines, 2)
}

func TestTask_failures(t *testing.T) {
	t.Parallel()
	boom := errors.New("cannot take it")
	cases := map[string]struct {
		opts  TaskOptions
		check func(t *testing.T, err error)
	}{
		"fails": {TaskOptions{Name: "fail", Input: []byte(`{}`)}, func(t *testing.T, err error) {
			var exit *ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 1, exit.Code)
		}},
		"unknown": {TaskOptions{Name: "nonsense", Input: []byte(`{}`)}, func(t *testing.T, err error) {
			require.ErrorContains(t, err, "task nonsense ended with exit code 1")
		}},
		"event that is no JSON": {
			TaskOptions{Name: "garbage", Input: []byte(`{"text":"not json\n"}`)},
			func(t *testing.T, err error) { require.True(t, fault.Is(err, fault.Invalid), err) },
		},
		"event without an end": {
			TaskOptions{Name: "garbage", Input: []byte(`{"text":"\"cut off"}`)},
			func(t *testing.T, err error) { require.NoError(t, err) },
		},
		"event that is too long": {
			TaskOptions{Name: "garbage", Input: fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", 2*MaxEvent))},
			func(t *testing.T, err error) { require.True(t, fault.Is(err, fault.TooLarge), err) },
		},
		"emitting what is too long": {
			TaskOptions{Name: "long", Input: fmt.Appendf(nil, `{"count":%d}`, MaxEvent)},
			func(t *testing.T, err error) { require.ErrorContains(t, err, "exit code 1") },
		},
		"event refused": {
			TaskOptions{Name: "echo", Input: []byte(`{"count":1000}`), Event: func(json.RawMessage) error { return boom }},
			func(t *testing.T, err error) { require.ErrorIs(t, err, boom) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			task, err := StartTask(context.Background(), tc.opts)
			require.NoError(t, err)
			tc.check(t, task.Wait())
		})
	}
	_, err := StartTask(context.Background(), TaskOptions{Name: "echo", Input: []byte(`{"a":`)})
	require.ErrorContains(t, err, "encode input")
	_, err = StartTask(context.Background(), TaskOptions{Name: "echo", Input: make([]byte, MaxTaskInput+1)})
	require.True(t, fault.Is(err, fault.TooLarge))
}

func TestTask_endsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancelCause(context.Background())
	task, events := startTask(t, ctx, TaskOptions{Name: "wait", Input: input(t, testInput{Dir: dir})})
	require.Equal(t, task.PID(), decode[int](t, events))
	cause := errors.New("the agent stops")
	cancel(cause)
	require.ErrorIs(t, task.Wait(), cause)
	data, err := os.ReadFile(filepath.Join(dir, "ended"))
	require.NoError(t, err, "the task could clean up")
	require.Equal(t, errStarterGone.Error(), string(data))
}

func TestTask_limitEndsTheWholeTree(t *testing.T) {
	t.Parallel()
	task, events := startTask(t, context.Background(), TaskOptions{
		Name: "stubborn", Input: input(t, testInput{}), Limit: 500 * time.Millisecond,
	})
	pids := decode[[]int](t, events)
	err := task.Wait()
	require.ErrorIs(t, err, ErrTimeLimit)
	require.ErrorContains(t, err, "after 500ms")
	for _, pid := range pids {
		requireGone(t, pid)
	}
}

func TestTask_runnerOutlivesTheEndOfItsTask(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	task, events := startTask(t, ctx, TaskOptions{Name: "runner", Input: input(t, testInput{
		Dir: dir, Command: []string{"/bin/sh", "-c", "while [ ! -e " + dir + "/go ]; do sleep 0.05; done; echo done"},
	})})
	runner := decode[int](t, events)
	cancel()
	require.ErrorIs(t, task.Wait(), context.Canceled)
	requireGone(t, task.PID())
	require.True(t, living(runner))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), nil, 0o600))
	status, err := Await(within(t, 20*time.Second), dir)
	require.NoError(t, err)
	require.Equal(t, "done\n", status.Output)
}

// TestTask_endsWhenItsStarterIsKilled starts a task from a process that is then killed: this test binary
// plays the resident by way of the shell, which holds the other end of the task's standard input.
func TestTask_endsWhenItsStarterIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	resident := exec.Command("/proc/self/exe", "start-task", dir)
	out, err := resident.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, resident.Start())
	var pid int
	_, err = fmt.Fscan(out, &pid)
	require.NoError(t, err)
	require.True(t, living(pid))
	require.NoError(t, resident.Process.Kill())
	_ = resident.Wait()
	requireGone(t, pid)
	data, err := os.ReadFile(filepath.Join(dir, "ended"))
	require.NoError(t, err)
	require.Contains(t, string(data), "has gone")
}

func TestTask_hasACleanEnvironment(t *testing.T) {
	t.Setenv("MUSTER_SECRET", "hunter2")
	task, events := startTask(t, context.Background(), TaskOptions{Name: "environment", Input: []byte(`{}`), Env: []string{"GIVEN=1"}})
	require.NoError(t, task.Wait())
	got := decode[[]string](t, events)
	require.NotContains(t, strings.Join(got, "\n"), "hunter2")
	require.Contains(t, got, "GIVEN=1")
}

func TestChildMain_refusesWithoutAStarter(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("/proc/self/exe", ArgTask, "echo").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, exitUsage, exit.ExitCode(), "%s", out)
}

func TestOutput(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	out, exit, err := Output(ctx, []string{"/bin/sh", "-c", "echo out; echo err >&2; exit 3"}, "", nil, 0)
	require.NoError(t, err)
	require.Equal(t, 3, exit)
	require.Equal(t, "out\n", string(out))
	dir := t.TempDir()
	out, _, err = Output(ctx, []string{"sh", "-c", "pwd; echo $A; cat"}, dir, []string{"A=1"}, 0)
	require.NoError(t, err)
	require.Equal(t, dir+"\n1\n", string(out))

	_, exit, err = Output(ctx, []string{"no-such-name"}, "", nil, 0)
	require.ErrorContains(t, err, "not found")
	require.Equal(t, -1, exit)
	_, _, err = Output(ctx, nil, "", nil, 0)
	require.ErrorContains(t, err, "empty")
	_, _, err = Output(ctx, []string{"/bin/sh", "-c", "kill -9 $$"}, "", nil, 0)
	require.ErrorContains(t, err, "killed")
	_, _, err = Output(ctx, []string{"yes"}, "", nil, 0)
	require.True(t, fault.Is(err, fault.TooLarge), err)
}

func TestOutput_limitEndsTheWholeTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := "setsid sleep 300 & echo $! > child; echo so far; wait"
	out, exit, err := Output(context.Background(), []string{"/bin/sh", "-c", script}, dir, nil, 300*time.Millisecond)
	require.ErrorIs(t, err, ErrTimeLimit)
	require.Equal(t, -1, exit)
	require.Equal(t, "so far\n", string(out))
	requireGone(t, pidFrom(t, filepath.Join(dir, "child")))

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err = Output(ctx, []string{"sleep", "300"}, "", nil, 0)
	require.ErrorIs(t, err, context.Canceled)
}

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	lock, holder, err := TryLock(path, "change")
	require.NoError(t, err)
	require.Empty(t, holder)
	_, holder, err = TryLock(path, "another")
	require.ErrorIs(t, err, ErrHeld)
	require.Contains(t, holder, fmt.Sprintf("process %d, change, since ", os.Getpid()))
	require.ErrorContains(t, err, holder)
	require.NoError(t, lock.Unlock())
	// A child that another test is just starting has the file open until it becomes another program.
	lock, _, err = AwaitLock(context.Background(), path, "another", time.Minute)
	require.NoError(t, err)
	require.NoError(t, lock.Unlock())
	_, _, err = TryLock(filepath.Join(t.TempDir(), "missing", "lock"), "x")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestLock_unlockMayBeRepeated(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	lock, _, err := TryLock(path, "test")
	require.NoError(t, err)
	held, err := Held(path)
	require.NoError(t, err)
	require.True(t, held)
	require.NoError(t, lock.Unlock())
	require.NoError(t, lock.Unlock())
	require.Eventually(t, func() bool { // see TestLock
		held, err := Held(path)
		return err == nil && !held
	}, time.Minute, 10*time.Millisecond)
}

// An agent must start on a full disk, and nobody may take whoever held the lock before for the holder.
func TestLock_onAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, _, err := TryLock(filepath.Join(dir, "lock"), "somebody before")
	require.NoError(t, err)
	require.NoError(t, lock.Unlock())
	out, err := exec.Command("/proc/self/exe", "lock-full", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	data, err := os.ReadFile(filepath.Join(dir, "lock"))
	require.NoError(t, err)
	require.Empty(t, data)
}

// lockOnAFullDisk takes a lock where no file may grow.
func lockOnAFullDisk(dir string) int {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 10, Max: 10}); err != nil {
		fmt.Println(err)
		return 1
	}
	lock, _, err := TryLock(filepath.Join(dir, "lock"), "test")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = lock.Unlock() }()
	if pid, err := Holder(filepath.Join(dir, "lock")); pid != 0 || err != nil {
		fmt.Println("held by", pid, err)
		return 1
	}
	return 0
}

func TestLock_holderThatCannotBeRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	lock, _, err := TryLock(path, "x")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("garbage"), 0o600))
	_, holder, err := TryLock(path, "y")
	require.ErrorIs(t, err, ErrHeld)
	require.Equal(t, "another process", holder)
	require.NoError(t, lock.Unlock())
}

func FuzzParseStat(f *testing.F) {
	data, err := os.ReadFile("/proc/self/stat")
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte("1 (a) b) c) S 2 3 4"))
	f.Fuzz(func(t *testing.T, data []byte) { parseStat(data) })
}

func TestParseStat_oddNames(t *testing.T) {
	t.Parallel()
	rest := " S 7 8 8 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0"
	for _, name := range []string{"a", "a b", ") S 1 1", "(", "))"} {
		p, ok := parseStat([]byte("42 (" + name + ")" + rest))
		require.True(t, ok, name)
		require.Equal(t, process{identity: identity{42, 12345}, parent: 7, group: 8}, p)
	}
}

func TestEndChildren_sparesOthers(t *testing.T) {
	t.Parallel()
	other := exec.Command("sleep", "300")
	require.NoError(t, other.Start())
	defer func() { _ = other.Process.Signal(syscall.SIGKILL); _ = other.Wait() }()
	_, _, err := Output(context.Background(), []string{"sleep", "300"}, "", nil, 100*time.Millisecond)
	require.ErrorIs(t, err, ErrTimeLimit)
	require.True(t, living(other.Process.Pid), "only the command's own tree is ended")
}
