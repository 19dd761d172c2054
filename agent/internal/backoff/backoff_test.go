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
