package removal_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/removal"
	"github.com/muster/muster/packages/fault"
)

func options(dir string) removal.Options {
	return removal.Options{
		DataDir: dir, AgentLock: filepath.Join(dir, "resident.lock"), ChangeLock: filepath.Join(dir, "change.lock"),
		Program: "/nowhere/muster-agent", Log: slog.New(slog.DiscardHandler),
	}
}

func TestFinish_onlyWhereAnAgentIsToBeRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "agent.json"), nil, 0o600))
	require.Equal(t, fault.NotFound, fault.CodeOf(removal.Finish(t.Context(), options(dir))))
	require.FileExists(t, filepath.Join(dir, "agent.json"))
}

// TestFinish_goesOn after a crash that came when some had gone already, and leaves what others put there.
func TestFinish_goesOn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "agent")
	for _, name := range []string{"servers/a/attempts", "fragments", "removal"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o700))
	}
	for _, name := range []string{"servers/a/identity.json", "status.json", ".status.json.123.tmp", "enrollment"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, removal.Mark(dir))
	require.True(t, removal.Marked(dir))
	require.NoError(t, removal.Finish(t.Context(), options(dir)))
	require.NoDirExists(t, dir)

	require.NoError(t, os.MkdirAll(filepath.Join(dir, "servers"), 0o700))
	theirs := filepath.Join(dir, "thesis.tex")
	require.NoError(t, os.WriteFile(theirs, nil, 0o600))
	require.NoError(t, removal.Mark(dir))
	require.NoError(t, removal.Finish(t.Context(), options(dir)))
	require.FileExists(t, theirs)
	require.NoDirExists(t, filepath.Join(dir, "servers"))
	require.False(t, removal.Marked(dir))
}

// TestFinish_waits for the agent and for a change of the computer.
func TestFinish_waits(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]func(removal.Options) string{
		"agent": func(o removal.Options) string { return o.AgentLock }, "change": func(o removal.Options) string { return o.ChangeLock },
	} {
		dir := t.TempDir()
		require.NoError(t, removal.Mark(dir))
		secret := filepath.Join(dir, "servers")
		require.NoError(t, os.Mkdir(secret, 0o700))
		lock, _, err := proc.TryLock(path(options(dir)), "test")
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- removal.Finish(t.Context(), options(dir)) }()
		select {
		case err := <-done:
			t.Fatalf("%s: it did not wait: %v", name, err)
		default:
		}
		require.DirExists(t, secret)
		require.NoError(t, lock.Unlock())
		require.NoError(t, <-done)
		require.NoDirExists(t, dir)
	}
}
