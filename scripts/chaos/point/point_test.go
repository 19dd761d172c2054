//go:build unix

package point_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/scripts/chaos/point"
)

// TestMain lets the test binary be a program with a point.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "hit" {
		point.Hit("here")
		point.File("before-rename", "/data/0000000000000007.seg")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestHit: only an armed point kills, once, the process that comes first.
func TestHit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, point.Prepare(dir))
	run := func() error {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "hit")
		cmd.Env = append(os.Environ(), point.Env+"="+dir)
		return cmd.Run()
	}
	require.NoError(t, run())
	require.Empty(t, point.Kills(dir))

	require.NoError(t, point.Arm(dir, "here"))
	require.Equal(t, []string{"here"}, point.Armed(dir))
	var exit *exec.ExitError
	require.ErrorAs(t, run(), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
	require.Empty(t, point.Armed(dir))

	require.NoError(t, run(), "the next one goes on")
	require.Equal(t, []string{"here"}, point.Kills(dir))
	require.Equal(t, map[string]int64{"here": 3, "file.seg.before-rename": 2}, point.Hits(dir))

	require.NoError(t, point.Arm(dir, "here"))
	require.NoError(t, point.Disarm(dir))
	require.NoError(t, run())
}

func TestBootID(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, point.Prepare(dir))
	require.Equal(t, "real", point.BootID("real"))
	require.Empty(t, point.Environ())
	t.Setenv(point.Env, dir)
	require.Equal(t, "real", point.BootID("real"))
	require.NoError(t, point.SetBoot(dir, "another"))
	require.Equal(t, "another", point.BootID("real"))
	require.Equal(t, []string{point.Env + "=" + dir}, point.Environ())
}
