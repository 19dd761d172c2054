//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// token makes an enrollment token and returns its enrollment string.
func (s *server) newToken(t *testing.T, options map[string]any) (id, enrollment string) {
	t.Helper()
	var made struct {
		ID         string `json:"id"`
		Enrollment string `json:"enrollment"`
	}
	s.call(t, "POST", "/enrollment-tokens", options, &made)
	return made.ID, made.Enrollment
}

// uses is how often a token has been used.
func (s *server) uses(t *testing.T, id string) int {
	t.Helper()
	var page struct {
		Items []struct {
			ID   string `json:"id"`
			Uses int    `json:"uses"`
		} `json:"items"`
	}
	s.call(t, "GET", "/enrollment-tokens?limit=200", nil, &page)
	for _, token := range page.Items {
		if token.ID == id {
			return token.Uses
		}
	}
	require.FailNow(t, "no token "+id)
	return 0
}

func (s *server) device(t *testing.T, id string) device {
	t.Helper()
	var d device
	s.call(t, "GET", "/devices/"+id, nil, &d)
	return d
}

func (s *server) awaitDevice(t *testing.T, id, state string) {
	t.Helper()
	await(t, "device "+state, func() (bool, string) {
		d := s.device(t, id)
		return d.State == state, fmt.Sprintf("%+v", d)
	})
}

// TestIdentity_tokens: what a token admits, exactly as often as it says.
func TestIdentity_tokens(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, database string) {
		s := startServer(t, database)
		id, enrollment := s.newToken(t, map[string]any{"name": "three", "max_uses": 3})
		var wg sync.WaitGroup
		codes := make([]int, 7)
		for i := range codes {
			cmd := exec.Command(program("muster-agent"), "enroll", "--data", filepath.Join(t.TempDir(), "agent"), enrollment)
			wg.Go(func() {
				_ = cmd.Run()
				codes[i] = cmd.ProcessState.ExitCode()
			})
		}
		wg.Wait()
		admitted := 0
		for _, code := range codes {
			if code == 0 {
				admitted++
			}
		}
		require.Equal(t, 3, admitted, "%v", codes)
		require.Equal(t, 3, s.uses(t, id))
		require.Len(t, s.devices(t), 3)

		id, enrollment = s.newToken(t, map[string]any{"name": "taken back"})
		s.call(t, "DELETE", "/enrollment-tokens/"+id, nil, nil)
		r := command(t, nil, "muster-agent", "enroll", "--data", filepath.Join(t.TempDir(), "agent"), enrollment)
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, "has been revoked")

		e, err := protocol.ParseEnrollment(enrollment)
		require.NoError(t, err)
		e.Token = "menr_guess"
		data := filepath.Join(t.TempDir(), "agent")
		await(t, "the guessing to be slowed down", func() (bool, string) {
			r := command(t, nil, "muster-agent", "enroll", "--data", data, e.String())
			require.Equal(t, 1, r.code)
			return strings.Contains(r.stderr, "too many failed enrollments"), r.stderr
		})
	})
}

// TestIdentity_approval: a device that waits for approval gets nothing, and goes on by itself when it has it.
func TestIdentity_approval(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	_, enrollment := s.newToken(t, map[string]any{"name": "asks", "needs_approval": true})
	a := enroll(t, s, enrollment)
	a.run(t)
	s.awaitConnected(t, a.device)
	ledger := filepath.Join(t.TempDir(), "ledger")
	id, _ := s.assign(t, s.offer(t, spec{Name: "waits", Priority: 5, Action: "execute", Command: []string{"touch", ledger}}), a.device)
	require.Equal(t, "waiting: the device waits for approval", s.deployment(t, id).Summary)
	succeed(t, nil, "muster-agent", "status", "--data", a.data)
	s.call(t, "POST", "/devices/"+a.device+"/wakeup", nil, nil)
	require.NoFileExists(t, ledger)
	s.call(t, "POST", "/devices/"+a.device+"/approve", nil, nil)
	require.NotNil(t, s.awaitState(t, id, "succeeded").entry("waiting", "released"))
	require.FileExists(t, ledger)
}

// TestIdentity_lostAnswer: the server has made the device, its answer is lost; asking again makes no second one.
func TestIdentity_lostAnswer(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	s := startServer(t, "", "--public-url", "https://127.0.0.1:"+port)
	var lost atomic.Int64
	startProxy(t, s, port, func(r *http.Response) error {
		if strings.HasSuffix(r.Request.URL.Path, "/enroll") && r.StatusCode == http.StatusOK && lost.Add(1) <= 2 {
			return fmt.Errorf("lost")
		}
		return nil
	})
	id, enrollment := s.newToken(t, map[string]any{"name": "once", "max_uses": 1})
	data := filepath.Join(t.TempDir(), "agent")
	for range 2 {
		require.Equal(t, 1, command(t, nil, "muster-agent", "enroll", "--data", data, enrollment).code)
	}
	succeed(t, nil, "muster-agent", "enroll", "--data", data, enrollment)
	require.Equal(t, 1, s.uses(t, id))
	require.Len(t, s.devices(t), 1)
}

