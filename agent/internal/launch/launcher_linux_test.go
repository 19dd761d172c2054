package launch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/protocol"
)

// Environment of the test binary when it is a launcher.
const (
	roleData  = "MUSTER_TEST_DATA"
	roleLimit = "MUSTER_TEST_FILE_SIZE" // no file may grow beyond so many bytes, as on a full disk
)

// deadline is how long a test waits for a state.
const deadline = time.Minute

// TestMain makes the test binary the installed agent: it says so when it is the one that runs.
func TestMain(m *testing.M) {
	if dir := os.Getenv(roleData); dir != "" {
		syscall.Exit(launcher(dir))
	}
	os.Exit(m.Run())
}

func launcher(dir string) int {
	if text := os.Getenv(roleLimit); text != "" {
		signal.Ignore(syscall.SIGXFSZ)
		n, _ := strconv.ParseUint(text, 10, 64)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			panic(err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p, err := launch.Running()
	if err != nil {
		panic(err)
	}
	p.Version = "1.0.0"
	l := launch.Launcher{
		DataDir: dir, Program: p, Args: []string{"run", "it"}, Pause: time.Millisecond, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Busy: func() (bool, error) { return proc.Held(filepath.Join(dir, "agent.lock")) },
	}
	switch err := l.Run(ctx); {
	case errors.Is(err, context.Canceled):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("installed ran")
	return 0
}

// device is a data directory with a program that may be on trial.
type device struct {
	t   *testing.T
	dir string
}

const taskID = "0190c2a4-0000-7000-8000-000000000001"

// newDevice stages a shell script as version 1.1.0 and arms it. The script finds its data directory in $DATA.
func newDevice(t *testing.T, script string, probation time.Duration) *device {
	t.Helper()
	d := &device{t: t, dir: t.TempDir()}
	text := "#!/bin/sh\nDATA='" + d.dir + "'\necho started >>\"$DATA/ledger\"\n" + script
	if script == "" {
		text = "no program at all"
	}
	require.NoError(t, os.Mkdir(filepath.Join(d.dir, launch.Folder), 0o700))
	require.NoError(t, os.WriteFile(launch.Staging(d.dir), []byte(text), 0o600))
	sum := sha256.Sum256([]byte(text))
	_, err := launch.Stage(d.dir, "", launch.Trial{
		Slot: launch.Slot{Version: "1.1.0", SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text))},
		Task: taskID, Server: "office", From: "1.0.0", ProbationMS: probation.Milliseconds(),
	})
	require.NoError(t, err)
	require.NoError(t, launch.Arm(d.dir, taskID))
	return d
}

// prove is shell code that leaves the evidence while the program is on trial.
const prove = `if [ -n "$MUSTER_AGENT_TRIAL" ]; then echo "$MUSTER_AGENT_TRIAL" >"$DATA/launch/evidence"; exit 0; fi
`

// output is what a launcher and its programs wrote.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (d *device) start(env ...string) (*exec.Cmd, *output) {
	d.t.Helper()
	out := new(output)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), roleData+"="+d.dir, "GORACE=atexit_sleep_ms=0"), env...)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(d.t, cmd.Start())
	d.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, out
}

func (d *device) run(env ...string) string {
	d.t.Helper()
	cmd, out := d.start(env...)
	require.NoError(d.t, cmd.Wait(), out)
	return out.String()
}

func (d *device) state() launch.State {
	d.t.Helper()
	s, err := launch.Load(d.dir)
	require.NoError(d.t, err)
	return s
}

func (d *device) starts() int {
	data, _ := os.ReadFile(filepath.Join(d.dir, "ledger"))
	return strings.Count(string(data), "started")
}

func (d *device) awaitStart() {
	d.t.Helper()
	require.Eventually(d.t, func() bool { return d.starts() > 0 }, deadline, 5*time.Millisecond, "the new program starts")
}

