package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/cli"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// asAgent makes the test binary the agent itself.
const asAgent = "MUSTER_TEST_AGENT"

// endAtOnce lets an agent of a test built with the race detector end without its second of waiting.
const endAtOnce = "GORACE=atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	// Runners and tasks are started by the agent with a small environment, so their arguments tell them. Their
	// races are for the tests of their own packages to find.
	if len(os.Args) == 3 && (os.Args[1] == "runner" || os.Args[1] == "task" || os.Args[1] == "removal") {
		syscall.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// agent is a data directory and the real program.
type agent struct {
	t      *testing.T
	server *agenttest.Server
	data   string
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{t: t, server: agenttest.New(t), data: filepath.Join(t.TempDir(), "agent")}
	out, code := a.cli("enroll", "--data", a.data, "--name", "test", a.server.Enrollment().String())
	require.Zero(t, code, out)
	require.Contains(t, out, "enrolled at test as device")
	return a
}

func (a *agent) command(ctx context.Context, args ...string) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(a.t, err)
	c := exec.CommandContext(ctx, self, args...)
	c.Env = append(os.Environ(), asAgent+"=1", endAtOnce)
	return c
}

func (a *agent) cli(args ...string) (output string, code int) {
	a.t.Helper()
	var out bytes.Buffer
	c := a.command(a.t.Context(), args...)
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	if c.ProcessState == nil {
		require.NoError(a.t, err)
	}
	return out.String(), c.ProcessState.ExitCode()
}

func (a *agent) once() (string, int) { return a.cli("once", "--data", a.data) }

// run starts `run` and returns it with its log, once it has written its status.
func (a *agent) run() (*exec.Cmd, *bytes.Buffer) {
	a.t.Helper()
	log := &bytes.Buffer{}
	c := a.command(context.Background(), "run", "--data", a.data)
	c.Stdout, c.Stderr, c.WaitDelay = log, log, agenttest.Deadline
	before := len(a.server.CheckIns())
	require.NoError(a.t, c.Start())
	a.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // else it may write to the folder that is removed next
	})
	a.eventually("the agent checks in", func() bool { return len(a.server.CheckIns()) > before && a.server.Sockets() > 0 })
	return c, log
}

func (a *agent) eventually(what string, is func() bool) {
	a.t.Helper()
	require.Eventually(a.t, is, agenttest.Deadline, 10*time.Millisecond, what)
}

func (a *agent) shell(script string, priority int) protocol.Task {
	return agenttest.Task(a.server.Add(a.t, instruction.Spec{Action: instruction.Execute, Priority: &priority, Command: []string{"/bin/sh", "-c", script}}, nil, nil))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestUsage(t *testing.T) {
	t.Parallel()
	a := &agent{t: t}
	dir := t.TempDir()
	cases := map[string]struct {
		args []string
		code int
		says string
	}{
		"nothing":            {nil, 2, "which command"},
		"unknown":            {[]string{"enrol"}, 2, `no command "enrol"`},
		"unknown flag":       {[]string{"run", "--dada", dir}, 2, "dada"},
		"too many arguments": {[]string{"run", "x"}, 2, `no argument "x"`},
		"enroll without":     {[]string{"enroll", "--data", dir}, 2, "enrollment string or"},
		"enroll with both":   {[]string{"enroll", "--data", dir, "--enrollment-file", "f", "x"}, 2, "enrollment string or"},
		"bad string":         {[]string{"enroll", "--data", dir, "x"}, 1, "not an enrollment string"},
		"damaged string":     {[]string{"enroll", "--data", dir, "MUSTER1-x"}, 1, "copy it again"},
		"missing file":       {[]string{"enroll", "--data", dir, "--enrollment-file", filepath.Join(dir, "none")}, 1, "no such file"},
		"not enrolled":       {[]string{"once", "--data", dir}, 1, "run muster-agent enroll first"},
		"never ran":          {[]string{"status", "--data", dir}, 1, "no agent has run"},
		"no such task":       {[]string{"task", "brew"}, 2, `no task is called "brew"`},
		"version":            {[]string{"version"}, 0, "muster-agent"},
		"help":               {[]string{"help"}, 0, "become a device of a server"},
		"help of a command":  {[]string{"run", "--help"}, 0, "become a device of a server"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, code := a.cli(c.args...)
			require.Equal(t, c.code, code, out)
			require.Contains(t, out, c.says)
		})
	}
}

func TestEnroll_twice(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	out, code := a.cli("enroll", "--data", a.data, "--name", "test", a.server.Enrollment().String())
	require.Equal(t, 1, code)
	require.Contains(t, out, "already enrolled")
	require.Equal(t, 1, a.server.Devices())
}

