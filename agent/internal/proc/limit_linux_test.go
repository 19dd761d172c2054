package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/unabletest"
)

// shellLimit is a time limit within which a busy computer, too, has started some shells.
const shellLimit = 3 * time.Second

// TestRunner_timeLimitEnds has a case for each way in which a process may try to stay.
func TestRunner_timeLimitEnds(t *testing.T) {
	t.Parallel()
	const forever = `echo $$ > pid; while :; do sleep 1; done`
	cases := map[string]string{
		"the command itself":           forever,
		"who ignores TERM":             `trap '' TERM; ` + forever,
		"a child":                      `sleep 300 & echo $! > pid; wait`,
		"a child that ignores TERM":    `sh -c 'trap "" TERM; ` + forever + `' & wait`,
		"a child in its own session":   `setsid sh -c '` + forever + `' & wait`,
		"a session that ignores TERM":  `setsid sh -c 'trap "" TERM; ` + forever + `' & wait`,
		"a daemon, forked twice":       `( setsid sh -c '` + forever + `' & ); while :; do sleep 1; done`,
		"a daemon of an ended parent":  `( setsid sh -c '( sh -c "echo \$\$ > pid; exec sleep 300" & )' & ); while :; do sleep 1; done`,
		"a daemon that closed its own": `( setsid sh -c 'exec <&- >&- 2>&-; ` + forever + `' & ); while :; do sleep 1; done`,
		"a stopped child":              `sleep 300 & echo $! > pid; kill -STOP $!; while :; do sleep 1; done`,
		"who calls itself a runner":    `MUSTER_RUNNER=1 setsid sleep 300 & echo $! > pid; wait`,
		"who forks again and again":    `echo $$ > pid; f() { [ "$1" -gt 3000 ] || { sleep 0.01; (f $(($1+1)) &); }; }; f 1; while :; do sleep 1; done`,
	}
	for name, script := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			script := "echo working\n" + script
			status, _ := runCommand(t, Command{Argv: []string{"/bin/sh", "-c", script}, Dir: folder, TimeLimit: shellLimit})
			require.True(t, status.TimedOut)
			require.Contains(t, status.Output, "working\n") // a shell whose child is asked to end first may say so
			requireGone(t, pidFrom(t, filepath.Join(folder, "pid")))
			requireNobodyIn(t, folder)
		})
	}
}

// requireNobodyIn wants no process to have its working directory in the folder.
func requireNobodyIn(t *testing.T, folder string) {
	t.Helper()
	require.Eventually(t, func() bool {
		links, err := filepath.Glob("/proc/[0-9]*/cwd")
		require.NoError(t, err)
		for _, link := range links {
			if cwd, err := os.Readlink(link); err == nil && cwd == folder {
				return false
			}
		}
		return true
	}, time.Minute, 10*time.Millisecond, "a process lives on in %s", folder)
}

func TestRunner_timeLimitEndsTheWholeTree(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	// A child, a child in a session of its own, a daemon (orphan in a session of its own) that ignores
	// SIGTERM, and the shell itself, which ignores it too.
	script := `trap '' TERM
sleep 300 & echo $! > child
setsid sh -c 'trap "" TERM; echo $$ > session; while :; do sleep 1; done' &
( setsid sh -c 'trap "" TERM; echo $$ > daemon; while :; do sleep 1; done' & )
echo working
while :; do sleep 1; done`
	status, _ := runCommand(t, Command{Argv: []string{"/bin/sh", "-c", script}, Dir: folder, TimeLimit: shellLimit})
	require.True(t, status.TimedOut)
	require.Equal(t, "killed", status.Signal)
	require.Equal(t, -1, status.ExitCode)
	require.Contains(t, status.Output, "working\n")
	for _, name := range []string{"child", "session", "daemon"} {
		requireGone(t, pidFrom(t, filepath.Join(folder, name)))
	}
}

