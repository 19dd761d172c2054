//go:build linux

package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/unabletest"
)

// computer is an agent in a computer of its own, as far as it can tell: its own process numbers and boot id,
// and a machine id if one is given. Power cuts and restarts then cost one kill.
type computer struct {
	*agent
	boots   int
	machine string // file that stands for /etc/machine-id; empty leaves it
}

// newComputer enrolls a device; it is not switched on yet.
func newComputer(t *testing.T, s *server) *computer {
	t.Helper()
	needNamespaces(t)
	return &computer{agent: enroll(t, s, s.enrollment(t))}
}

func needNamespaces(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("unshare", "-m", "-p", "-f", "--mount-proc", "true").CombinedOutput(); err != nil {
		unabletest.Skip(t, "unshare: %v %s", err, out)
	}
}

// boot switches the computer on, with a boot id that it never had before.
func (c *computer) boot(t *testing.T) {
	t.Helper()
	c.boots++
	id := filepath.Join(t.TempDir(), "boot_id")
	require.NoError(t, os.WriteFile(id, fmt.Appendf(nil, "00000000-0000-4000-8000-%012d\n", c.boots), 0o644))
	// The shell is process 1 of the computer: it mounts what is different here, and reaps.
	script := `mount --bind "$1" /proc/sys/kernel/random/boot_id && { [ -z "$4" ] || mount --bind "$4" /etc/machine-id; } || exit 9
"$2" run --data "$3" & wait; exec sleep infinity`
	c.process = startCommand(t, exec.Command("unshare", "-m", "-p", "-f", "--kill-child=SIGKILL", "--mount-proc",
		"/bin/sh", "-c", script, "computer", id, program("muster-agent"), c.data, c.machine))
	t.Cleanup(c.process.kill) // unshare does not pass on that it is asked to end
}

// first is process 1 of the computer, by the number that it has outside.
func (c *computer) first(t *testing.T) int {
	t.Helper()
	pids := children(t, c.cmd.Process.Pid)
	require.Len(t, pids, 1)
	return pids[0]
}

// cut switches the computer off: every process of it is killed, and gone when the first one is.
func (c *computer) cut(t *testing.T) {
	t.Helper()
	first := c.first(t)
	c.kill()
	await(t, "the end of all processes of the computer", func() (bool, string) {
		err := syscall.Kill(first, 0)
		return errors.Is(err, syscall.ESRCH), fmt.Sprint(err)
	})
}

// reboot is a power cut and a start.
func (c *computer) reboot(t *testing.T) {
	t.Helper()
	c.cut(t)
	c.boot(t)
}

// TestReboot is about restarts of the computer in the middle of packages and between them.
func TestReboot(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	t.Run("a package that needs a restart succeeds, and those that need a clean boot wait for it", func(t *testing.T) {
		t.Parallel()
		rebootNeeded(t, s)
	})
	for name, c := range map[string]struct {
		more map[string]any
		last string // of the first attempt
		end  string
	}{
		"nobody can tell how the command ended": {nil, "interrupted", "interrupted"},
		"the detection rule tells":              {map[string]any{"detect": map[string]any{"file": map[string]any{"path": "LEDGER"}}}, "succeeded", "succeeded"},
		"a command that may be repeated is":     {map[string]any{"rerun": "safe", "retry": map[string]any{"attempts": 1, "delay_seconds": 1}}, "interrupted", "succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rebootWhileRunning(t, s, name, c.more, c.last, c.end)
		})
	}
	t.Run("the command had ended, and nobody had heard of it", func(t *testing.T) {
		t.Parallel()
		rebootAfterTheEnd(t, s)
	})
}

// wantsRestart is a table of exit codes; those of Windows installers, 3010 and 1641, do not fit into a byte.
var wantsRestart = map[string]any{"exit_codes": []map[string]any{{"code": 41, "outcome": "reboot"}}}

func rebootNeeded(t *testing.T, s *server) {
	c := newComputer(t, s)
	c.boot(t)
	s.awaitConnected(t, c.device)
	ledger := filepath.Join(t.TempDir(), "ledger")
	first := s.offer(t, spec{Name: "wants-restart", Priority: 3, Action: "execute", Command: []string{"/bin/sh", "-c", "exit 41"}, More: wantsRestart})
	clean := s.offer(t, spec{
		Name: "clean-boot", Priority: 4, Action: "execute", Command: []string{"/bin/sh", "-c", "echo ran >> '" + ledger + "'"},
		More: map[string]any{"needs_clean_boot": true},
	})
	one, _ := s.assign(t, first, c.device)
	require.Equal(t, "succeeded (exit code 41), reboot needed", s.awaitState(t, one, "succeeded").Summary)
	two, _ := s.assign(t, clean, c.device)
	e := s.awaitEntry(t, two, "waiting", "clean_boot")
	require.Contains(t, e.Message, "restart")
	require.NotEmpty(t, e.NextAt, "the timeline says when the device looks again")
	require.NoFileExists(t, ledger)
	c.reboot(t)
	s.awaitState(t, two, "succeeded")
	require.Equal(t, []string{"ran"}, readLines(t, ledger))
}

