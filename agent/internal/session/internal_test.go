package session

import (
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/schedule"
)

func TestUntilClock_countsTheTimeThatAComputerSleeps(t *testing.T) {
	t.Parallel()
	before := time.Now()
	at := before.Add(time.Hour)
	// After a sleep the wall clock has gone on and the monotonic one has not.
	awake := before.Round(0).Add(2 * time.Hour)
	require.Equal(t, -time.Hour, untilClock(at, awake))
	require.Equal(t, time.Hour, untilClock(at, before))
}

func TestUntilClock_waitsForNoYearsOfAWrongClock(t *testing.T) {
	t.Parallel()
	wrong := time.Now()
	at := dueAt(time.Date(2031, 5, 6, 7, 8, 0, 0, time.UTC), wrong) // as a cron expression gives it
	away := at.Sub(wrong)
	// An hour later; meanwhile the clock was set back by ten years, which moves the wall clock alone.
	clock := wrong.Add(time.Hour)
	back := wrong.Round(0).AddDate(-10, 0, 0)
	require.Equal(t, away-time.Hour, untilClock(at, clock))
	require.Greater(t, at.Round(0).Sub(back), away+9*365*24*time.Hour, "by the wall clock alone it would be years away")
}

func TestSkew_isToldWhenItIsLargeAndHasChanged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ measured, told, want time.Duration }{
		{4 * time.Minute, 0, 0},
		{-6 * time.Minute, 0, -6 * time.Minute},
		{6*time.Minute + 1500*time.Millisecond, 0, 6*time.Minute + time.Second},
		{6*time.Minute + 50*time.Second, 6 * time.Minute, 6 * time.Minute}, // hardly changed
		{8 * time.Minute, 6 * time.Minute, 8 * time.Minute},
		{time.Minute, 6 * time.Minute, 0},
	} {
		require.Equal(t, c.want, skewOf(c.measured, c.told), "%+v", c)
	}
}

func TestRefused_howLongTheServerIsLeftAlone(t *testing.T) {
	t.Parallel()
	sched, err := schedule.Parse("@every 15m")
	require.NoError(t, err)
	s := &Session{o: Options{Schedule: sched}}
	for status, want := range map[int]time.Duration{
		http.StatusServiceUnavailable: 21 * time.Second, // as it asks
		http.StatusTooManyRequests:    21 * time.Second,
		http.StatusUnauthorized:       time.Hour + time.Second,
		http.StatusUpgradeRequired:    15*time.Minute + time.Second, // a proxy that knows no WebSockets
	} {
		require.Equal(t, want, s.refused(&refusedError{status, 20 * time.Second}, time.Second).Round(time.Second), "status %d", status)
	}
}

func FuzzReceive(f *testing.F) {
	sp, err := spool.Open(filepath.Join(f.TempDir(), "spool"), spool.Limits{})
	require.NoError(f, err)
	f.Cleanup(func() { _ = sp.Close() })
	s := &Session{o: Options{Spool: sp}, log: slog.New(slog.NewTextHandler(io.Discard, nil)), quiet: slog.New(slog.NewTextHandler(io.Discard, nil)), wake: make(chan struct{}, 1)}
	f.Add([]byte(`{"type":"wakeup"}`))
	f.Add([]byte(`{"type":"ack","ack":{"ids":["a","a"],"refused":[{"id":"b","code":"x","message":"y"}]}}`))
	f.Add([]byte(`{"type":"ack"}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		s.waiting = &waiter{ids: map[string]bool{"a": true, "b": true}, done: make(chan struct{})}
		s.receive(data)
		s.receive(data) // also after the waiter has gone
	})
}
