package e2e_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestNetwork: each agent sits in a network namespace of its own and knows the server by another name and
// address than the server has; between them is what networks do.
func TestNetwork(t *testing.T) {
	t.Parallel()
	s := startServer(t, "", "--public-url", "https://"+wireName+":"+wirePort, "--public-url", "https://"+wireSecond+":"+wirePort,
		"--public-url", "https://["+wireSix+"]:"+wirePort)
	for name, run := range map[string]func(*testing.T, *server){
		"a line that is cut 20 times":          fetchOverACutLine,
		"a line slower than any limit":         fetchOverASlowLine,
		"a cable that is unplugged":            fetchOverAnUnpluggedCable,
		"an answer to a report that is lost":   reportWhoseAnswerIsLost,
		"a report that is cut in the middle":   reportThatIsCut,
		"handshakes and check-ins that break":  checkInThatIsCut,
		"an upload that is cut":                uploadThatIsCut,
		"a WebSocket that is dropped":          wakeupDuringAGap,
		"a first address that says nothing":    secondAddress,
		"an address of IPv6":                   addressOfSix,
		"names that cannot be found, and move": namesThatMove,
		"a proxy with a password":              behindAProxy,
		"proxies that say no":                  proxiesThatSayNo,
		"a clock that is wrong":                wrongClock,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, s)
		})
	}
}

// noise does not compress.
func noise(t *testing.T, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	_, err := rand.Read(data)
	require.NoError(t, err)
	return data
}

// status is what the agent says about its server.
func (a *agent) status(t *testing.T) (s struct {
	Connected   bool   `json:"connected"`
	Undelivered int    `json:"undelivered_reports"`
	Problem     string `json:"problem"`
	Skew        int64  `json:"clock_skew_seconds"`
},
) {
	t.Helper()
	var all struct {
		Servers []json.RawMessage `json:"servers"`
	}
	data, err := os.ReadFile(filepath.Join(a.data, "status.json"))
	if err != nil {
		return s // not yet
	}
	require.NoError(t, json.Unmarshal(data, &all))
	if len(all.Servers) > 0 {
		require.NoError(t, json.Unmarshal(all.Servers[0], &s))
	}
	return s
}

func (a *agent) awaitDelivered(t *testing.T) {
	t.Helper()
	await(t, "an empty spool", func() (bool, string) {
		s := a.status(t)
		return s.Undelivered == 0, fmt.Sprintf("%+v", s)
	})
}

// fetchOverACutLine: 200 MB over a line that is cut 20 times. At most the fragment in flight may be
// fetched again at each cut; one at a time is in flight.
func fetchOverACutLine(t *testing.T, s *server) {
	const size, cuts, fragment = 200 << 20, 20, 1 << 20
	w := newWire(t)
	r := w.relayTo(t, s)
	a := w.join(t, s)
	id := s.offer(t, spec{
		Name: "large", Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", "stat -c %s noise"},
		File: "large.zip", Archive: stored(t, file{"noise", 0o644, noise(t, size)}),
	})
	deployment, _ := s.assign(t, id, a.device)
	r.cutAfter(9_700_000, cuts) // far behind all that comes before the archive, however fast that goes
	before := r.down.Load()
	w.run(t, a)
	d := s.awaitLong(t, deployment, 2*patience, "succeeded")
	require.Equal(t, fmt.Sprintln(size), d.Output)
	require.Zero(t, r.left(t), "the line was cut %d times less", r.left(t))
	got := r.down.Load() - before
	again := got - size
	t.Logf("200 MB over a line cut %d times: %d bytes came over the line, %d more than the archive (%.2f fragments per cut)",
		cuts, got, again, float64(again)/fragment/cuts)
	// TLS and HTTP take about one part in 500.
	require.LessOrEqual(t, again, int64(cuts*fragment+size/100))
}

