package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// agent is an enrolled device with its own data directory.
type agent struct {
	*process
	data   string
	device string // id on the server
}

// enroll makes a device; it is not running yet. Its own listener is off: many agents run on this computer.
func enroll(t *testing.T, s *server, enrollment string) *agent {
	t.Helper()
	a := &agent{data: filepath.Join(t.TempDir(), "agent")}
	out := succeed(t, nil, "muster-agent", "enroll", "--data", a.data, enrollment)
	_, rest, _ := strings.Cut(out, " as device ")
	a.device, _, _ = strings.Cut(rest, " ")
	var d device
	s.call(t, "GET", "/devices/"+a.device, nil, &d)
	require.Equal(t, a.device, d.ID, "the enrolled device is not on the server: %s", out)
	a.configure(t, map[string]any{"listener": map[string]any{"enabled": false}})
	return a
}

// startAgent enrolls a device, runs its agent and waits for its wakeup channel.
func startAgent(t *testing.T, s *server) *agent {
	t.Helper()
	a := enroll(t, s, s.enrollment(t))
	a.run(t)
	s.awaitConnected(t, a.device)
	return a
}

// id is the device's own word for who it is.
func (a *agent) id(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(a.data, "servers", "*", "identity.json"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	data, err := os.ReadFile(files[0])
	require.NoError(t, err)
	var identity struct {
		DeviceID string `json:"device_id"`
	}
	require.NoError(t, json.Unmarshal(data, &identity))
	require.NotEmpty(t, identity.DeviceID)
	return identity.DeviceID
}

func (a *agent) run(t *testing.T) {
	t.Helper()
	a.process = start(t, "muster-agent", "run", "--data", a.data)
}

// once does one check-in with all that follows from it.
func (a *agent) once(t *testing.T) {
	t.Helper()
	succeed(t, nil, "muster-agent", "once", "--data", a.data)
}

// configure changes keys of agent.json, as an administrator of the device would.
func (a *agent) configure(t *testing.T, changes map[string]any) {
	t.Helper()
	path := filepath.Join(a.data, "agent.json")
	config := map[string]any{}
	if b, err := os.ReadFile(path); err == nil {
		require.NoError(t, json.Unmarshal(b, &config))
	}
	for key, value := range changes {
		config[key] = value
	}
	b, err := json.MarshalIndent(config, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b, 0o600))
}
