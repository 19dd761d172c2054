package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

const (
	deviceA = "019a0000-0000-7000-8000-00000000000a"
	deviceB = "019a0000-0000-7000-8000-00000000000b"
	deviceC = "019a0000-0000-7000-8000-00000000000c"
)

// fleet is a server with three devices and an active package.
func fleet(t *testing.T) (*fakeServer, *desk) {
	t.Helper()
	f := newFake(t)
	f.devices = []object{
		{"id": deviceA, "hostname": "pc-1", "state": "active"}, {"id": deviceB, "hostname": "pc-2", "state": "pending"},
		{"id": deviceC, "hostname": "pc-1", "state": "revoked"},
	}
	f.packages = []object{{"id": "019a0000-0000-7000-8000-0000000000ff", "name": "tool", "version": "1", "state": "active"}}
	return f, at(t, f)
}

func TestAssign_waitsForTheEnd(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		end  protocol.State
		code int
	}{
		"succeeded":      {protocol.StateSucceeded, 0},
		"not applicable": {protocol.StateNotApplicable, 0},
		"failed":         {protocol.StateFailed, 1},
		"refused":        {protocol.StateRefused, 1},
		"cancelled":      {protocol.StateCancelled, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, d := fleet(t)
			out, errs, done := d.begin("assign", "--package", "tool", "--device", "pc-1", "--device", deviceB, "--wait", "--timeout", "20s")
			require.Eventually(t, func() bool { return strings.Contains(out.String(), "pc-2") }, time.Minute, 5*time.Millisecond)
			f.set(protocol.StateStarted, "running")
			require.Eventually(t, func() bool { return strings.Count(out.String(), "running") == 2 }, time.Minute, 5*time.Millisecond)
			f.set(c.end, "the end")
			require.Equal(t, c.code, await(t, done))
			require.Equal(t, 2, strings.Count(out.String(), "the end"))
			require.Equal(t, 2*c.code, strings.Count(errs.String(), "muster deployment show "), "what failed is pointed at")
		})
	}
}

func TestAssign_timeout(t *testing.T) {
	t.Parallel()
	_, d := fleet(t)
	code, _, errs := d.run("assign", "--package", "tool@1", "--device", "pc-1", "--wait", "--timeout", "200ms")
	require.Equal(t, 4, code)
	require.Contains(t, errs, "1 deployment still open")
}

func TestWatch_byEventsAlone(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	d.ok("assign", "--package", "tool", "--device", "pc-1")
	d.poll = time.Hour
	out, _, done := d.begin("deployment", "watch", "--assignment", "a1")
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.sockets) == 1
	}, time.Minute, 5*time.Millisecond)
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "assigned") }, time.Minute, 5*time.Millisecond)
	f.set(protocol.StateSucceeded, "succeeded (exit code 0)")
	require.Zero(t, await(t, done))
	require.Contains(t, out.String(), "succeeded (exit code 0)")
}

func TestWatch_byPollingAlone(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	f.noEvents = true
	d.ok("assign", "--package", "tool", "--device", "pc-1")
	id := f.deployments[0]["id"].(string)
	_, _, done := d.begin("deployment", "watch", id, "--json")
	f.set(protocol.StateFailed, "failed")
	require.Equal(t, 1, await(t, done))
}

func TestWatch_errors(t *testing.T) {
	t.Parallel()
	_, d := fleet(t)
	for name, args := range map[string][]string{
		"nothing": {"deployment", "watch"}, "both": {"deployment", "watch", deviceA, "--device", "pc-1"},
		"negative": {"deployment", "watch", deviceA, "--timeout", "-1s"},
	} {
		code, _, errs := d.run(args...)
		require.Equal(t, 2, code, "%s: %s", name, errs)
	}
	code, _, errs := d.run("deployment", "watch", deviceA)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "no such deployment")
}

func TestAssign_usage(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	for name, args := range map[string][]string{
		"no package": {"assign", "--all"}, "no device": {"assign", "--package", "tool"},
		"both": {"assign", "--package", "tool", "--all", "--device", "pc-1"}, "timeout alone": {"assign", "--package", "tool", "--all", "--timeout", "1s"},
		"bad time": {"assign", "--package", "tool", "--all", "--not-before", "tomorrow"}, "argument": {"assign", "tool"},
		"bad id": {"unassign", "a1"},
	} {
		code, _, errs := d.run(args...)
		require.Equal(t, 2, code, "%s: %s", name, errs)
	}
	require.False(t, f.called("POST /assignments"))
	code, _, errs := d.run("assign", "--package", "tool", "--device", "pc-9")
	require.Equal(t, 1, code)
	require.Contains(t, errs, `no device "pc-9"`)
	require.Contains(t, d.ok("assign", "--package", "tool", "--device", "pc-1", "--not-before", "2h"), "Not before")
	require.Contains(t, d.ok("unassign", deviceA), "unassigned")
	require.Contains(t, d.ok("assignment", "list"), "a1")
}

