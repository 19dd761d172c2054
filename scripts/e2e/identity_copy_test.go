//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/scripts/chaos/overlay"
	"github.com/muster/muster/scripts/chaos/point"
)

// copyTo makes a copy of the computer's disk: the data directory of its agent, which does not run.
func (a *agent) copyTo(t *testing.T, data string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(data))
	out, err := exec.Command("cp", "-a", a.data, data).CombinedOutput()
	require.NoError(t, err, string(out))
}

// TestIdentity_copies: one identity on two computers quarantines it; nothing runs until an admin decides, and
// what waits says why.
func TestIdentity_copies(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	t.Run("on another machine", func(t *testing.T) {
		t.Parallel()
		original := newComputer(t, s)
		machine := filepath.Join(t.TempDir(), "machine-id")
		require.NoError(t, os.WriteFile(machine, []byte("c0ffee00c0ffee00c0ffee00c0ffee00\n"), 0o644))
		twin := &computer{agent: &agent{data: filepath.Join(t.TempDir(), "agent"), device: original.device}, machine: machine}
		original.copyTo(t, twin.data)
		original.boot(t)
		s.awaitConnected(t, original.device)
		original.cut(t)
		twin.boot(t)
		s.awaitDevice(t, twin.device, "quarantined")

		ledger := filepath.Join(t.TempDir(), "ledger")
		id, _ := s.assign(t, s.offer(t, spec{
			Name: "where", Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", "cat /etc/machine-id >> '" + ledger + "'"},
		}), twin.device)
		require.Equal(t, "waiting: the device is quarantined until an administrator decides", s.deployment(t, id).Summary)
		s.call(t, "POST", "/devices/"+twin.device+"/wakeup", nil, nil)
		require.NoFileExists(t, ledger)
		s.call(t, "POST", "/devices/"+twin.device+"/approve", nil, nil)
		require.NotNil(t, s.awaitState(t, id, "succeeded").entry("waiting", "released"))
		require.Equal(t, []string{"c0ffee00c0ffee00c0ffee00c0ffee00"}, readLines(t, ledger), "it belongs to the machine seen last")
		original.boot(t)
		s.awaitDevice(t, twin.device, "quarantined") // the other one is the copy now
	})
	t.Run("running at the same time", func(t *testing.T) {
		t.Parallel()
		a := enroll(t, s, s.enrollment(t))
		b := &agent{data: filepath.Join(t.TempDir(), "agent"), device: a.device}
		a.copyTo(t, b.data)
		a.run(t)
		s.awaitConnected(t, a.device)
		b.run(t)
		s.awaitDevice(t, a.device, "quarantined")
		a.stop(t)
		s.call(t, "POST", "/devices/"+a.device+"/approve", nil, nil)
		id, _ := s.assign(t, s.offer(t, spec{Name: "after", Priority: 5, Action: "execute", Command: []string{"true"}}), a.device)
		s.awaitState(t, id, "succeeded")
		require.Equal(t, "active", s.device(t, a.device).State)
	})
}

// TestIdentity_restored: a computer is put back to an older copy of its disk. It is let in, what had ended is
// not run again, and neither is a command that had begun.
func TestIdentity_restored(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	c := newComputer(t, s)
	older := filepath.Join(t.TempDir(), "older")
	c.boot(t)
	s.awaitConnected(t, c.device)
	c.cut(t)
	c.copyTo(t, older)

	c.boot(t)
	ended := filepath.Join(t.TempDir(), "ledger")
	first, _ := s.assign(t, s.offer(t, spec{Name: "ended", Priority: 4, Action: "execute", Command: []string{"/bin/sh", "-c", "echo ran >> '" + ended + "'"}}), c.device)
	s.awaitState(t, first, "succeeded")
	pkg, ledger, gate := gated(t, s, "had-begun", nil)
	second, _ := s.assign(t, pkg, c.device)
	awaitFile(t, ledger)
	s.awaitEntry(t, second, "started", "")
	c.cut(t)
	(&agent{data: older}).copyTo(t, c.data)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	c.boot(t)

	d := s.awaitState(t, second, "interrupted")
	require.Contains(t, d.entry("interrupted", "").Message, "this device holds no record of it")
	require.Equal(t, []string{"ran"}, readLines(t, ledger))
	require.Equal(t, []string{"ran"}, readLines(t, ended))
	require.Equal(t, "active", s.device(t, c.device).State)
}