func TestConfig_isStrict(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	a.config(`{"servers": [{"name": "test", "task_allowed": []}]}`)
	out, code := a.once()
	require.Equal(t, 1, code)
	require.Contains(t, out, "unknown key")
	require.Empty(t, a.server.CheckIns(), "with a doubtful configuration nothing is done")
}

func (a *agent) config(text string) {
	a.t.Helper()
	require.NoError(a.t, os.WriteFile(filepath.Join(a.data, "agent.json"), []byte(text), 0o600))
}

func TestOnce_doesAllThatIsAskedInOrder(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	ledger := filepath.Join(t.TempDir(), "ledger")
	var tasks []protocol.Task
	for n := range 3 {
		tasks = append(tasks, a.shell(fmt.Sprintf("echo %d >> %s", n, ledger), n))
	}
	a.server.Offer(tasks...)
	out, code := a.once()
	require.Zero(t, code, out)
	b, err := os.ReadFile(ledger)
	require.NoError(t, err)
	require.Equal(t, "0\n1\n2\n", string(b))
	for _, tk := range tasks {
		require.Equal(t, []string{"accepted", "started", "succeeded/exit_code"}, a.server.States(tk.Deploy.AttemptID))
	}
	require.GreaterOrEqual(t, len(a.server.CheckIns()), 4, "after each deployment it asks again")
	out, code = a.cli("status", "--data", a.data)
	require.Zero(t, code)
	require.Contains(t, out, "does not run")
	require.Contains(t, out, "reports to deliver: 0")
}

func TestOnce_aFailedPriorityZeroHoldsTheRestEvenWithoutTheServer(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	ran := filepath.Join(t.TempDir(), "ran")
	a.server.Offer(a.shell("exit 1", 0), a.shell("touch "+ran, 5))
	var n atomic.Int32
	a.server.Lock()
	a.server.Fail = func(_ http.ResponseWriter, r *http.Request) int {
		if r.URL.Path == protocol.PathCheckIn && n.Add(1) > 1 {
			return http.StatusServiceUnavailable // only the first check-in is answered
		}
		return 0
	}
	a.server.Unlock()
	a.once()
	require.NoFileExists(t, ran)
}

func TestOnce_theDeviceHasTheLastWord(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	a.config(`{"servers": [{"name": "test", "tasks_allowed": []}]}`)
	ran := filepath.Join(t.TempDir(), "ran")
	tk := a.shell("touch "+ran, 5)
	a.server.Offer(tk, protocol.Task{ID: uuid.NewString(), Kind: "brew"})
	a.once()
	require.Equal(t, []string{"refused/not_allowed"}, a.server.States(tk.Deploy.AttemptID))
	require.NoFileExists(t, ran)
	var told []protocol.Reason
	for _, r := range a.server.Reports() {
		if r.Task != nil {
			told = append(told, r.Task.Reason)
		}
	}
	require.Contains(t, told, protocol.ReasonUnknownTask)
	require.Empty(t, a.server.CheckIns()[0].Facts.TasksAllowed)
}

