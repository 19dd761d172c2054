//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ending is a way in which somebody ends a deployment, and what the deployment then says.
type ending struct {
	end   func(t *testing.T, s *server, packageID, deployment, assignment string)
	state string
	says  string
}

var endings = map[string]ending{
	"cancel": {func(t *testing.T, s *server, _, deployment, _ string) {
		s.call(t, "POST", "/deployments/"+deployment+"/cancel", nil, nil)
	}, "cancelled", "cancelled by admin"},
	"unassign": {func(t *testing.T, s *server, _, _, assignment string) {
		s.call(t, "DELETE", "/assignments/"+assignment, nil, nil)
	}, "unassigned", "assignment taken back by admin"},
	"retire": {func(t *testing.T, s *server, packageID, _, _ string) {
		s.call(t, "POST", "/packages/"+packageID+"/retire", nil, nil)
	}, "cancelled", "was retired"},
}

// gated is a package whose command writes to the ledger, waits for the gate, and writes again.
func gated(t *testing.T, s *server, name string, more map[string]any) (packageID, ledger, gate string) {
	t.Helper()
	ledger = filepath.Join(t.TempDir(), "ledger")
	packageID, gate = s.offerGated(t, name, "echo ran >> '"+ledger+"'", "echo ended >> '"+ledger+"'", more)
	return packageID, ledger, gate
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	await(t, path, func() (bool, string) {
		_, err := os.Stat(path)
		return err == nil, fmt.Sprint(err)
	})
}

// TestControl_whileTheCommandRuns: whoever ends a deployment whose command runs does not stop the command.
// Its result is recorded, the deployment stays ended, and the next package runs.
func TestControl_whileTheCommandRuns(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, database string) {
		s := startServer(t, database)
		for name, e := range endings {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a := startAgent(t, s)
				pkg, ledger, gate := gated(t, s, "runs-"+name, nil)
				id, assignment := s.assign(t, pkg, a.device)
				awaitFile(t, ledger)
				s.awaitEntry(t, id, "started", "")

				e.end(t, s, pkg, id, assignment)
				status, body := s.try(t, "POST", "/deployments/"+id+"/cancel", nil)
				require.Equal(t, 409, status, "it is over: %s", body)
				next, _ := s.assign(t, s.offer(t, spec{Name: "next-" + name, Priority: 5, Action: "execute", Command: []string{"true"}}), a.device)
				require.NoError(t, os.WriteFile(gate, nil, 0o600))
				s.awaitState(t, next, "succeeded")
				require.Equal(t, []string{"ran", "ended"}, readLines(t, ledger), "the command was left alone")

				s.awaitEntry(t, id, "succeeded", "exit_code")
				d := s.deployment(t, id)
				require.Equal(t, e.state, d.State, d.story())
				said := d.entry(e.state, "").Message
				require.Contains(t, said, e.says)
				require.Contains(t, said, "its command has started and is not stopped")
				require.Equal(t, 0, *d.entry("succeeded", "exit_code").ExitCode)
			})
		}
	})
}

// TestControl_beforeTheCommandRuns: whoever ends a deployment that the device holds, but has not begun to run,
// keeps it from running, whatever it waited for.
func TestControl_beforeTheCommandRuns(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for name, wait := range map[string]func(t *testing.T, s *server, a *agent) (more map[string]any, reason string, free func()){
		"another change is running":   holdChange,
		"the disk is too full":        fillDisk,
		"a failed attempt comes back": failOnce,
		"priority 0 holds it back":    holdByPriority0,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for kind, e := range endings {
				endWaiting(t, s, name+" "+kind, wait, e)
			}
		})
	}
}

func endWaiting(t *testing.T, s *server, name string, wait func(*testing.T, *server, *agent) (map[string]any, string, func()), e ending) {
	t.Helper()
	a := enroll(t, s, s.enrollment(t))
	ledger := filepath.Join(t.TempDir(), "ledger")
	more, reason, free := wait(t, s, a)
	pkg := s.offer(t, spec{
		Name: name, Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", fmt.Sprintf("echo ran >> '%s'; exit 7", ledger)}, More: more,
	})
	id, assignment := s.assign(t, pkg, a.device)
	a.once(t)
	waiting := s.deployment(t, id)
	require.Equal(t, "waiting", waiting.State, waiting.story())
	require.Equal(t, reason, waiting.Reason, waiting.story())
	before := lines(ledger)

	e.end(t, s, pkg, id, assignment)
	free()
	if reason == "retry_backoff" { // before its time it would not run in any case
		next := waiting.entry("waiting", reason).NextAt
		await(t, "the time of the next attempt", func() (bool, string) { return time.Now().After(*next), next.String() })
	}
	after, _ := s.assign(t, s.offer(t, spec{Name: name + " after", Priority: 5, Action: "execute", Command: []string{"true"}}), a.device)
	a.once(t)
	s.awaitState(t, after, "succeeded")
	require.Equal(t, before, lines(ledger), "it ran although it was ended")
	d := s.deployment(t, id)
	require.Equal(t, e.state, d.State, d.story())
	require.Contains(t, d.entry(e.state, "").Message, e.says)
	require.NotContains(t, d.entry(e.state, "").Message, "has started")
}

func lines(path string) int {
	b, _ := os.ReadFile(path)
	return strings.Count(string(b), "\n")
}

