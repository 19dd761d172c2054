package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/resident"
	"github.com/muster/muster/agent/internal/session"
)

// TestStatus_noServerSteersTheTerminal: a server's words are shown to an administrator of the device.
func TestStatus_noServerSteersTheTerminal(t *testing.T) {
	t.Parallel()
	const words = "the server answers: \x1b]0;owned\x07\u202eno\nmuster-agent 1.0 runs"
	var out bytes.Buffer
	require.NoError(t, printStatus(&out, fullStatus{Status: resident.Status{Servers: []resident.ServerStatus{{Status: session.Status{Problem: words}}}}}))
	require.Contains(t, out.String(), "  problem: the server answers:  ]0;owned  no muster-agent 1.0 runs\n")
	require.Equal(t, "the server answers:  ]0;owned  no; muster-agent 1.0 runs", oneLine(errors.New(words)))
}

// TestStatus_damagedLauncher: when the launcher's state is damaged, people look here first.
func TestStatus_damagedLauncher(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, resident.StatusFile), []byte(`{"running":[{"server":"","kind":"module","id":"ports"}]}`), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, launch.Folder), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, launch.Folder, "state.json"), []byte("{"), 0o600))
	for _, args := range [][]string{{"--data", dir}, {"--data", dir, "--json"}} {
		var out bytes.Buffer
		require.NoError(t, status(args, &out))
		require.Contains(t, out.String(), "state.json is damaged")
	}
}
