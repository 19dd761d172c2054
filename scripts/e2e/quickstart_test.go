package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/unabletest"
)

// quickstart runs scripts/quickstart/run.sh, which `make run` calls, until it waits for Ctrl-C.
func quickstart(t *testing.T, env []string) *process {
	t.Helper()
	bin, err := filepath.Abs(programs)
	require.NoError(t, err)
	cmd := exec.Command("../quickstart/run.sh")
	cmd.Env = append(append(os.Environ(), "MUSTER_BIN="+bin), env...)
	return startCommand(t, cmd)
}

func TestQuickStart(t *testing.T) {
	t.Parallel()
	if find("node") == "" {
		unabletest.Skip(t, "node is not here")
	}
	dir := filepath.Join(t.TempDir(), ".muster")
	port, httpPort := freePort(t), freePort(t)
	env := []string{"MUSTER_PORT=" + port, "MUSTER_HTTP_PORT=" + httpPort, "MUSTER_DIR=" + dir}

	for _, round := range []string{"first", "second, with the same data"} {
		p := quickstart(t, env)
		await(t, "the quick start to be done, "+round, func() (bool, string) {
			require.True(t, p.running(), "it ended: %s", p.output())
			return strings.Contains(p.output(), "Press Ctrl-C"), p.output()
		})
		out := p.output()
		require.Contains(t, out, "succeeded (exit code 0)")
		require.Contains(t, out, "http://localhost:"+httpPort)
		password, err := os.ReadFile(filepath.Join(dir, "admin-password"))
		require.NoError(t, err)
		require.Contains(t, out, strings.TrimSpace(string(password)))

		require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
		<-p.done
		require.NoError(t, p.err, "Ctrl-C is a clean end: %s", p.output())
		for _, closed := range []string{port, httpPort} {
			l, err := net.Listen("tcp", "127.0.0.1:"+closed)
			require.NoError(t, err, "the server is still there")
			l.Close()
		}
	}
}

// TestQuickStart_sentences: what can go wrong at the start is one sentence that says what to do.
func TestQuickStart_sentences(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() }) // after the parallel subtests
	_, busy, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	used := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(used, "port"), []byte("1\n"), 0o600))
	empty := t.TempDir()
	bash, err := exec.LookPath("bash")
	require.NoError(t, err)
	for _, tool := range []string{"dirname"} {
		path, err := exec.LookPath(tool)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(empty, tool)))
	}

	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"busy port":       {[]string{"MUSTER_PORT=" + busy}, "port " + busy + " is in use; stop what uses it, or choose another: MUSTER_PORT="},
		"not a port":      {[]string{"MUSTER_PORT=eight"}, "write a number"},
		"other port used": {[]string{"MUSTER_PORT=" + freePort(t), "MUSTER_HTTP_PORT=" + freePort(t), "MUSTER_DIR=" + used}, "use MUSTER_PORT=1 make run"},
		"missing tool":    {[]string{"PATH=" + empty}, "go is not installed; install it and run make run again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := append([]string{"MUSTER_DIR=" + filepath.Join(t.TempDir(), "m"), "MUSTER_BIN=" + empty}, c.env...)
			r := command(t, env, bash, "../quickstart/run.sh")
			require.Equal(t, 1, r.code, r.stderr)
			require.Contains(t, r.stderr, c.want)
			require.Equal(t, 1, strings.Count(strings.TrimSpace(r.stderr), "\n")+1, "more than one sentence: %s", r.stderr)
		})
	}
}