// holdChange lets another agent of the same computer change it.
func holdChange(t *testing.T, s *server, a *agent) (map[string]any, string, func()) {
	lock := filepath.Join(t.TempDir(), "change.lock")
	other := enroll(t, s, s.enrollment(t))
	other.configure(t, map[string]any{"change_lock": lock})
	a.configure(t, map[string]any{"change_lock": lock})
	pkg, ledger, gate := gated(t, s, "holds "+a.device, nil)
	id, _ := s.assign(t, pkg, other.device)
	other.run(t)
	awaitFile(t, ledger)
	return nil, "busy", func() {
		require.NoError(t, os.WriteFile(gate, nil, 0o600))
		s.awaitState(t, id, "succeeded")
		other.stop(t) // its runner is gone too, and with it the lock
	}
}

func fillDisk(t *testing.T, _ *server, a *agent) (map[string]any, string, func()) {
	free, total := diskOf(t, a.data)
	return map[string]any{"requires": map[string]any{"min_disk_bytes": free + (total-free)/2}}, "disk_space", func() {}
}

func failOnce(*testing.T, *server, *agent) (map[string]any, string, func()) {
	return map[string]any{"retry": map[string]any{"attempts": 3, "delay_seconds": 4}}, "retry_backoff", func() {}
}

func holdByPriority0(t *testing.T, s *server, a *agent) (map[string]any, string, func()) {
	flag := filepath.Join(t.TempDir(), "flag")
	id, _ := s.assign(t, s.offer(t, spec{Name: "first " + a.device, Action: "execute", Command: []string{"test", "-e", flag}}), a.device)
	return nil, "held_by_priority_0", func() {
		require.NoError(t, os.WriteFile(flag, nil, 0o600))
		s.call(t, "POST", "/deployments/"+id+"/retry", nil, nil)
	}
}

// TestRetry is the package's policy, and what an admin does when it is exhausted.
func TestRetry(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	t.Run("as often as the package says, then by hand", func(t *testing.T) {
		t.Parallel()
		retryByPolicy(t, s)
	})
	t.Run("an exit code that asks for it", func(t *testing.T) {
		t.Parallel()
		a := enroll(t, s, s.enrollment(t))
		id, _ := s.assign(t, s.offer(t, spec{
			Name: "asks-for-later", Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", "exit 18"},
			More: map[string]any{"exit_codes": []map[string]any{{"code": 18, "outcome": "retry"}}},
		}), a.device)
		a.once(t)
		d := s.deployment(t, id)
		require.Equal(t, "retry_later", d.entry("failed", "").Reason, d.story())
		again := d.entry("waiting", "retry_backoff")
		require.InDelta(t, 30, again.NextAt.Sub(again.Time).Seconds(), 7, "half a minute, give or take a fifth")
		require.Contains(t, d.Summary, "attempt 2 not before")
		a.once(t)
		require.Contains(t, s.deployment(t, id).requireNothingEarly(t), 2)
	})
	t.Run("after a refusal", func(t *testing.T) {
		t.Parallel()
		a := enroll(t, s, s.enrollment(t))
		servers, err := filepath.Glob(filepath.Join(a.data, "servers", "*"))
		require.NoError(t, err)
		a.configure(t, map[string]any{"servers": []map[string]any{{"name": filepath.Base(servers[0]), "tasks_allowed": []string{}}}})
		id, _ := s.assign(t, s.offer(t, spec{Name: "denied", Priority: 5, Action: "execute", Command: []string{"true"}}), a.device)
		a.once(t)
		require.Equal(t, "not_allowed", s.awaitState(t, id, "refused").Reason)
		a.configure(t, map[string]any{"servers": []map[string]any{}})
		s.call(t, "POST", "/deployments/"+id+"/retry", nil, nil)
		a.once(t)
		require.Equal(t, 2, s.awaitState(t, id, "succeeded").Attempt)
	})
}

func retryByPolicy(t *testing.T, s *server) {
	a := startAgent(t, s)
	dir := t.TempDir()
	ledger, flag := filepath.Join(dir, "ledger"), filepath.Join(dir, "flag")
	id, _ := s.assign(t, s.offer(t, spec{
		Name: "fails", Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", fmt.Sprintf("echo ran >> '%s'; test -e '%s'", ledger, flag)},
		More: map[string]any{"retry": map[string]any{"attempts": 3, "delay_seconds": 1}},
	}), a.device)
	var d deployment
	await(t, "the last attempt", func() (bool, string) {
		d = s.deployment(t, id)
		return d.Attempt == 3 && d.State == "failed", d.story()
	})
	require.Len(t, readLines(t, ledger), 3)
	require.Len(t, d.requireNothingEarly(t), 2)

	require.NoError(t, os.WriteFile(flag, nil, 0o600))
	s.call(t, "POST", "/deployments/"+id+"/retry", nil, nil)
	d = s.awaitState(t, id, "succeeded")
	require.Equal(t, 4, d.Attempt)
	require.Equal(t, "started again by admin", d.entry("assigned", "retry").Message)
}

// requireNothingEarly wants that it was on the timeline what happens next and when, and that it happened then. It
// returns the times by attempt.
func (d deployment) requireNothingEarly(t *testing.T) map[int]time.Time {
	t.Helper()
	next := map[int]time.Time{}
	for _, e := range d.Timeline {
		switch {
		case e.State == "waiting" && e.Reason == "retry_backoff":
			require.NotNil(t, e.NextAt, d.story())
			next[e.Attempt] = *e.NextAt
		case e.State == "started" && e.Attempt > 1:
			require.False(t, e.Time.Before(next[e.Attempt]), "attempt %d before its time: %s", e.Attempt, d.story())
		}
	}
	return next
}

// diskOf is the space of the disk that holds the folder, as far as an agent may use it.
func diskOf(t *testing.T, dir string) (free, total int64) {
	t.Helper()
	var st syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &st))
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize
}