func TestRunner_timeLimitAsksFirst(t *testing.T) {
	t.Parallel()
	status, _ := runCommand(t, Command{
		Argv:      []string{"/bin/sh", "-c", `trap 'echo cleaned up; exit 7' TERM; while :; do sleep 0.1; done`},
		TimeLimit: shellLimit,
	})
	require.True(t, status.TimedOut)
	require.Equal(t, 7, status.ExitCode)
	require.Contains(t, status.Output, "cleaned up\n")
	require.Less(t, status.EndedAt.Sub(status.StartedAt), shellLimit+KillGrace, "nothing was left to be killed")
}

// TestCgroup_killsWhatIsInIt has no walk over /proc to help: the kernel alone ends what is in the cgroup.
func TestCgroup_killsWhatIsInIt(t *testing.T) {
	group := newCgroup()
	if group == nil {
		inOwnMounts(t)
		return
	}
	defer group.close()
	folder := t.TempDir()
	cmd := exec.Command("/bin/sh", "-c", `trap '' TERM
( setsid sh -c 'trap "" TERM; echo $$ > daemon; while :; do sleep 1; done' & )
echo $$ > pid; while :; do sleep 1; done`)
	cmd.Dir = folder
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: group.fd()}
	require.NoError(t, cmd.Start())
	daemon := pidFrom(t, filepath.Join(folder, "daemon"))
	killAtEnd(t, daemon)
	require.Equal(t, cmd.Process.Pid, pidFrom(t, filepath.Join(folder, "pid")))
	for _, pid := range []int{daemon, cmd.Process.Pid} {
		in, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
		require.NoError(t, err)
		require.Contains(t, string(in), "/"+cgroupPrefix)
	}
	if _, err := os.Stat(filepath.Join(group.dir, "cgroup.kill")); err != nil {
		_ = cmd.Process.Kill()
		unabletest.Skip(t, "this kernel cannot kill a cgroup at one word")
	}
	group.kill()
	_ = cmd.Wait()
	require.Equal(t, "killed", signalName(cmd.ProcessState))
	requireGone(t, daemon)
	require.Eventually(t, func() bool { return os.Remove(group.dir) == nil }, time.Minute, 10*time.Millisecond, "it is not empty")
}

// inOwnMounts runs the test again where cgroup v2 is mounted, seen by nobody else.
func inOwnMounts(t *testing.T) {
	t.Helper()
	const again = "MUSTER_TEST_CGROUP"
	if at := os.Getenv(again); at != "" {
		require.NoError(t, syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
		if err := syscall.Mount("none", at, "cgroup2", 0, ""); err != nil {
			unabletest.Skip(t, "cgroup v2 cannot be mounted: %v", err)
		}
		require.NotNil(t, newCgroup(), "it is mounted, but not used")
		require.NoError(t, os.Unsetenv(again))
		TestCgroup_killsWhatIsInIt(t)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestCgroup_killsWhatIsInIt$", "-test.v")
	cmd.Env = append(os.Environ(), again+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(err.Error(), "operation not permitted") {
		unabletest.Skip(t, "cgroup v2 is not mounted, and to mount it needs root")
	}
	require.NoError(t, err, string(out))
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip(string(out)) // it said why
	}
}

// TestRunner_commandIsInACgroup shows that a command gets a cgroup where that is possible, and that
// nothing of it stays.
func TestRunner_commandIsInACgroup(t *testing.T) {
	t.Parallel()
	probe := newCgroup()
	if probe == nil {
		unabletest.Skip(t, "cgroup v2 is not writable")
	}
	probe.close()
	status, _ := runCommand(t, shell("cat /proc/self/cgroup"))
	var name string
	for line := range strings.Lines(status.Output) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			name = filepath.Base(strings.TrimSpace(path))
		}
	}
	require.True(t, strings.HasPrefix(name, cgroupPrefix), "%q in\n%s", name, status.Output)
	require.NoDirExists(t, filepath.Join(filepath.Dir(probe.dir), name))
}
