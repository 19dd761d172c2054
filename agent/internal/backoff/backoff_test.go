package backoff_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/backoff"
)

func TestBackoff_growsToItsCapAndResets(t *testing.T) {
	t.Parallel()
	b := backoff.Backoff{Base: time.Second, Cap: time.Minute}
	for n := range 100 {
		bound := time.Minute
		if n < 6 {
			bound = min(time.Second<<n, time.Minute)
		}
		wait := b.Next()
		require.LessOrEqual(t, wait, bound, "try %d", n)
		require.GreaterOrEqual(t, wait, bound/10, "try %d", n)
		require.Equal(t, n+1, b.Failures())
	}
	b.Reset()
	require.Zero(t, b.Failures())
	require.LessOrEqual(t, b.Next(), time.Second)
}

func TestBackoff_spreads(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 50 {
		b := backoff.Backoff{Base: time.Minute, Cap: time.Hour}
		seen[b.Next()] = true
	}
	require.Greater(t, len(seen), 40)
}

// TestBackoff_aFleetComesBackSpread is the restart of a server that ten thousand devices are connected to:
// how many knock in the busiest second, for a restart of any length. It computes; nothing waits.
func TestBackoff_aFleetComesBackSpread(t *testing.T) {
	t.Parallel()
	const devices = 10_000
	for _, c := range []struct {
		away time.Duration
		most int // tries in the busiest second after the server is back
	}{
		{5 * time.Second, devices / 4},
		{30 * time.Second, devices / 15},
		{5 * time.Minute, devices / 80},
		{time.Hour, devices / 150},
	} {
		seconds := map[int]int{}
		var last time.Duration
		for range devices {
			b := backoff.Backoff{Base: 2 * time.Second, Cap: 15 * time.Minute}
			at := b.Next()
			for at < c.away {
				at += b.Next()
			}
			seconds[int((at-c.away)/time.Second)]++
			last = max(last, at-c.away)
		}
		busiest := 0
		for _, n := range seconds {
			busiest = max(busiest, n)
		}
		t.Logf("%d devices, server away for %s: at most %d tries in a second, the last after %s", devices, c.away, busiest, last.Round(time.Second))
		require.LessOrEqual(t, busiest, c.most)
		require.LessOrEqual(t, last, 15*time.Minute)
	}
}