func TestRun_aSecondInstanceIsRefused(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	first, _ := a.run()
	out, code := a.once()
	require.Equal(t, 1, code)
	require.Contains(t, out, "another muster-agent uses")
	require.Contains(t, out, fmt.Sprint(first.Process.Pid), "it says who")
	out, code = a.cli("status", "--json", "--data", a.data)
	require.Zero(t, code)
	var status struct {
		PID     int  `json:"pid"`
		Stopped bool `json:"stopped"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &status))
	require.Equal(t, first.Process.Pid, status.PID)
	require.False(t, status.Stopped)
}

func TestRun_isWokenAndReportsLive(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	c, log := a.run()
	tk := a.shell("echo hello", 5)
	a.server.Offer(tk)
	a.server.Wakeup()
	require.Equal(t, "hello\n", a.server.AwaitFinal(t, tk).Output)
	require.Positive(t, a.server.BySocket())
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.NoError(t, c.Wait(), "it ends well when asked to")
	require.Contains(t, log.String(), "[core][INFO] agent starts")
	require.Contains(t, log.String(), "[deploy][INFO] attempt ends")
}

func TestRun_isWokenWhileACommandRuns(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	a.run()
	began, goOn := filepath.Join(a.data, "began"), filepath.Join(a.data, "go-on")
	long := a.shell(fmt.Sprintf("touch %s; while ! test -e %s; do sleep 0.02; done", began, goOn), 5)
	a.server.Offer(long)
	a.server.Wakeup()
	a.eventually("the command runs", func() bool { return exists(began) })

	next := a.shell("echo next", 5)
	a.server.Offer(long, next)
	before := len(a.server.CheckIns())
	a.server.Wakeup()
	a.eventually("it checks in at once", func() bool { return len(a.server.CheckIns()) > before })
	require.Empty(t, a.server.States(next.Deploy.AttemptID), "one change at a time")
	require.NoError(t, os.WriteFile(goOn, nil, 0o600))
	require.Equal(t, "next\n", a.server.AwaitFinal(t, next).Output)
	require.Equal(t, protocol.StateSucceeded, a.server.AwaitFinal(t, long).State)
}

func TestDataDirectory_thatEverybodyMayWriteIsRefused(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	require.NoError(t, os.Chmod(a.data, 0o777))
	out, code := a.once()
	require.Equal(t, 1, code)
	require.Contains(t, out, "every user may write")
	require.Contains(t, out, "chmod")
}

// TestRun_endsWhileACommandRuns ends the resident in the middle of a command, hard or softly; the next one
// attaches to the command and tells how it ended.
func TestRun_endsWhileACommandRuns(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]os.Signal{"killed": syscall.SIGKILL, "asked to end": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t)
			dir := t.TempDir()
			ledger, gate := filepath.Join(dir, "ledger"), filepath.Join(dir, "gate")
			tk := a.shell("echo ran >> "+ledger+"; "+agenttest.UntilFile(gate)+"; echo ended", 5)
			a.server.Offer(tk)
			c, _ := a.run()
			a.eventually("the command runs", func() bool { return exists(ledger) })
			require.NoError(t, c.Process.Signal(sig))
			_ = c.Wait()
			require.NoError(t, os.WriteFile(gate, nil, 0o600))
			a.run()
			final := a.server.AwaitFinal(t, tk)
			require.Equal(t, protocol.StateSucceeded, final.State)
			require.Equal(t, "ended\n", final.Output)
			b, err := os.ReadFile(ledger)
			require.NoError(t, err)
			require.Equal(t, "ran\n", string(b))
		})
	}
}

func TestRun_resultsWaitWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	var away atomic.Bool
	a.server.Lock()
	a.server.Fail = func(http.ResponseWriter, *http.Request) int {
		if away.Load() {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	a.server.Unlock()
	dir := t.TempDir()
	begun, gate, second := filepath.Join(dir, "begun"), filepath.Join(dir, "gate"), filepath.Join(dir, "second")
	one := a.shell("touch "+begun+"; "+agenttest.UntilFile(gate), 4)
	two := a.shell("touch "+second, 5)
	a.server.Offer(one, two)
	a.run()
	a.eventually("the command runs", func() bool { return exists(begun) })
	away.Store(true)
	a.server.DropSockets()
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	a.eventually("the first one ends", func() bool {
		m, err := filepath.Glob(filepath.Join(a.data, "servers/test/attempts/*/settled"))
		return err == nil && len(m) >= 1
	})
	require.NotContains(t, strings.Join(a.server.States(one.Deploy.AttemptID), " "), "succeeded")
	away.Store(false)
	require.Equal(t, protocol.StateSucceeded, a.server.AwaitFinal(t, one).State)
	require.Equal(t, protocol.StateSucceeded, a.server.AwaitFinal(t, two).State)
	require.FileExists(t, second)
}

func TestOnce_aServerWhoseEnrollmentWasCutOffDoesNotKeepTheOthersAway(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	half := filepath.Join(a.data, "servers", "half")
	require.NoError(t, os.MkdirAll(half, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(half, "identity.json"), []byte(`{"format":1,"urls":["https://127.0.0.1:1"],"nonce":"n","secret":"s"}`), 0o600))
	task := a.shell("exit 0", 5)
	a.server.Offer(task)
	out, code := a.once()
	require.Zero(t, code, out)
	require.Contains(t, out, "a server is left out")
	require.Contains(t, out, "run enroll again")
	require.Equal(t, protocol.StateSucceeded, a.server.AwaitFinal(t, task).State)
}

func TestOnce_aTaskThatBreaksDownIsSeenOnTheServer(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	task := a.shell("exit 0", 5)
	// A lock that cannot be taken: the task ends without a result.
	require.NoError(t, os.MkdirAll(filepath.Join(a.data, "servers", "test", "attempts", task.Deploy.AttemptID, "lock"), 0o700))
	a.server.Offer(task)
	out, code := a.once()
	require.Zero(t, code, out)
	require.Equal(t, []string{"waiting/device_error"}, a.server.States(task.Deploy.AttemptID))
	last := a.server.Reports()[0].Deployment
	require.Equal(t, protocol.ReasonDeviceError, last.Reason)
	require.Contains(t, last.Message, "broke down")
	require.WithinDuration(t, time.Now().Add(time.Minute), *last.NextTry, 30*time.Second)
}
