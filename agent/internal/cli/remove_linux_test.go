package cli_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/packages/protocol"
)

func removeTask() protocol.Task {
	return protocol.Task{ID: uuid.NewString(), Kind: protocol.TaskRemove, Remove: &protocol.RemoveTask{}}
}

// farewells counts the final reports of removals that the server has taken.
func farewells(s *agenttest.Server) int {
	n := 0
	for _, r := range s.Reports() {
		if r.Task != nil && r.Task.Kind == protocol.TaskRemove && r.Task.State == protocol.StateSucceeded {
			n++
		}
	}
	return n
}

// awaitRemoved waits until the agent has ended with the code that says so, and all of it has gone.
func (a *agent) awaitRemoved(c *exec.Cmd) {
	a.t.Helper()
	var exit *exec.ExitError
	require.ErrorAs(a.t, c.Wait(), &exit)
	require.Equal(a.t, 10, exit.ExitCode())
	a.eventually("all files have gone", func() bool { return !exists(a.data) })
}

// refuse makes the server answer all requests to a path with a status, as long as the switch is on.
func refuse(s *agenttest.Server, path string, status int) *atomic.Bool {
	var on atomic.Bool
	on.Store(true)
	s.Lock()
	defer s.Unlock()
	s.Fail = func(_ http.ResponseWriter, r *http.Request) int {
		if on.Load() && (r.URL.Path == path || r.URL.Path == protocol.PathSocket) {
			return status
		}
		return 0
	}
	return &on
}

func TestRun_isRemovedWithItsLastServer(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	c, log := a.run()
	a.server.Offer(removeTask())
	a.server.Wakeup()
	a.awaitRemoved(c)
	require.Equal(t, 1, farewells(a.server), log)
	require.Contains(t, log.String(), "the server was left")
	require.FileExists(t, c.Path, "a program that was run by hand is not the agent's to delete")
}

// TestRun_isRemovedAfterTheCommandThatRuns: the removal goes before what waits, and after what runs.
func TestRun_isRemovedAfterTheCommandThatRuns(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	dir := t.TempDir()
	begun, gate, never := filepath.Join(dir, "begun"), filepath.Join(dir, "gate"), filepath.Join(dir, "never")
	c, _ := a.run()
	running := a.shell("touch "+begun+"; "+agenttest.UntilFile(gate), 5)
	a.server.Offer(running)
	a.server.Wakeup()
	a.eventually("the command runs", func() bool { return exists(begun) })
	a.server.Offer(running, a.shell("touch "+never, 0), removeTask())
	before := len(a.server.CheckIns())
	a.server.Wakeup()
	a.eventually("the agent has heard of it", func() bool { return len(a.server.CheckIns()) > before })
	require.Zero(t, farewells(a.server))
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	a.awaitRemoved(c)
	require.Equal(t, protocol.StateSucceeded, a.server.AwaitFinal(t, running).State)
	require.Equal(t, 1, farewells(a.server))
	require.NoFileExists(t, never)
}

// TestRun_removalWaitsForTheServer across a kill, and begins nothing meanwhile.
func TestRun_removalWaitsForTheServer(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	never := filepath.Join(t.TempDir(), "never")
	away := refuse(a.server, protocol.PathReports, http.StatusServiceUnavailable)
	a.server.Offer(removeTask(), a.shell("touch "+never, 5))
	out, code := a.once()
	require.NotZero(t, code, out)
	require.DirExists(t, filepath.Join(a.data, "servers"), "nothing goes before the server has the report")

	c := a.command(t.Context(), "run", "--data", a.data)
	require.NoError(t, c.Start())
	a.eventually("the agent runs", func() bool {
		out, _ := a.cli("status", "--data", a.data)
		return strings.Contains(out, "muster-agent") && strings.Contains(out, " runs (pid")
	})
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	require.Zero(t, farewells(a.server))

	away.Store(false)
	c = a.command(t.Context(), "run", "--data", a.data)
	require.NoError(t, c.Start())
	a.awaitRemoved(c)
	require.Equal(t, 1, farewells(a.server))
	require.NoFileExists(t, never)
}

// TestOnce_aServerThatForgotTheDeviceHasTakenTheReport: its answer to the first delivery was lost.
func TestOnce_aServerThatForgotTheDeviceHasTakenTheReport(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	refuse(a.server, protocol.PathReports, http.StatusUnauthorized)
	a.server.Offer(removeTask())
	out, code := a.once()
	require.Equal(t, 10, code, out)
	a.eventually("all files have gone", func() bool { return !exists(a.data) })
}