// fetchOverASlowLine: fetching takes many times the command's time limit. The limit is the command's
// alone.
func fetchOverASlowLine(t *testing.T, s *server) {
	w := newWire(t)
	w.relayTo(t, s)
	a := w.join(t, s)
	id := s.offer(t, spec{
		Name: "slow", Priority: 5, Action: "execute", Command: []string{"/bin/echo", "done"}, More: map[string]any{"time_limit_seconds": 1},
		File: "slow.zip", Archive: stored(t, file{"noise", 0o644, noise(t, 3<<20)}),
	})
	deployment, _ := s.assign(t, id, a.device)
	w.slow(t, 3)
	w.run(t, a)
	d := s.awaitState(t, deployment, "succeeded")
	took := d.entry("fetched", "").Time.Sub(d.entry("fetching", "").Time)
	require.Greater(t, took, 4*time.Second, "the line was not slow: %s", d.story())
	t.Logf("fetched for %s with a limit of 1 s for the command", took)
}

// fetchOverAnUnpluggedCable: packets vanish in the middle of a fragment, the server's side goes away
// meanwhile, and nobody hears of either.
func fetchOverAnUnpluggedCable(t *testing.T, s *server) {
	w := newWire(t)
	r := w.relayTo(t, s)
	a := w.join(t, s)
	id := s.offer(t, spec{
		Name: "unplugged", Priority: 5, Action: "execute", Command: []string{"/bin/echo", "done"},
		File: "unplugged.zip", Archive: stored(t, file{"noise", 0o644, noise(t, 3<<20)}),
	})
	deployment, _ := s.assign(t, id, a.device)
	w.slow(t, 8)
	w.run(t, a)
	s.awaitEntry(t, deployment, "fetching", "")
	begun := r.down.Load()
	await(t, "a fragment under way", func() (bool, string) { return r.down.Load() > begun+512<<10, fmt.Sprint(r.down.Load()) })
	w.plugged(t, false)
	r.cut()
	w.plugged(t, true)
	s.awaitLong(t, deployment, 2*patience, "succeeded")
	a.awaitDelivered(t)
}

// requireOnce checks that the timeline names each state of the attempt once.
func (d deployment) requireOnce(t *testing.T, states ...string) {
	t.Helper()
	count := map[string]int{}
	for _, e := range d.Timeline {
		count[e.State]++
	}
	for _, state := range states {
		require.Equal(t, 1, count[state], "%s: %s", state, d.story())
	}
}

// reportWhoseAnswerIsLost: the server commits the result, its acknowledgement never arrives. The result is
// told again, and the server has it once.
func reportWhoseAnswerIsLost(t *testing.T, s *server) {
	w := newWire(t)
	r := w.relayTo(t, s)
	a := w.join(t, s)
	id, gate := s.offerGated(t, "answer-lost", ":", "echo done", nil)
	deployment, _ := s.assign(t, id, a.device)
	w.run(t, a)
	s.awaitConnected(t, a.device)
	s.awaitState(t, deployment, "started")
	a.awaitDelivered(t)
	r.swallow(true)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	s.awaitState(t, deployment, "succeeded")
	await(t, "a report that is kept", func() (bool, string) { return a.status(t).Undelivered > 0, "no answer came, but none is kept" })
	r.cut()
	r.swallow(false)
	a.awaitDelivered(t)
	s.deployment(t, deployment).requireOnce(t, "accepted", "started", "succeeded")
}

// reportThatIsCut: the line is cut in the middle of the WebSocket message that carries the result, and in
// the middle of the ones after it.
func reportThatIsCut(t *testing.T, s *server) {
	w := newWire(t)
	r := w.relayTo(t, s)
	a := w.join(t, s)
	id, gate := s.offerGated(t, "cut-report", ":", "head -c 60000 /dev/zero | tr '\\0' x", nil)
	deployment, _ := s.assign(t, id, a.device)
	w.run(t, a)
	s.awaitConnected(t, a.device)
	s.awaitState(t, deployment, "started")
	a.awaitDelivered(t)
	r.cutUpAfter(20_000, 3)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	d := s.awaitState(t, deployment, "succeeded")
	require.Equal(t, strings.Repeat("x", 60000), d.Output)
	require.Zero(t, r.left(t), "the message was not cut")
	a.awaitDelivered(t)
	s.deployment(t, deployment).requireOnce(t, "started", "succeeded")
}