func rebootWhileRunning(t *testing.T, s *server, name string, more map[string]any, last, end string) {
	c := newComputer(t, s)
	c.boot(t)
	s.awaitConnected(t, c.device)
	ledger, gate := filepath.Join(t.TempDir(), "ledger"), filepath.Join(t.TempDir(), "gate")
	if d, ok := more["detect"].(map[string]any); ok {
		d["file"].(map[string]any)["path"] = ledger + ".installed"
	}
	script := fmt.Sprintf("echo ran >> '%s'; touch '%s.installed'; %s", ledger, ledger, untilFile(gate))
	if more["detect"] != nil { // true only after the command has come so far
		script = fmt.Sprintf("echo ran >> '%s'; touch '%s.installed'; sleep 1000", ledger, ledger)
	}
	id, _ := s.assign(t, s.offer(t, spec{Name: name, Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", script}, More: more}), c.device)
	await(t, "the command", func() (bool, string) {
		_, err := os.Stat(ledger + ".installed")
		return err == nil, s.deployment(t, id).story()
	})
	s.awaitEntry(t, id, "started", "")
	c.cut(t)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	c.boot(t)
	e := s.awaitEntry(t, id, last, "")
	require.Contains(t, e.Message, "the computer was restarted while the command ran")
	d := s.awaitState(t, id, end)
	runs := 1
	if last != end {
		require.NotNil(t, d.entry("waiting", "retry_backoff"), d.story())
		runs = 2
	}
	require.Len(t, readLines(t, ledger), runs, d.story())
}

// rebootAfterTheEnd: the agent is killed, the command ends in the care of its runner, the power goes.
func rebootAfterTheEnd(t *testing.T, s *server) {
	c := newComputer(t, s)
	c.boot(t)
	s.awaitConnected(t, c.device)
	ledger, gate := filepath.Join(t.TempDir(), "ledger"), filepath.Join(t.TempDir(), "gate")
	script := fmt.Sprintf("echo ran >> '%s'; %s; exit 41", ledger, untilFile(gate))
	id, _ := s.assign(t, s.offer(t, spec{Name: "restarts", Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", script}, More: wantsRestart}), c.device)
	s.awaitEntry(t, id, "started", "")
	await(t, "the command", func() (bool, string) {
		_, err := os.Stat(ledger)
		return err == nil, s.deployment(t, id).story()
	})
	first := c.first(t)
	for _, pid := range children(t, first) {
		if filepath.Base(programOf(pid)) == "muster-agent" && strings.Contains(commandLine(pid), "\x00run\x00") {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	orphans := func() string {
		left := ""
		for _, pid := range children(t, first) { // those that only wait to be reaped have no command line
			left += commandLine(pid)
		}
		return left
	}
	await(t, "the runner to be the only one left", func() (bool, string) {
		return strings.Contains(orphans(), "\x00runner\x00") && !strings.Contains(orphans(), "\x00run\x00"), orphans()
	})
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	await(t, "the end of command and runner", func() (bool, string) { return orphans() == "", orphans() })
	require.Equal(t, "started", s.deployment(t, id).State)
	c.reboot(t)
	d := s.awaitState(t, id, "succeeded")
	require.Equal(t, "succeeded (exit code 41), reboot needed", d.Summary)
	require.Contains(t, d.entry("succeeded", "reboot_needed").Message, "it has been restarted since")
	require.Equal(t, []string{"ran"}, readLines(t, ledger))

	clean, _ := s.assign(t, s.offer(t, spec{
		Name: "clean-boot-after", Priority: 5, Action: "execute", Command: []string{"true"}, More: map[string]any{"needs_clean_boot": true},
	}), c.device)
	require.Nil(t, s.awaitState(t, clean, "succeeded").entry("waiting", ""), "the restart that was needed has been")
}

// children are the processes that a process has started and that live.
func children(t *testing.T, pid int) []int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	require.NoError(t, err)
	var pids []int
	for _, f := range strings.Fields(string(b)) {
		n, err := strconv.Atoi(f)
		require.NoError(t, err)
		pids = append(pids, n)
	}
	return pids
}

func programOf(pid int) string {
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return path
}

func commandLine(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return string(b)
}