func TestDeployment_showsTimelineAndOutput(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	d.ok("assign", "--package", "tool", "--device", "pc-1")
	x := f.deployments[0]
	id := x["id"].(string)
	x["state"], x["reason"], x["summary"], x["exit_code"] = "failed", "exit_code", "failed (exit code 3)", 3
	x["output"] = "line 1\n\x1b[2Jline 2\n"
	x["timeline"] = []object{
		{"seq": 1, "time": time.Now(), "source": "server", "attempt": 1, "state": "assigned", "message": "by ada"},
		{"seq": 2, "time": time.Now(), "source": "device", "attempt": 1, "state": "waiting", "reason": "held_by_priority_0", "waits_for": "base 1"},
		{"seq": 3, "time": time.Now(), "source": "device", "attempt": 1, "state": "failed", "reason": "exit_code", "exit_code": 3},
	}
	out := d.ok("deployment", "show", id)
	for _, want := range []string{"failed (exit code 3)", "waiting (held by priority 0)", "waits for: base 1", "line 1\n", "exit code 3"} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "\x1b", "a device cannot steer the terminal")
	var back map[string]any
	require.NoError(t, json.Unmarshal([]byte(d.ok("deployment", "show", id, "--json")), &back))
	require.Len(t, back["timeline"], 3)
	require.Contains(t, d.ok("deployment", "list", "--device", "pc-1", "--open"), "failed (exit code 3)")
	d.ok("deployment", "retry", id)
	d.ok("deployment", "cancel", id)
}

func TestDevice_commands(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	f.devices[1]["os_name"] = "Evil\x1b]0;title\x07 OS\nforged line"
	list := d.ok("device", "list")
	require.Equal(t, 4, strings.Count(list, "\n"), "a head and a line each: %s", list)
	require.NotContains(t, list, "\x1b")
	require.Contains(t, d.ok("device", "approve", "pc-2"), "active")
	require.Contains(t, d.ok("device", "show", "PC-1"), deviceA, "the one that is not revoked")
	require.Contains(t, d.ok("wakeup", "pc-1", "pc-2"), "pc-2: told to check in")
	d.terminal, d.in = true, "n\n"
	code, _, _ := d.run("device", "revoke", "pc-1")
	require.Equal(t, 1, code)
	require.Equal(t, "active", f.devices[0]["state"])
	require.Contains(t, d.ok("device", "revoke", "pc-1", "--yes"), "revoked")
	code, _, errs := d.run("device", "show", "pc-1")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "2 devices are called")
}

func TestAdmin_commands(t *testing.T) {
	t.Parallel()
	_, d := fleet(t)
	require.Equal(t, "MUSTER1-abc\n", d.ok("enrollment-token", "create", "--max-uses", "3"), "the string alone, for scripts")
	require.Contains(t, d.ok("enrollment-token", "create", "--json"), `"token": "secret"`)
	list := d.ok("enrollment-token", "list")
	for _, want := range []string{"used up", "revoked", "valid"} {
		require.Contains(t, list, want)
	}
	require.Contains(t, d.ok("enrollment-token", "revoke", "e1"), "revoked")
	require.Contains(t, d.ok("audit", "list"), "sign-package")
	require.Contains(t, d.ok("version"), "muster ")
	require.Contains(t, d.ok("version", "--json"), `"version"`)
	code, _, _ := d.run("enrollment-token", "create", "--expires-in", "30m")
	require.Equal(t, 2, code)
}

func TestMain_usage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, args := range [][]string{{"bogus"}, {"package"}, {"package", "bogus"}, {"package", "show"}, {"version", "x"}, {"device", "list", "--limit", "x"}, {"package", "create", "--no-sign", "--activate"}} {
		code, out, errs := d.run(args...)
		require.Equal(t, 2, code, "%v: %s", args, errs)
		require.Empty(t, out)
		require.True(t, strings.HasPrefix(errs, "muster: "))
	}
	require.Contains(t, d.ok("--help"), "package")
}
