package e2e_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSingleInstance: one data directory has one agent; a second one is refused and told by whom.
func TestSingleInstance(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := startAgent(t, s)
	holder := strconv.Itoa(a.cmd.Process.Pid)
	for _, verb := range []string{"run", "once"} {
		r := command(t, nil, "muster-agent", verb, "--data", a.data)
		require.NotZero(t, r.code, verb)
		require.Contains(t, r.stderr, holder, "%s does not say who holds the folder", verb)
	}
	require.True(t, a.running(), "the first agent goes on")

	a.stop(t)
	a.run(t)
	s.awaitConnected(t, a.device)
}

// TestSingleInstance_server: the same for the server's data directory.
func TestSingleInstance_server(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	r := command(t, nil, "muster-server", "serve", "--data", s.data, "--listen", "127.0.0.1:"+freePort(t), "--http", "")
	require.NotZero(t, r.code)
	require.Contains(t, r.stderr, "another muster-server is running on the data directory "+s.data)
	require.True(t, s.running())
}
