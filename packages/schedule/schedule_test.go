package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/schedule"
)

func TestParse_refuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ text, says string }{
		"empty":               {"", "cron expression"},
		"blank":               {"  ", "cron expression"},
		"too long":            {strings.Repeat("1,", 200) + "1 * * * *", "at most"},
		"panicking zone":      {"TZ=0", "time zone"},
		"panicking cron zone": {"CRON_TZ=UTC", "time zone"},
		"zone":                {"TZ=Europe/Paris 0 4 * * *", "time zone"},
		"no such date":        {"0 0 30 2 *", "never comes"},
		"zero interval":       {"@every 0s", "too often"},
		"negative interval":   {"@every -5m", "too often"},
		"short interval":      {"@every 1s", "too often"},
		"interval in words":   {"@every hour", "length of time"},
		"six fields":          {"0 0 4 * * *", "cannot be read"},
		"out of range":        {"61 * * * *", "cannot be read"},
		"words":               {"every morning", "cannot be read"},
		"descriptor":          {"@nightly", "cannot be read"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := schedule.Parse(c.text)
			require.ErrorContains(t, err, c.says)
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
		})
	}
}

func TestParse_next(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 5, 10, 7, 30, 0, time.UTC)
	cases := map[string]struct {
		text     string
		next     time.Time
		interval time.Duration
	}{
		"interval":   {"@every 15m", at.Add(15 * time.Minute), 15 * time.Minute},
		"expression": {"*/15 * * * *", time.Date(2026, 3, 5, 10, 15, 0, 0, time.UTC), 15 * time.Minute},
		"daily":      {"30 4 * * *", time.Date(2026, 3, 6, 4, 30, 0, 0, time.UTC), 24 * time.Hour},
		"descriptor": {" @hourly ", time.Date(2026, 3, 5, 11, 0, 0, 0, time.UTC), time.Hour},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := schedule.Parse(c.text)
			require.NoError(t, err)
			require.Equal(t, c.next, s.Next(at))
			require.Equal(t, c.interval, s.Interval(at))
			require.Equal(t, strings.TrimSpace(c.text), s.String())
		})
	}
}

func TestSchedule_jitterStaysInside(t *testing.T) {
	t.Parallel()
	s, err := schedule.Parse("@every 1m")
	require.NoError(t, err)
	at := time.Date(2026, 3, 5, 10, 0, 0, 0, time.UTC)
	require.Equal(t, at.Add(time.Minute), s.NextJittered(at, 0))
	for range 200 {
		next := s.NextJittered(at, 30*time.Second)
		require.False(t, next.Before(at.Add(time.Minute)))
		require.True(t, next.Before(at.Add(90*time.Second)))
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"TZ=0", "CRON_TZ=UTC", "@every 15m", "@every 0s", "0 0 30 2 *", "*/15 * * * *", "@", "@every", "1-/3 * * * *"} {
		f.Add(text)
	}
	at := time.Date(2026, 3, 5, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := schedule.Parse(text)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
			return
		}
		require.True(t, s.Next(at).After(at))
		require.GreaterOrEqual(t, s.Interval(at), schedule.MinInterval)
	})
}
