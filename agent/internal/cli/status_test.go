package cli

import (
	"bytes"
	"errors"
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
	require.NoError(t, printStatus(&out, resident.Status{Servers: []resident.ServerStatus{{Status: session.Status{Problem: words}}}}, launch.State{}))
	require.Contains(t, out.String(), "  problem: the server answers:  ]0;owned  no muster-agent 1.0 runs\n")
	require.Equal(t, "the server answers:  ]0;owned  no; muster-agent 1.0 runs", oneLine(errors.New(words)))
}