// TestIdentity_kills ends the agent at every point of an enrollment and of a change of the secret. The token is
// used once, the device is one, and it is never shut out.
func TestIdentity_kills(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	chaos := filepath.Join(chaosPrograms(t, overlay.Fault{}), "muster-agent")
	both := []string{"file.identity.json.before-rename", "file.identity.json.after-rename"}
	t.Run("enrollment", func(t *testing.T) {
		t.Parallel()
		for _, at := range append(both, "enroll.before-ask", "enroll.answered", "file.trust.json.before-rename", "file.trust.json.after-rename", "enroll.trusted") {
			token, enrollment := s.newToken(t, map[string]any{"name": at, "max_uses": 1})
			n := newNode(t, t.TempDir(), chaos, "agent", overlay.AgentPoints())
			require.NoError(t, point.Arm(n.dir, at))
			require.Error(t, n.command("enroll", "--data", n.data, enrollment).Run(), at)
			require.Empty(t, point.Armed(n.dir), "it was killed at %s", at)
			before := s.uses(t, token)
			if err := n.command("enroll", "--data", n.data, enrollment).Run(); err != nil {
				// Killed after the last step: there is nothing left to do.
				require.Equal(t, 1, before, "%s: %v", at, err)
			}
			require.Equal(t, 1, s.uses(t, token), at)
			a := &agent{data: n.data, device: n.deviceID(t)}
			id, _ := s.assign(t, s.offer(t, spec{Name: uuid.NewString(), Priority: 5, Action: "execute", Command: []string{"true"}}), a.device)
			a.once(t)
			s.awaitState(t, id, "succeeded")
		}
	})
	for _, at := range append(both, "session.before-rotate", "session.before-promote") {
		t.Run("change of the secret, "+at, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, t.TempDir(), chaos, "agent", overlay.AgentPoints())
			require.NoError(t, n.command("enroll", "--data", n.data, s.enrollment(t)).Run())
			device := n.deviceID(t)
			require.NoError(t, os.WriteFile(filepath.Join(n.data, "agent.json"), []byte(`{"schedule":"@every 10s","jitter":"0s","listener":{"enabled":false}}`), 0o600))
			n.args = []string{"run", "--data", n.data}
			n.keep(t)
			s.awaitConnected(t, device)
			secret := n.identity(t, "secret")
			require.NoError(t, point.Arm(n.dir, at))
			await(t, "the kill at "+at, func() (bool, string) {
				s.call(t, "POST", "/devices/"+device+"/wakeup", nil, nil)
				return len(point.Armed(n.dir)) == 0 && !n.running(), fmt.Sprint(point.Armed(n.dir))
			})
			n.keep(t)
			await(t, "the change of the secret to be complete", func() (bool, string) {
				s.call(t, "POST", "/devices/"+device+"/wakeup", nil, nil)
				return n.identity(t, "secret") != secret && n.identity(t, "next_secret") == "", ""
			})
			id, _ := s.assign(t, s.offer(t, spec{Name: uuid.NewString(), Priority: 5, Action: "execute", Command: []string{"true"}}), device)
			s.awaitState(t, id, "succeeded")
			require.Equal(t, "active", s.device(t, device).State)
		})
	}
}

// identity is a field of the node's identity.json.
func (n *node) identity(t *testing.T, field string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(n.data, "servers", "*", "identity.json"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	b, err := os.ReadFile(found[0])
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), `"`+field+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func (n *node) deviceID(t *testing.T) string {
	t.Helper()
	return n.identity(t, "device_id")
}