// agentStatus is what `muster-agent status --json` says of the first server.
func (a *agent) agentStatus(t *testing.T) (state, problem string) {
	t.Helper()
	var status struct {
		Servers []struct {
			DeviceState string `json:"device_state"`
			Problem     string `json:"problem"`
		} `json:"servers"`
	}
	require.NoError(t, json.Unmarshal([]byte(succeed(t, nil, "muster-agent", "status", "--json", "--data", a.data)), &status))
	require.Len(t, status.Servers, 1)
	return status.Servers[0].DeviceState, status.Servers[0].Problem
}

// TestIdentity_revoked: the connection is cut at once, the agent says why, once, and begins nothing more. What
// was running is left to its end. Back again means to enroll anew.
func TestIdentity_revoked(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := startAgent(t, s)
	pkg, ledger, gate := gated(t, s, "runs", nil)
	runs, _ := s.assign(t, pkg, a.device)
	waits, _ := s.assign(t, s.offer(t, spec{Name: "waits", Priority: 6, Action: "execute", Command: []string{"/bin/sh", "-c", "echo wrong >> '" + ledger + "'"}}), a.device)
	awaitFile(t, ledger)
	s.awaitEntry(t, runs, "started", "")

	s.call(t, "POST", "/devices/"+a.device+"/revoke", nil, nil)
	require.False(t, s.device(t, a.device).Connected)
	for _, id := range []string{runs, waits} {
		require.Equal(t, "cancelled", s.deployment(t, id).State)
	}
	await(t, "the agent to say it", func() (bool, string) {
		state, problem := a.agentStatus(t)
		return state == "refused" && strings.Contains(problem, "this device has been revoked; enroll it again"), state + problem
	})
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	await(t, "the command's end", func() (bool, string) { return lines(ledger) == 2, "" })
	a.stop(t)
	said := 0 // at the check-in; an inventory that was on its way says it of itself
	for line := range strings.Lines(a.output()) {
		if strings.Contains(line, "has been revoked") && !strings.Contains(line, "the inventory was not sent") {
			said++
		}
	}
	require.Equal(t, 1, said, a.output())
	require.Equal(t, []string{"ran", "ended"}, readLines(t, ledger))

	b := enroll(t, s, s.enrollment(t))
	require.NotEqual(t, a.device, b.device)
	status, body := s.try(t, "POST", "/devices/"+a.device+"/approve", nil)
	require.Equal(t, 409, status, "%s", body)
}

// TestIdentity_secrecy: no secret is in a log, an answer or a list of processes.
func TestIdentity_secrecy(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, []byte("log: {level: debug}\n"), 0o600))
	s := startServer(t, "", "--config", config)
	_, enrollment := s.newToken(t, map[string]any{"name": "secret"})
	e, err := protocol.ParseEnrollment(enrollment)
	require.NoError(t, err)
	a := &agent{data: filepath.Join(t.TempDir(), "agent")}
	cmd := exec.Command(program("muster-agent"), "enroll", "--data", a.data, "--enrollment-file", "-")
	cmd.Stdin = strings.NewReader(enrollment + "\n")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	a.device = s.devices(t)[0].ID
	a.configure(t, map[string]any{"log_level": "debug"})
	a.run(t)
	s.awaitConnected(t, a.device)
	pkg, ledger, gate := gated(t, s, "looks", nil)
	id, _ := s.assign(t, pkg, a.device)
	awaitFile(t, ledger)

	identities, err := filepath.Glob(filepath.Join(a.data, "servers", "*", "identity.json"))
	require.NoError(t, err)
	b, err := os.ReadFile(identities[0])
	require.NoError(t, err)
	var own struct {
		Token  string `json:"token"`
		Nonce  string `json:"nonce"`
		Secret string `json:"secret"`
	}
	require.NoError(t, json.Unmarshal(b, &own))
	require.Empty(t, own.Token, "the token is forgotten when it was used")
	require.Len(t, own.Secret, 64)
	seen := map[string]string{
		"agent's log": a.output(), "enroll": string(out), "processes": everyCommandLine(t),
		"status": succeed(t, nil, "muster-agent", "status", "--json", "--data", a.data),
	}
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	s.awaitState(t, id, "succeeded")
	for _, path := range []string{"/enrollment-tokens", "/devices", "/devices/" + a.device, "/audit", "/deployments/" + id} {
		_, body := s.try(t, "GET", path, nil)
		seen[path] = string(body)
	}
	seen["server's log"] = s.output()
	for where, text := range seen {
		require.NotEmpty(t, text, where)
		for what, secret := range map[string]string{"token": e.Token, "device secret": own.Secret, "nonce": own.Nonce, "api token": s.token} {
			require.NotContains(t, text, secret, "the %s is in: %s", what, where)
		}
	}
}

// everyCommandLine is what any user of this computer sees.
func everyCommandLine(t *testing.T) string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var all strings.Builder
	for _, path := range paths {
		b, _ := os.ReadFile(path)
		all.Write(b)
	}
	return all.String()
}
