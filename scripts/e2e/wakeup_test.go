package e2e_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWakeupLatency prints how long it takes from the assignment to the exit code on the server, for
// 100 packages of 20 KB on a connected device. It asserts that all succeed, not how fast: that is the
// computer's matter.
func TestWakeupLatency(t *testing.T) {
	s := startServer(t, "")
	a := startAgent(t, s)
	const runs = 100
	packages := make([]string, runs)
	for i := range packages {
		padding := make([]byte, 20<<10) // does not compress: the archive is 20 KB
		_, _ = rand.Read(padding)
		archive := tarGz(t, script("run.sh", "exit 0"), file{"padding", 0o644, padding})
		packages[i] = s.offer(t, spec{Name: fmt.Sprintf("small-%03d", i), Priority: 5, Action: "launch", Command: []string{"run.sh"}, File: "small.tar.gz", Archive: archive})
	}
	took := make([]time.Duration, runs)
	for i, id := range packages {
		begin := time.Now()
		deployment, _ := s.assign(t, id, a.device)
		s.awaitQuickly(t, deployment)
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	t.Logf("assigned → exit code on the server, %d runs of a 20 KB package on a connected device: p50 %s, p99 %s, slowest %s",
		runs, took[runs/2].Round(time.Millisecond), took[runs*99/100-1].Round(time.Millisecond), took[runs-1].Round(time.Millisecond))
}

// awaitQuickly polls closely, so that the figure is not the poll's.
func (s *server) awaitQuickly(t *testing.T, id string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		d := s.deployment(t, id)
		if d.State == "succeeded" {
			require.Equal(t, 0, *d.ExitCode)
			return
		}
		require.NotContains(t, []string{"failed", "refused", "interrupted"}, d.State, d.story())
		select {
		case <-tick.C:
		case <-deadline.C:
			require.FailNow(t, "no exit code", d.story())
		}
	}
}

// TestNotConnected: an agent that is not there misses the wakeup; its next check-in brings the work.
func TestNotConnected(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	id, _ := s.assign(t, s.offer(t, spec{Name: "patient", Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", "exit 0"}}), a.device)
	require.Equal(t, "assigned", s.deployment(t, id).State)

	a.once(t)
	d := s.deployment(t, id)
	require.Equal(t, "succeeded", d.State, "once delivers its reports before it exits: %s", d.story())
}

// TestWebSocketRefused: a proxy in between refuses the upgrade. Check-ins, fragments and reports go by
// HTTPS alone, at the scheduled time.
func TestWebSocketRefused(t *testing.T) {
	t.Parallel()
	proxyPort := freePort(t)
	s := startServer(t, "", "--public-url", "https://127.0.0.1:"+proxyPort)
	p := startProxy(t, s, proxyPort, nil)
	a := enroll(t, s, s.enrollment(t))
	a.configure(t, map[string]any{"schedule": "@every 10s", "jitter": "0s"})
	a.run(t)
	await(t, "a refused upgrade", func() (bool, string) { return p.refused.Load() > 0, "none yet" })

	archive := tarGz(t, script("run.sh", "echo by HTTPS alone"))
	id, _ := s.assign(t, s.offer(t, spec{Name: "no-socket", Priority: 5, Action: "launch", Command: []string{"run.sh"}, File: "a.tar.gz", Archive: archive}), a.device)
	d := s.awaitState(t, id, "succeeded")
	require.Contains(t, d.Output, "by HTTPS alone")
	require.Positive(t, p.reports.Load(), "reports went by HTTPS")
	for _, d := range s.devices(t) {
		require.False(t, d.Connected)
	}
}
