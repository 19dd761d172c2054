package throttle

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestTake_comesBackWithTime(t *testing.T) {
	t.Parallel()
	th := New(time.Minute)
	b := Bucket{"a", 2}
	require.False(t, th.Empty(start, b), "nobody has failed")
	require.True(t, th.Take(start, b))
	require.True(t, th.Take(start, b))
	require.False(t, th.Take(start, b))
	require.True(t, th.Empty(start, b))
	require.True(t, th.Empty(start.Add(59*time.Second), b))
	require.False(t, th.Empty(start.Add(time.Minute), b))
	require.True(t, th.Take(start.Add(time.Minute), b))
	require.False(t, th.Take(start.Add(time.Minute), b))
	require.False(t, th.Take(start, b), "a clock that is set back gives nothing")

	later := start.Add(24 * time.Hour)
	require.True(t, th.Take(later, b))
	require.True(t, th.Take(later, b))
	require.False(t, th.Take(later, b), "never more than its size")
}

func TestGive_onlyWhatWasTaken(t *testing.T) {
	t.Parallel()
	th := New(time.Minute)
	b := Bucket{"a", 1}
	th.Give(b)
	require.True(t, th.Take(start, b))
	th.Give(b)
	th.Give(b)
	require.True(t, th.Take(start, b))
	require.False(t, th.Take(start, b))
}

func TestTake_allOrNone(t *testing.T) {
	t.Parallel()
	th := New(time.Minute)
	address, name := Bucket{"a", 1}, Bucket{"a|ada", 10}
	require.True(t, th.Take(start, address, name))
	require.False(t, th.Take(start, address, Bucket{"a|bob", 10}))
	require.NotContains(t, th.fill, "a|bob", "an address without tokens makes no buckets")
	th.Give(address)
	require.True(t, th.Take(start, address), "the refused one took nothing")
}

func TestThrottle_isBounded(t *testing.T) {
	t.Parallel()
	th := New(time.Minute)
	for n := range 3 * maxBuckets {
		th.Take(start, Bucket{fmt.Sprint(n), 2})
	}
	require.LessOrEqual(t, len(th.fill), maxBuckets)
	th.Take(start.Add(time.Hour), Bucket{"x", 2})
	require.NotEmpty(t, th.fill)
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "": "", "nonsense": "",
	} {
		require.Equal(t, want, Network(in), in)
	}
}
