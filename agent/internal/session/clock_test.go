package session_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/agent/internal/identity"
)

// A computer whose battery is empty wakes up decades ago: it enrolls, checks in and connects all the same,
// and says how wrong its clock is.
func TestSession_worksWithAClockThatIsYearsBehind(t *testing.T) {
	t.Parallel()
	const years = 50 * 365 * 24 * time.Hour
	s := agenttest.NewAhead(t, years)
	h := open(t, s, enroll(t, s), "@every 1h")
	h.start(t)
	eventually(t, "checked in and connected", func() bool { return len(s.CheckIns()) > 0 && h.Status().Connected })
	require.NoError(t, h.CheckIn(t.Context()))
	require.NoError(t, h.CheckIn(t.Context()))
	require.InDelta(t, -years.Seconds(), float64(h.Status().SkewSeconds), 60)
	told := false
	for _, c := range s.CheckIns() {
		told = told || (c.Facts != nil && c.Facts.ClockSkewSeconds == h.Status().SkewSeconds)
	}
	require.True(t, told, "the server hears of it")
}

// Here the certificate has ended by our clock. It is not believed, and the problem says what to do.
func TestSession_saysWhenTheClockIsFarAhead(t *testing.T) {
	t.Parallel()
	good := agenttest.New(t)
	store := enroll(t, good)
	late := agenttest.NewAhead(t, -10*365*24*time.Hour)
	id, err := store.Load()
	require.NoError(t, err)
	other := identity.Open(t.TempDir(), "late")
	_, _, err = identity.Enroll(t.Context(), other, late.Enrollment(), facts.Read(nil))
	require.ErrorContains(t, err, "set this computer's clock")
	wrong, err := other.Load()
	require.NoError(t, err)
	id.CAPEM, id.URLs = wrong.CAPEM, []string{late.URL()}
	require.NoError(t, store.Save(id))

	h := open(t, late, store, "@every 1h")
	require.ErrorContains(t, h.CheckIn(t.Context()), "set this computer's clock")
	require.Contains(t, h.Status().Problem, "the server's certificate ended at")
	require.Contains(t, h.Status().Problem, "this computer's clock says "+time.Now().UTC().Format("2006-01-02"))
	require.Empty(t, late.CheckIns())
}
