package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// given is what the kernel says of one thread.
type given struct {
	policy uint32
	nice   int32
	ioprio uintptr
}

var (
	givenNormal = given{policy: schedNormal}
	givenIdle   = given{policy: unix.SCHED_IDLE, ioprio: ioprioIdle}
	// givenIdleIO is for a task whose runners could not become normal again.
	givenIdleIO = given{policy: schedNormal, ioprio: ioprioIdle}
)

// requireGiven looks at every thread of a process.
func requireGiven(t *testing.T, want given, pid int) {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	require.NoError(t, err)
	looked := 0
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		require.NoError(t, err)
		attr, err := unix.SchedGetAttr(tid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue // it has ended since
		}
		require.NoError(t, err)
		ioprio, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioProcess, uintptr(tid), 0)
		if errno == unix.ESRCH {
			continue
		}
		require.Zero(t, errno)
		require.Equal(t, want, given{attr.Policy, attr.Nice, ioprio}, "thread %d of process %d", tid, pid)
		looked++
	}
	require.Positive(t, looked)
}

// commandOf is the process of a runner's command.
func commandOf(t *testing.T, runner int) (pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		all := processes()
		n := slices.IndexFunc(all, func(p process) bool { return p.parent == runner })
		if n >= 0 {
			pid = all[n].pid
		}
		return n >= 0
	}, time.Minute, 10*time.Millisecond)
	return pid
}

const untilTold = "while [ ! -e go ]; do sleep 0.05; done"

// A task gets of the computer what nobody else wants; the command that it starts gets what every other program
// gets, for an installer may start services.
func TestTask_isIdleAndItsCommandIsNot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("TestTask_isIdleAsFarAsAnOrdinaryUserMay is for this user")
	}
	for _, starts := range []bool{false, true} {
		task, events := startTask(t, context.Background(), TaskOptions{
			Name: "wait", Input: input(t, testInput{Dir: t.TempDir()}), StartsRunners: starts,
		})
		requireGiven(t, givenIdle, decode[int](t, events))
		task.closeInput()
		require.NoError(t, task.Wait())
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	task, events := startTask(t, ctx, TaskOptions{Name: "runner", StartsRunners: true, Input: input(t, testInput{
		Dir: dir, Command: []string{"/bin/sh", "-c", "cd " + dir + "; " + untilTold},
	})})
	runner := decode[int](t, events)
	requireGiven(t, givenNormal, runner)
	requireGiven(t, givenNormal, commandOf(t, runner))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), nil, 0o600))
	_, err := Await(within(t, time.Minute), dir)
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, task.Wait(), context.Canceled)
}

// An ordinary user's idle process stays idle, with all that it starts. So there a task that starts commands is
// not made idle, and the others are.
func TestTask_isIdleAsFarAsAnOrdinaryUserMay(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "muster-user-") // t.TempDir is within a folder of this user's own
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	resident := exec.Command("/proc/self/exe", "start-tasks", dir)
	resident.Dir = dir
	if os.Geteuid() == 0 {
		const nobody = 65534
		require.NoError(t, os.Chown(dir, nobody, nobody))
		resident.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	resident.Stderr = os.Stderr
	stdin, err := resident.StdinPipe()
	require.NoError(t, err)
	stdout, err := resident.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, resident.Start())
	var got started
	require.NoError(t, json.NewDecoder(bufio.NewReader(stdout)).Decode(&got))
	own, err := unix.SchedGetAttr(0, 0)
	require.NoError(t, err)
	niced := func(g given) given { // what these tests were started with is not such a user's to raise
		g.nice = max(own.Nice, 0)
		return g
	}
	requireGiven(t, niced(givenIdle), got.Looks)
	want := givenIdleIO
	if got.MayRaise { // the system's limits may let everybody
		want = givenIdle
	}
	requireGiven(t, niced(want), got.Starts)
	requireGiven(t, niced(givenNormal), got.Runner)
	requireGiven(t, niced(givenNormal), commandOf(t, got.Runner))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), nil, 0o600))
	_, err = Await(within(t, time.Minute), dir)
	require.NoError(t, err)
	require.NoError(t, stdin.Close())
	require.NoError(t, resident.Wait())
}

// started is what startTasks tells: process ids.
type started struct {
	Looks, Starts, Runner int
	MayRaise              bool
}

// startTasks starts a task that starts nothing, one that may start runners and one that did, tells of them, and
// ends them when its standard input ends.
func startTasks(dir string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	told := make(chan int, 2)
	start := func(name string, in testInput, starts bool) (*Task, int) {
		data, err := json.Marshal(in)
		if err != nil {
			panic(err)
		}
		task, err := StartTask(ctx, TaskOptions{
			Name: name, Input: data, StartsRunners: starts, Env: []string{endAtOnce}, Log: os.Stderr,
			Event: func(event json.RawMessage) error {
				var pid int
				err := json.Unmarshal(event, &pid)
				told <- pid
				return err
			},
		})
		if err != nil {
			panic(err)
		}
		return task, <-told
	}
	looks, _ := start("wait", testInput{Dir: dir}, false)
	starts, _ := start("wait", testInput{Dir: dir}, true)
	command, runner := start("runner", testInput{Dir: dir, Command: []string{"/bin/sh", "-c", "cd " + dir + "; " + untilTold}}, true)
	err := json.NewEncoder(os.Stdout).Encode(started{looks.PID(), starts.PID(), runner, mayRaise()})
	if err != nil {
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	for _, task := range []*Task{looks, starts, command} {
		_ = task.Wait()
	}
	return 0
}