// checkInThatIsCut cuts after a few bytes of the handshake and then of the answer, further each time, until
// a check-in comes through. Nothing that is left behind keeps the next one from working.
func checkInThatIsCut(t *testing.T, s *server) {
	w := newWire(t)
	r := w.relayTo(t, s)
	a := w.join(t, s)
	deployment, _ := s.assign(t, s.offer(t, spec{Name: "cut-check-in", Priority: 5, Action: "execute", Command: []string{"/bin/echo", "done"}}), a.device)
	for _, bytes := range []int64{1, 300, 1200, 1700} {
		r.cutAfter(bytes, 1)
		got := w.once(t, a)
		require.NotZero(t, got.code, "cut after %d bytes", bytes)
		require.Contains(t, got.stderr, "the server cannot be reached")
		require.Zero(t, r.left(t))
	}
	got := w.once(t, a)
	require.Zero(t, got.code, got.stderr)
	d := s.deployment(t, deployment)
	require.Equal(t, "succeeded", d.State, d.story())
	d.requireOnce(t, "accepted", "started", "succeeded")
}

// uploadThatIsCut: `muster package create` is cut three times in the middle of the archive.
func uploadThatIsCut(t *testing.T, s *server) {
	w := newWire(t)
	r := w.relayTo(t, s)
	dir := t.TempDir()
	config, password, archive := filepath.Join(dir, "config.json"), filepath.Join(dir, "password"), filepath.Join(dir, "upload.zip")
	require.NoError(t, os.WriteFile(password, []byte(s.password+"\n"), 0o600))
	require.NoError(t, os.WriteFile(archive, stored(t, file{"run.sh", 0o755, []byte("#!/bin/sh\n")}, file{"noise", 0o644, noise(t, 20<<20)}), 0o600))
	got := w.command(t, "muster", "--config", config, "login", "https://"+wireName+":"+wirePort, "--username", "admin", "--password-file", password, "--ca-fingerprint", s.caHash)
	require.Zero(t, got.code, got.stderr)
	before := r.up.Load()
	r.cutUpAfter(5_000_000, 3)
	got = w.command(t, "muster", "--config", config, "package", "create", "--name", "uploaded", "--version", "1", "--action", "launch", "--no-sign", archive, "--", "run.sh")
	require.Zero(t, got.code, "%s%s", got.stdout, got.stderr)
	require.Zero(t, r.left(t), "the upload was not cut")
	again := r.up.Load() - before - 20<<20
	t.Logf("an upload of 20 MB cut 3 times: %d bytes more than the archive went over the line", again)
	require.Less(t, again, int64(8<<20), "what the server had was not sent again")
}

// wakeupDuringAGap: the WebSocket is dropped, and work is assigned while there is none. The agent connects
// again and hears of it with the greeting, long before its next scheduled check-in.
func wakeupDuringAGap(t *testing.T, s *server) {
	w := newWire(t)
	r := w.relayTo(t, s)
	a := w.join(t, s)
	a.configure(t, map[string]any{"schedule": "@every 24h"})
	w.run(t, a)
	s.awaitConnected(t, a.device)
	id := s.offer(t, spec{Name: "gap", Priority: 5, Action: "execute", Command: []string{"/bin/echo", "done"}})
	for range 2 {
		r.refuse(true)
		await(t, "the connection's end", func() (bool, string) {
			var d device
			s.call(t, "GET", "/devices/"+a.device, nil, &d)
			return !d.Connected, "still connected"
		})
		r.refuse(false)
		s.awaitConnected(t, a.device)
	}
	r.refuse(true)
	deployment, _ := s.assign(t, id, a.device)
	r.refuse(false)
	s.awaitState(t, deployment, "succeeded")
}

// secondAddress: packets to the first address vanish. Enrollment and check-ins take the second, each in
// bounded time.
func secondAddress(t *testing.T, s *server) {
	w := newWire(t)
	w.relayTo(t, s)
	a := w.join(t, s, "https://dead.test:"+wirePort, "https://"+wireSecond+":"+wirePort)
	begin := time.Now()
	w.run(t, a)
	s.awaitConnected(t, a.device)
	t.Logf("connected by the second address after %s", time.Since(begin).Round(time.Second))
}

func addressOfSix(t *testing.T, s *server) {
	w := newWire(t)
	r := w.relayTo(t, s, "["+wireSix+"]:"+wirePort)
	a := w.join(t, s, "https://["+wireSix+"]:"+wirePort)
	w.run(t, a)
	s.awaitConnected(t, a.device)
	require.Positive(t, r.opened.Load())
}
