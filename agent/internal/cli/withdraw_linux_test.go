package cli_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// slowPackage is a package whose fragments do not come before release is called; its command writes to the ledger.
func (a *agent) slowPackage(ledger string) (task protocol.Task, asked <-chan struct{}, release func()) {
	a.t.Helper()
	begun, gate := make(chan struct{}), make(chan struct{})
	var once, open sync.Once
	a.server.Lock()
	a.server.Body = func(http.ResponseWriter, string, []byte) bool {
		once.Do(func() { close(begun) })
		<-gate
		return false
	}
	a.server.Unlock()
	release = func() { open.Do(func() { close(gate) }) }
	a.t.Cleanup(release)
	zip := agenttest.Zip(a.t, map[string]string{"go.sh": "#!/bin/sh\necho ran >> " + ledger + "\n"})
	spec := instruction.Spec{Action: instruction.Launch, Command: []string{"go.sh"}}
	return agenttest.Task(a.server.Add(a.t, spec, zip, nil)), begun, release
}

// status is what `muster-agent status --json` says.
type status struct {
	Attempt string `json:"running_attempt"`
	Servers []struct {
		DeviceState string `json:"device_state"`
		Problem     string `json:"problem"`
	} `json:"servers"`
}

func (a *agent) status() status {
	a.t.Helper()
	out, code := a.cli("status", "--json", "--data", a.data)
	require.Zero(a.t, code, out)
	var s status
	require.NoError(a.t, json.Unmarshal([]byte(out), &s))
	return s
}

// TestRun_whatIsTakenBackWhileItIsFetchedNeverRuns: and what is offered again goes on.
func TestRun_whatIsTakenBackWhileItIsFetchedNeverRuns(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	ledger := filepath.Join(t.TempDir(), "ledger")
	tk, asked, release := a.slowPackage(ledger)
	c, _ := a.run()
	a.server.Offer(tk)
	a.server.Wakeup()
	<-asked

	a.server.Offer()
	a.server.Wakeup()
	a.eventually("the task is stopped", func() bool { return a.status().Attempt == "" })
	release()
	after := a.shell("echo after", 5) // tasks go one after another: when this one has run, the other has not
	a.server.Offer(after)
	a.server.Wakeup()
	require.Equal(t, protocol.StateSucceeded, a.server.AwaitFinal(t, after).State)
	require.NoFileExists(t, ledger)

	// The server is away at the next start: what it took back does not come to life by that.
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.NoError(t, c.Wait())
	var away atomic.Bool
	away.Store(true)
	a.server.Lock()
	a.server.Fail = func(http.ResponseWriter, *http.Request) int {
		if away.Load() {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	a.server.Unlock()
	require.NoError(t, os.WriteFile(filepath.Join(a.data, "agent.json"), []byte(`{"schedule":"@every 10s","jitter":"0s"}`), 0o600))
	out, _ := a.once()
	require.Contains(t, out, "made to fail")
	require.NoFileExists(t, ledger)

	away.Store(false)
	a.server.Offer(tk)
	_, code := a.once()
	require.Zero(t, code)
	require.Equal(t, protocol.StateSucceeded, a.server.AwaitFinal(t, tk).State)
	b, err := os.ReadFile(ledger)
	require.NoError(t, err)
	require.Equal(t, "ran\n", string(b))
}

// TestRun_nothingIsBegunForAServerThatRefusesTheDevice: as when an administrator revokes it. A command that
// runs is left to its end.
func TestRun_nothingIsBegunForAServerThatRefusesTheDevice(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	dir := t.TempDir()
	begun, gate, second := filepath.Join(dir, "begun"), filepath.Join(dir, "gate"), filepath.Join(dir, "second")
	one := a.shell("touch "+begun+"; "+agenttest.UntilFile(gate), 4)
	two := a.shell("touch "+second, 5)
	c, log := a.run()
	a.server.Offer(one, two)
	a.server.Wakeup()
	a.eventually("the command runs", func() bool { return exists(begun) })
	a.server.Lock()
	a.server.Fail = func(http.ResponseWriter, *http.Request) int { return http.StatusUnauthorized }
	a.server.Unlock()
	a.server.DropSockets()
	a.eventually("the agent says that it is refused", func() bool {
		s := a.status().Servers[0]
		return s.DeviceState == "refused" && strings.Contains(s.Problem, "made to fail")
	})
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	a.eventually("the first one ends", func() bool {
		return exists(filepath.Join(a.data, "servers/test/attempts", one.Deploy.AttemptID, "settled"))
	})
	a.eventually("nothing runs", func() bool { return a.status().Attempt == "" })
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	require.NoError(t, c.Wait())
	require.NoFileExists(t, second)
	require.Equal(t, 1, strings.Count(log.String(), "check in server="), "it is said once: %s", log)
}