// TestLauncher tries programs of several kinds. In the end a working one runs, and the outcome is true.
func TestLauncher(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script    string
		probation time.Duration
		starts    int
		says      string
		outcome   protocol.UpdateOutcome
		reason    protocol.Reason
	}{
		"it proves itself": {
			script: prove + `echo "slot ran: $* $MUSTER_AGENT_SLOT ${MUSTER_AGENT_TRIAL-none} ${MUSTER_AGENT_INSTALLED%% *}"`,
			starts: 2, says: "slot ran: run it a none 1.0.0", outcome: protocol.UpdateInstalled, reason: protocol.ReasonDone,
		},
		"it proves itself at the third start": {
			script: `[ $(grep -c started "$DATA/ledger") -ge 3 ] || exit 3` + "\n" + prove + "echo slot ran",
			starts: 4, says: "slot ran", outcome: protocol.UpdateInstalled, reason: protocol.ReasonDone,
		},
		"it fails":                   {script: "exit 1", starts: 3, says: "installed ran", outcome: protocol.UpdateRolledBack, reason: protocol.ReasonCrashed},
		"it ends as if all was well": {script: "exit 0", starts: 3, says: "installed ran", outcome: protocol.UpdateRolledBack, reason: protocol.ReasonCrashed},
		"it is killed":               {script: "kill -9 $$", starts: 3, says: "installed ran", outcome: protocol.UpdateRolledBack, reason: protocol.ReasonCrashed},
		"it hangs": {
			script: "trap '' TERM\nsleep 1000 &\nwhile :; do sleep 0.02; [ -d \"$DATA\" ] || exit; [ ! -e \"$DATA/asked\" ] || exit; done", probation: 700 * time.Millisecond,
			starts: 1, says: "installed ran", outcome: protocol.UpdateRolledBack, reason: protocol.ReasonProbation,
		},
		"it is no program": {says: "installed ran", outcome: protocol.UpdateKept, reason: protocol.ReasonCannotStart},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.probation == 0 {
				c.probation = deadline
			}
			if name == "it hangs" {
				c.script = strings.Replace(c.script, "trap '' TERM", `trap 'touch "$DATA/asked"' TERM`, 1)
			}
			d := newDevice(t, c.script, c.probation)
			require.Contains(t, d.run(), c.says)
			if c.reason == protocol.ReasonProbation { // a computer may be too slow for even the first line
				require.LessOrEqual(t, d.starts(), c.starts)
			} else {
				require.Equal(t, c.starts, d.starts())
			}
			s := d.state()
			require.Nil(t, s.Trial)
			require.Equal(t, c.outcome, s.Last.Outcome, s.Last.Message)
			require.Equal(t, c.reason, s.Last.Reason, s.Last.Message)
			require.Equal(t, taskID, s.Last.Task)
			require.Equal(t, c.outcome == protocol.UpdateInstalled, s.Current != nil)
			before := d.starts()
			require.Contains(t, d.run(), c.says, "and the next start comes to the same")
			require.LessOrEqual(t, d.starts()-before, 1)
		})
	}
}

// TestLauncher_toldToEnd: the service is stopped during a trial. That is no failed start, and nothing is left running.
func TestLauncher_toldToEnd(t *testing.T) {
	t.Parallel()
	d := newDevice(t, `echo $$ >"$DATA/pid"; while [ -d "$DATA" ]; do sleep 0.02; done`, deadline)
	for range launch.MaxAttempts + 1 {
		require.NoError(t, os.RemoveAll(filepath.Join(d.dir, "ledger")))
		cmd, out := d.start()
		d.awaitStart()
		require.Equal(t, 1, d.state().Trial.Attempts, "counted before the start")
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, cmd.Wait(), out)
		require.Zero(t, d.state().Trial.Attempts, out)
		require.NotContains(t, out.String(), "installed ran")
	}
	require.Positive(t, d.state().Trial.UsedMS, "but the time is used up")
}

// TestLauncher_killed: the program on trial does not outlive its launcher, and the start counts.
func TestLauncher_killed(t *testing.T) {
	t.Parallel()
	d := newDevice(t, `echo $$ >"$DATA/pid.new"; mv "$DATA/pid.new" "$DATA/pid"; while [ -d "$DATA" ]; do sleep 0.02; done`, deadline)
	for n := range launch.MaxAttempts {
		_ = os.Remove(filepath.Join(d.dir, "pid"))
		cmd, out := d.start()
		var pid int
		require.Eventually(t, func() bool {
			data, err := os.ReadFile(filepath.Join(d.dir, "pid"))
			pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
			return err == nil && pid > 0
		}, deadline, 5*time.Millisecond, out)
		second, said := d.start()
		require.Error(t, second.Wait(), "a second launcher leaves a trial alone")
		require.Contains(t, said.String(), "another muster-agent uses")
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		require.Eventually(t, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }, deadline, 5*time.Millisecond, "it goes with its launcher")
		require.Equal(t, n+1, d.state().Trial.Attempts)
	}
	require.Contains(t, d.run(), "installed ran")
	require.Equal(t, protocol.ReasonCrashed, d.state().Last.Reason)
}