// TestRun_goesOnWithARemoval that a crash cut off, whatever of it had been done: it does nothing else.
func TestRun_goesOnWithARemoval(t *testing.T) {
	t.Parallel()
	for name, left := range map[string][]string{
		"before anything":          {"agent.json", "servers/test/identity.json", "servers/test/left"},
		"before its process":       {"agent.json", "removal.json"},
		"while its process worked": {"removal.json", "removal/command.json", "removal/started", "servers/test/identity.json"},
		"at the very end":          {"removal.json"},
	} {
		a := &agent{t: t, data: filepath.Join(t.TempDir(), "agent")}
		for _, file := range left {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(a.data, file)), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(a.data, file), []byte("{}"), 0o600))
		}
		out, code := a.cli("run", "--data", a.data)
		require.Equal(t, 10, code, "%s: %s", name, out)
		a.eventually(name+": all files have gone", func() bool { return !exists(a.data) })
	}
}

// TestEnroll_notWhereTheAgentIsBeingRemoved: the identity would go with the rest.
func TestEnroll_notWhereTheAgentIsBeingRemoved(t *testing.T) {
	t.Parallel()
	a := &agent{t: t, data: filepath.Join(t.TempDir(), "agent")}
	require.NoError(t, os.Mkdir(a.data, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(a.data, "removal.json"), []byte("{}"), 0o600))
	server := agenttest.New(t)
	out, code := a.cli("enroll", "--data", a.data, server.Enrollment().String())
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "is being removed from this computer")
	require.Zero(t, server.Devices())
}

// TestRun_staysForItsOtherServers: only the folder of the server that is left goes.
func TestRun_staysForItsOtherServers(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	other := agenttest.New(t)
	out, code := a.cli("enroll", "--data", a.data, "--name", "other", other.Enrollment().String())
	require.Zero(t, code, out)
	a.run()
	a.server.Offer(removeTask())
	a.server.Wakeup()
	a.eventually("the folder has gone", func() bool { return !exists(filepath.Join(a.data, "servers", "test")) })
	require.Equal(t, 1, farewells(a.server))
	a.eventually("the other one is spoken to", func() bool { return other.Sockets() > 0 })
	ran := filepath.Join(t.TempDir(), "ran")
	b := &agent{t: t, server: other, data: a.data}
	tk := b.shell("touch "+ran, 5)
	other.Offer(tk)
	other.Wakeup()
	require.Equal(t, protocol.StateSucceeded, other.AwaitFinal(t, tk).State)
	require.FileExists(t, ran)
	require.Zero(t, farewells(other))
}

func TestUninstall(t *testing.T) {
	t.Parallel()
	t.Run("tells the servers", func(t *testing.T) {
		t.Parallel()
		a := newAgent(t)
		mine := filepath.Join(a.data, "notes of an administrator")
		require.NoError(t, os.WriteFile(mine, nil, 0o600))
		out, code := a.cli("uninstall", "--data", a.data)
		require.Zero(t, code, out)
		require.Contains(t, out, "was removed from this computer")
		require.Equal(t, 1, farewells(a.server))
		entries, err := os.ReadDir(a.data)
		require.NoError(t, err)
		require.Len(t, entries, 1, "%v", entries)
		require.FileExists(t, mine, "what the agent did not make stays")
	})
	t.Run("waits for the server's answer", func(t *testing.T) {
		t.Parallel()
		a := newAgent(t)
		away := refuse(a.server, protocol.PathReports, http.StatusServiceUnavailable)
		for range 2 {
			out, code := a.cli("uninstall", "--data", a.data)
			require.Equal(t, 1, code, out)
			require.Contains(t, out, "--force")
		}
		require.DirExists(t, filepath.Join(a.data, "servers", "test"))
		away.Store(false)
		_, code := a.once()
		require.Equal(t, 10, code, "it goes on by itself")
		a.eventually("all files have gone", func() bool { return !exists(a.data) })
		require.Equal(t, 1, farewells(a.server))
	})
	t.Run("tells nobody when forced", func(t *testing.T) {
		t.Parallel()
		a := newAgent(t)
		refuse(a.server, protocol.PathReports, http.StatusServiceUnavailable)
		out, code := a.cli("uninstall", "--force", "--data", a.data)
		require.Zero(t, code, out)
		require.NoDirExists(t, a.data)
	})
	t.Run("not beside a running agent", func(t *testing.T) {
		t.Parallel()
		a := newAgent(t)
		c, _ := a.run()
		out, code := a.cli("uninstall", "--force", "--data", a.data)
		require.Equal(t, 1, code, out)
		require.Contains(t, out, "stop it first")
		out, code = a.cli("service", "stop", "--data", a.data)
		require.Zero(t, code, out)
		require.NoError(t, c.Wait())
		_, code = a.cli("uninstall", "--force", "--data", a.data)
		require.Zero(t, code)
		require.NoDirExists(t, a.data)
	})
}
