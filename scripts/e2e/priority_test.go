package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// line is a package that adds its priority to a file: the file tells the order in which they ran.
func line(t *testing.T, s *server, order string, priority int) string {
	t.Helper()
	return s.offer(t, spec{Name: fmt.Sprintf("priority-%d", priority), Priority: priority, Action: "execute",
		Command: []string{"/bin/sh", "-c", fmt.Sprintf("echo %d >> '%s'", priority, order)}})
}

// TestPriority_order: without a failure, 0 comes first and 10 last, however they were assigned.
func TestPriority_order(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	order := filepath.Join(t.TempDir(), "order")
	var deployments []string
	for _, priority := range []int{10, 5, 0, 7, 1} {
		id, _ := s.assign(t, line(t, s, order, priority), a.device)
		deployments = append(deployments, id)
	}
	a.run(t)
	for _, id := range deployments {
		s.awaitState(t, id, "succeeded")
	}
	require.Equal(t, []string{"0", "1", "5", "7", "10"}, readLines(t, order))
}

// TestPriority_zeroHoldsBack: while a package of priority 0 has not succeeded on a device, no other
// package runs there; each that waits says so, and all go on when nothing holds them any more.
func TestPriority_zeroHoldsBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		requires map[string]any
		running  bool // the agent runs while the packages are assigned
		release  func(t *testing.T, s *server, a *agent, flag, deployment, assignment string)
		end      string // of the priority-0 deployment
	}{
		"until it succeeds": {nil, true, func(t *testing.T, s *server, _ *agent, flag, deployment, _ string) {
			require.NoError(t, os.WriteFile(flag, nil, 0o600))
			s.call(t, "POST", "/deployments/"+deployment+"/retry", nil, nil)
		}, "succeeded"},
		"until it is unassigned": {nil, true, func(t *testing.T, s *server, _ *agent, _, _, assignment string) {
			s.call(t, "DELETE", "/assignments/"+assignment, nil, nil)
		}, "unassigned"},
		"until it is cancelled": {nil, true, func(t *testing.T, s *server, _ *agent, _, deployment, _ string) {
			s.call(t, "POST", "/deployments/"+deployment+"/cancel", nil, nil)
		}, "cancelled"},
		"until it is found not applicable": {map[string]any{"os": []string{"plan9"}}, false, func(t *testing.T, _ *server, a *agent, _, _, _ string) {
			a.run(t)
		}, "not_applicable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, "")
			a := enroll(t, s, s.enrollment(t))
			if c.running {
				a.run(t)
				s.awaitConnected(t, a.device)
			}
			dir := t.TempDir()
			order, flag := filepath.Join(dir, "order"), filepath.Join(dir, "flag")
			first := spec{Name: "comes-first", Priority: 0, Action: "execute", Command: []string{"/bin/sh", "-c", fmt.Sprintf("test -e '%s'", flag)}}
			if c.requires != nil {
				first.More = map[string]any{"requires": c.requires}
			}
			zero, assignment := s.assign(t, s.offer(t, first), a.device)
			if c.running {
				e := s.awaitEntry(t, zero, "failed", "exit_code")
				require.Equal(t, 1, *e.ExitCode)
				s.awaitEntry(t, zero, "waiting", "retry_backoff")
			}

			held := map[int]string{}
			for _, priority := range []int{10, 1, 5} {
				held[priority], _ = s.assign(t, line(t, s, order, priority), a.device)
			}
			for _, id := range held {
				e := s.awaitEntry(t, id, "waiting", "held_by_priority_0")
				require.Contains(t, e.Message, "comes-first", "the timeline names what it waits for")
			}
			require.NoFileExists(t, order, "something ran although priority 0 holds it back")

			c.release(t, s, a, flag, zero, assignment)
			for _, id := range held {
				d := s.awaitState(t, id, "succeeded")
				require.NotNil(t, d.entry("waiting", "released"), d.story())
			}
			require.Equal(t, []string{"1", "5", "10"}, readLines(t, order))
			require.Equal(t, c.end, s.deployment(t, zero).State)
		})
	}
}

func readLines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.Fields(string(b))
}