// TestLauncher_evidenceOutlivesTheLauncher: it was killed after the check-in and before it could note it.
func TestLauncher_evidenceOutlivesTheLauncher(t *testing.T) {
	t.Parallel()
	d := newDevice(t, "echo slot ran", deadline)
	require.NoError(t, launch.Prove(d.dir, taskID))
	require.Contains(t, d.run(), "slot ran")
	require.Equal(t, protocol.UpdateInstalled, d.state().Last.Outcome)
	require.Equal(t, 1, d.starts(), "not on trial again")
}

// TestLauncher_fullDisk: a start that cannot be counted is not made, and the agent before runs.
func TestLauncher_fullDisk(t *testing.T) {
	t.Parallel()
	d := newDevice(t, prove+"echo slot ran", deadline)
	require.Contains(t, d.run(roleLimit+"=0"), "installed ran")
	require.Zero(t, d.starts())
	require.NotNil(t, d.state().Trial, "how it ended could not be kept either")
	require.Contains(t, d.run(), "installed ran", "once given up, it is not tried when there is room again")
	s := d.state()
	require.Equal(t, protocol.UpdateKept, s.Last.Outcome)
	require.Equal(t, protocol.ReasonDeviceError, s.Last.Reason)

	// One that was chosen runs, whatever the disk.
	d = newDevice(t, prove+"echo slot ran", deadline)
	require.Contains(t, d.run(), "slot ran")
	require.Contains(t, d.run(roleLimit+"=0"), "slot ran")
	// Also when that it has proved itself cannot be kept.
	d = newDevice(t, prove+"echo slot ran", deadline)
	require.NoError(t, launch.Prove(d.dir, taskID))
	require.Contains(t, d.run(roleLimit+"=64"), "slot ran")
	require.NotNil(t, d.state().Trial)
	require.Contains(t, d.run(), "slot ran")
	require.Equal(t, protocol.UpdateInstalled, d.state().Last.Outcome)
}

// TestLauncher_leavesARunningAgentAlone: the caller then says who it is.
func TestLauncher_leavesARunningAgentAlone(t *testing.T) {
	t.Parallel()
	d := newDevice(t, "echo slot ran", deadline)
	lock, _, err := proc.TryLock(filepath.Join(d.dir, "agent.lock"), "test")
	require.NoError(t, err)
	require.Contains(t, d.run(), "installed ran")
	require.Zero(t, d.state().Trial.Attempts)
	require.NoError(t, lock.Unlock())
}

// TestLauncher_damaged: whatever the state file holds, an agent runs.
func TestLauncher_damaged(t *testing.T) {
	t.Parallel()
	d := newDevice(t, prove+"echo slot ran", deadline)
	require.Contains(t, d.run(), "slot ran")
	path := filepath.Join(d.dir, launch.Folder, "state.json")
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, bad := range []string{"", "{", "null", `{"format":2}`, `{"current":{"name":"../../../bin","sha256":"` + strings.Repeat("0", 64) + `","size":1}}`,
		`{"trial":{"name":"a","attempts":-1}}`, strings.Repeat(" ", 1<<17) + "{}"} {
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o600))
		require.Contains(t, d.run(), "installed ran", "%.80s", bad)
	}
	// A field of a later release is no damage.
	var s map[string]any
	require.NoError(t, json.Unmarshal(good, &s))
	s["later"] = true
	data, err := json.Marshal(s)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.Contains(t, d.run(), "slot ran")
	// A damaged program is passed over.
	require.NoError(t, os.WriteFile(d.state().Current.Path(d.dir), []byte("#!/bin/sh\necho changed"), 0o700))
	require.Contains(t, d.run(), "installed ran")
}
