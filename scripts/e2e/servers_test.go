package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// standings is what `muster-agent status --json` says of an agent's servers, by name.
type standings map[string]struct {
	DeviceState   string    `json:"device_state"`
	Connected     bool      `json:"connected"`
	Problem       string    `json:"problem"`
	TasksAllowed  []string  `json:"tasks_allowed"`
	LastInventory time.Time `json:"last_inventory"`
	SentBytes     int64     `json:"sent_bytes"`
}

func standingsOf(t *testing.T, data string) standings {
	t.Helper()
	var status struct {
		Servers []json.RawMessage `json:"servers"`
	}
	require.NoError(t, json.Unmarshal([]byte(succeed(t, nil, "muster-agent", "status", "--json", "--data", data)), &status))
	found := standings{}
	for _, one := range status.Servers {
		var name struct {
			Server string `json:"server"`
		}
		require.NoError(t, json.Unmarshal(one, &name))
		entry := found[name.Server]
		require.NoError(t, json.Unmarshal(one, &entry))
		found[name.Server] = entry
	}
	return found
}

// enrollAs makes the agent a device of one more server and returns its id there.
func (a *agent) enrollAs(t *testing.T, s *server, name string) string {
	t.Helper()
	out := succeed(t, nil, "muster-agent", "enroll", "--data", a.data, "--name", name, s.enrollment(t))
	_, rest, _ := strings.Cut(out, " as device ")
	device, _, _ := strings.Cut(rest, " ")
	require.NotEmpty(t, device, out)
	return device
}

// TestThreeServers: one of an agent's servers is down, one is denied deployments and inventories by the
// device's configuration, one may ask for everything. Each gets what it may.
func TestThreeServers(t *testing.T) {
	t.Parallel()
	down, denied, open := startServer(t, ""), startServer(t, ""), startServer(t, "")
	a := &agent{data: filepath.Join(t.TempDir(), "agent")}
	a.enrollAs(t, down, "down")
	down.stop(t)
	onDenied := a.enrollAs(t, denied, "denied")
	a.configure(t, map[string]any{"servers": []map[string]any{{"name": "denied", "tasks_allowed": []string{"uninstall"}}}})
	a.run(t)
	denied.awaitConnected(t, onDenied)
	// The third one comes while the agent runs.
	onOpen := a.enrollAs(t, open, "open")
	open.awaitConnected(t, onOpen)

	ran := filepath.Join(t.TempDir(), "ran")
	command := func(name string) spec {
		return spec{Name: name, Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", "echo " + name + " >> " + ran}}
	}
	refused, _ := denied.assign(t, denied.offer(t, command("denied")), onDenied)
	done, _ := open.assign(t, open.offer(t, command("open")), onOpen)
	open.awaitState(t, done, "succeeded")
	entry := denied.awaitEntry(t, refused, "refused", "not_allowed")
	require.Contains(t, entry.Message, "configuration")
	b, err := os.ReadFile(ran)
	require.NoError(t, err)
	require.Equal(t, "open\n", string(b))

	open.takeInventory(t, onOpen)
	require.NotEmpty(t, open.sections(t, onOpen))
	var asked serverTask
	denied.call(t, "POST", "/devices/"+onDenied+"/inventory", map[string]any{}, &asked)
	asked = denied.awaitTask(t, asked.ID, "refused")
	require.Equal(t, "not_allowed", asked.Reason)
	require.Empty(t, denied.sections(t, onDenied))

	var servers standings
	await(t, "the status of all three", func() (bool, string) {
		servers = standingsOf(t, a.data)
		return servers["down"].Problem != "" && servers["open"].Connected && !servers["open"].LastInventory.IsZero(), a.output()
	})
	require.False(t, servers["down"].Connected)
	require.Equal(t, []string{"uninstall"}, servers["denied"].TasksAllowed)
	require.Zero(t, servers["denied"].LastInventory)
	require.Positive(t, servers["open"].SentBytes)

	// It comes back, and is served as if nothing had been.
	down.launch(t)
	await(t, "the server that was down", func() (bool, string) {
		return standingsOf(t, a.data)["down"].Connected, a.output()
	})
}
