package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// loadgen builds the load generator and runs it against a server; it must find all its counts in the
// server's rows. It returns the figures by scenario and name.
func loadgen(t *testing.T, s *server, args ...string) map[string]map[string]float64 {
	t.Helper()
	program := filepath.Join(t.TempDir(), "loadgen")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../loadgen").CombinedOutput()
	require.NoError(t, err, string(out))
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(s.password), 0o600))
	args = append([]string{"--admin", s.url, "--ca-fingerprint", s.caHash, "--password-file", password, "--json"}, args...)
	r := command(t, nil, program, args...)
	require.Zero(t, r.code, "%s\n%s", r.stderr, r.stdout)
	var results []struct {
		Scenario string `json:"scenario"`
		Figures  []struct {
			Name  string  `json:"name"`
			Value float64 `json:"value"`
		} `json:"figures"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &results), r.stdout)
	figures := map[string]map[string]float64{}
	for _, result := range results {
		figures[result.Scenario] = map[string]float64{}
		for _, f := range result.Figures {
			figures[result.Scenario][f.Name] = f.Value
		}
	}
	return figures
}

// TestLoad lets 50 simulated devices connect, be woken, carry out what is assigned to them and report: the
// server must hold each acknowledged report once, and each deployment must end as its device said.
func TestLoad(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, database string) {
		s := startServer(t, database)
		figures := loadgen(t, s, "--devices", "50", "--duration", "1s", "connect", "wake", "deploy", "reports")
		rows := figures["rows"]
		require.InDelta(t, 150, rows["deployments"], 0, "three assignments to 50 devices")
		require.InDelta(t, rows["reports acknowledged"], rows["rows of reports"], 0)
		require.Greater(t, rows["reports acknowledged"], 3*6*50.0, "six steps of each deployment, and those of the scenario reports")
	})
}
