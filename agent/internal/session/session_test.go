package session_test

import (
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/session"
	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/schedule"
	"github.com/muster/muster/packages/trust"
)

// host is a session with a host that records.
type host struct {
	*session.Session
	server *agenttest.Server
	store  *identity.Store
	spool  *spool.Spool

	mu        sync.Mutex
	offers    [][]protocol.Task
	untrusted error // of the newest offer
	offline   int
	bug       bool // Offer panics
}

func (h *host) offered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.offers)
}

func enroll(t *testing.T, s *agenttest.Server) *identity.Store {
	t.Helper()
	store := identity.Open(t.TempDir(), "test")
	_, _, err := identity.Enroll(t.Context(), store, s.Enrollment(), facts.Read(nil))
	require.NoError(t, err)
	return store
}

func open(t *testing.T, s *agenttest.Server, store *identity.Store, every string) *host {
	t.Helper()
	return openPinging(t, s, store, every, 0)
}

func openPinging(t *testing.T, s *agenttest.Server, store *identity.Store, every string, ping time.Duration) *host {
	t.Helper()
	h := &host{server: s, store: store}
	var err error
	h.spool, err = spool.Open(filepath.Join(store.Dir(), "spool"), spool.Limits{})
	require.NoError(t, err)
	sched, err := schedule.Parse(every)
	require.NoError(t, err)
	h.Session, err = session.New(session.Options{
		Store: store, Schedule: sched, Spool: h.spool, Instance: uuid.NewString(), PingEvery: ping, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Host: session.Host{
			Facts:    func() protocol.Facts { return facts.Read([]string{"deploy"}) },
			Attempts: func() []string { return nil },
			Offer: func(tasks []protocol.Task, untrusted error) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.offers, h.untrusted = append(h.offers, tasks), untrusted
				if h.bug {
					panic("a bug")
				}
			},
			Offline: func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.offline++
			},
			Changed: func() {}, Settled: func() {},
		},
	})
	require.NoError(t, err)
	return h
}

// start runs the session until the test ends.
func (h *host) start(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); h.Run(t.Context()) }()
	t.Cleanup(func() { <-done; require.NoError(t, h.spool.Close()) })
}

func report(t *testing.T, text string) protocol.Report {
	t.Helper()
	r, err := attempt.NewReport(time.Now(), protocol.DeploymentReport{
		DeploymentID: uuid.NewString(), AttemptID: uuid.NewString(), State: protocol.StateFailed, Reason: protocol.ReasonDeviceError, Output: text,
	})
	require.NoError(t, err)
	return r
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, agenttest.Deadline, 5*time.Millisecond, what)
}

func TestSession_checksInWhenConnectedAndWhenWoken(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := open(t, s, enroll(t, s), "@every 1h")
	h.start(t)
	eventually(t, "connected and checked in", func() bool { return s.Sockets() == 1 && len(s.CheckIns()) >= 1 })
	first := s.CheckIns()[0]
	require.NotNil(t, first.Facts, "the first check-in tells the facts")
	require.Equal(t, 1, first.TrustVersion)
	eventually(t, "check-ins settle", func() bool { return h.Status().Connected && h.offered() == len(s.CheckIns()) })

	before := len(s.CheckIns())
	s.Wakeup()
	eventually(t, "a wakeup brings a check-in", func() bool { return len(s.CheckIns()) > before })
	last := s.CheckIns()[len(s.CheckIns())-1]
	require.Nil(t, last.Facts, "unchanged facts are not told again")
	require.True(t, last.Connected)

	before = len(s.CheckIns())
	s.DropSockets()
	eventually(t, "a reconnect brings a check-in", func() bool { return s.Sockets() == 1 && len(s.CheckIns()) > before })
}

func TestSession_deliversByWebSocketAndForgetsWhatIsAcked(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := open(t, s, enroll(t, s), "@every 1h")
	h.start(t)
	eventually(t, "connected", func() bool { return h.Status().Connected })
	require.NoError(t, h.spool.Add(t.Context(), report(t, "one"), report(t, "two")))
	eventually(t, "delivered", func() bool { return len(s.Reports()) == 2 && h.spool.Len() == 0 })
	require.Equal(t, 2, s.BySocket())
}

func TestSession_deliversLargeBatchesByHTTPS(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := open(t, s, enroll(t, s), "@every 1h")
	text := make([]byte, 60<<10)
	for n := range text {
		text[n] = 'x'
	}
	for range 30 { // 1.8 MB before the session starts: one batch over the limit of a message
		require.NoError(t, h.spool.Add(t.Context(), report(t, string(text))))
	}
	h.start(t)
	eventually(t, "delivered", func() bool { return len(s.Reports()) == 30 && h.spool.Len() == 0 })
	require.Zero(t, s.BySocket())
}

func TestSession_worksWhereWebSocketsAreRefused(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	s.Fail = func(_ http.ResponseWriter, r *http.Request) int {
		if r.URL.Path == protocol.PathSocket {
			return http.StatusForbidden // as a proxy does that knows no upgrades
		}
		return 0
	}
	s.NextSeconds = 1
	h := open(t, s, enroll(t, s), "@every 1h")
	require.NoError(t, h.spool.Add(t.Context(), report(t, "by https")))
	h.start(t)
	eventually(t, "reports go by HTTPS", func() bool { return len(s.Reports()) == 1 && h.spool.Len() == 0 })
	eventually(t, "check-ins go on", func() bool { return len(s.CheckIns()) >= 3 })
	require.False(t, h.Status().Connected)
	require.Zero(t, s.BySocket())
}

func TestSession_refusedReportsAreDropped(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := open(t, s, enroll(t, s), "@every 1h")
	bad := report(t, "bad")
	bad.Deployment.State = protocol.StateAssigned
	require.NoError(t, h.spool.Add(t.Context(), bad, report(t, "good")))
	require.NoError(t, h.Flush(t.Context()))
	require.Len(t, s.Reports(), 1)
	require.Zero(t, h.spool.Len())
}

func TestSession_aBatchTheServerCannotTakeIsDeliveredOneByOne(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := open(t, s, enroll(t, s), "@every 1h")
	s.Lock()
	s.Fail = func(_ http.ResponseWriter, r *http.Request) int {
		if r.URL.Path == protocol.PathReports && r.ContentLength > 2000 {
			return http.StatusRequestEntityTooLarge
		}
		return 0
	}
	s.Unlock()
	big := make([]byte, 5000)
	for n := range big {
		big[n] = 'x'
	}
	require.NoError(t, h.spool.Add(t.Context(), report(t, "a"), report(t, string(big)), report(t, "b")))
	require.NoError(t, h.Flush(t.Context()))
	require.Len(t, s.Reports(), 2, "the one that fits nowhere holds back no others")
	require.Zero(t, h.spool.Len())
}

func TestSession_keepsItsNextCheckInOverARestart(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	store := enroll(t, s)
	h := open(t, s, store, "@every 1h")
	require.NoError(t, h.CheckIn(t.Context()))
	next := h.Status().NextCheckIn
	require.WithinDuration(t, time.Now().Add(time.Hour), next, time.Minute)
	require.NoError(t, h.spool.Close())

	again := open(t, s, store, "@every 1h")
	require.WithinDuration(t, next, again.Status().NextCheckIn, time.Second)
	require.NoError(t, again.CheckIn(t.Context()))
	require.Nil(t, s.CheckIns()[1].Facts, "nor does it forget that the server has its facts")
}

func TestSession_honoursRetryAfter(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := open(t, s, enroll(t, s), "@every 1h")
	s.Lock()
	s.Fail = func(w http.ResponseWriter, _ *http.Request) int {
		w.Header().Set("Retry-After", "600")
		return http.StatusServiceUnavailable
	}
	s.Unlock()
	require.ErrorContains(t, h.CheckIn(t.Context()), "made to fail")
	require.Greater(t, time.Until(h.Status().NextCheckIn), 590*time.Second)
	require.Equal(t, 1, h.offline)
	require.NotEmpty(t, h.Status().Problem)

	s.Lock()
	s.Fail = nil
	s.Unlock()
	require.NoError(t, h.CheckIn(t.Context()))
	require.Empty(t, h.Status().Problem)
	require.Equal(t, 1, h.offered())
}

func TestSession_isQuietWhenTheServerDoesNotKnowIt(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := open(t, s, enroll(t, s), "@every 15m")
	s.Forget(h.Status().DeviceID)
	require.Error(t, h.CheckIn(t.Context()))
	require.Greater(t, time.Until(h.Status().NextCheckIn), 59*time.Minute)
	require.Zero(t, h.offline, "nothing goes on in the name of a server that has revoked this device")
}

// TestSession_comesBackWholeWhenTheServerWantsItAgain: after a refusal the agent is quiet for an hour, but an
// admin's approval is not only for check-ins.
func TestSession_comesBackWholeWhenTheServerWantsItAgain(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := open(t, s, enroll(t, s), "@every 24h")
	h.start(t)
	eventually(t, "connected and checked in", func() bool { return h.Status().Connected && h.offered() > 0 })
	var reports, sockets atomic.Int32
	s.Lock()
	s.Fail = func(_ http.ResponseWriter, r *http.Request) int {
		switch r.URL.Path {
		case protocol.PathReports:
			reports.Add(1)
		case protocol.PathSocket:
			sockets.Add(1)
		}
		return http.StatusUnauthorized
	}
	s.Unlock()
	s.DropSockets()
	eventually(t, "refused", func() bool { return h.Status().DeviceState == identity.StateRefused && sockets.Load() > 0 })
	require.NoError(t, h.spool.Add(t.Context(), report(t, "what waited")))
	eventually(t, "the report is refused", func() bool { return reports.Load() > 0 })
	s.Lock()
	s.Fail = nil
	s.Unlock()
	require.NoError(t, h.CheckIn(t.Context()))
	eventually(t, "connected again, and delivered", func() bool { return h.Status().Connected && len(s.Reports()) == 1 })
}

func TestSession_backsOffWhenThereIsNoServer(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	store := enroll(t, s)
	id, err := store.Load()
	require.NoError(t, err)
	id.URLs = []string{"https://" + closedPort(t)}
	require.NoError(t, store.Save(id))
	h := open(t, s, store, "@every 1m")
	for range 12 {
		require.ErrorContains(t, h.CheckIn(t.Context()), "cannot be reached")
		require.LessOrEqual(t, time.Until(h.Status().NextCheckIn), time.Minute, "never longer than the interval")
	}
	require.Equal(t, 1, h.offline, "told once")
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func TestSession_triesItsOtherAddresses(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	store := enroll(t, s)
	id, err := store.Load()
	require.NoError(t, err)
	id.URLs = []string{"https://" + closedPort(t), s.URL()}
	require.NoError(t, store.Save(id))
	h := open(t, s, store, "@every 1h")
	require.NoError(t, h.CheckIn(t.Context()))
	require.Equal(t, s.URL(), h.Status().URL)
}

func TestSession_changesItsSecretWhenItIsOld(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	store := enroll(t, s)
	old := age(t, store)
	h := open(t, s, store, "@every 1h")
	require.NoError(t, h.CheckIn(t.Context()))
	id, err := store.Load()
	require.NoError(t, err)
	require.NotEqual(t, old, id.Secret)
	require.Empty(t, id.NextSecret)
	require.Equal(t, protocol.HashSecret(id.Secret), s.Secret(id.DeviceID))
}

func TestSession_keepsTheOldSecretWhenTheServerNeverHeardOfTheNext(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	store := enroll(t, s)
	old := age(t, store)
	s.Lock()
	s.Fail = func(_ http.ResponseWriter, r *http.Request) int {
		if r.URL.Path == protocol.PathRotate {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	s.Unlock()
	h := open(t, s, store, "@every 1h")
	require.NoError(t, h.CheckIn(t.Context()), "after a 401 the other secret is tried")
	id, err := store.Load()
	require.NoError(t, err)
	require.Equal(t, old, id.Secret)
}

func TestSession_fallsBackToTheOldSecretForAServerThatWasRestored(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	store := enroll(t, s)
	old := age(t, store)
	h := open(t, s, store, "@every 1h")
	require.NoError(t, h.CheckIn(t.Context()))
	id, err := store.Load()
	require.NoError(t, err)
	require.Equal(t, old, id.OldSecret)
	s.SetSecret(id.DeviceID, protocol.HashSecret(old)) // from the backup
	require.NoError(t, h.CheckIn(t.Context()))
	require.NoError(t, h.CheckIn(t.Context()), "and goes on with it")
	id, err = store.Load()
	require.NoError(t, err)
	require.Equal(t, old, id.Secret)
	require.Empty(t, id.OldSecret)
}

func TestSession_usesTheNextSecretAfterACrashInBetween(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	store := enroll(t, s)
	id, err := store.Load()
	require.NoError(t, err)
	next := identity.Secret()
	id.NextSecret = next // persisted; then the server was told, and the agent crashed
	require.NoError(t, store.Save(id))
	s.SetNext(id.DeviceID, protocol.HashSecret(next))
	h := open(t, s, store, "@every 1h")
	require.NoError(t, h.CheckIn(t.Context()))
	id, err = store.Load()
	require.NoError(t, err)
	require.Equal(t, next, id.Secret)
}

// age makes the secret old enough to be changed, and returns it.
func age(t *testing.T, store *identity.Store) string {
	t.Helper()
	id, err := store.Load()
	require.NoError(t, err)
	id.SecretAt = time.Now().Add(-40 * 24 * time.Hour)
	require.NoError(t, store.Save(id))
	return id.Secret
}

func TestSession_takesOverNewTrustDocumentsAndRefusesForgedOnes(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	store := enroll(t, s)
	h := open(t, s, store, "@every 1h")
	s.Publish(t, &trust.Document{Version: 2, Keys: []trust.Key{s.Root(), s.Key.Entry(trust.RoleAuthor)}})
	require.NoError(t, h.CheckIn(t.Context()))
	require.NoError(t, h.CheckIn(t.Context()))
	require.Equal(t, 2, s.CheckIns()[1].TrustVersion)

	other := agenttest.New(t) // another root
	other.Publish(t, &trust.Document{Version: 3, Keys: []trust.Key{other.Root(), other.Key.Entry(trust.RoleAuthor)}})
	s.Append(other.Trust()[1])
	require.NoError(t, h.CheckIn(t.Context()))
	require.NoError(t, h.CheckIn(t.Context()))
	require.Equal(t, 2, s.CheckIns()[3].TrustVersion, "the one before stays in force")
	require.ErrorContains(t, h.untrusted, "trust document is refused", "the host is told: nothing may be begun")
	require.Contains(t, h.Status().Problem, "trust document is refused")
	require.Less(t, time.Until(h.Status().NextCheckIn), time.Minute, "asked for again soon")

	s.Withdraw()
	require.NoError(t, h.CheckIn(t.Context()))
	require.NoError(t, h.untrusted)
	require.Empty(t, h.Status().Problem)
	require.Greater(t, time.Until(h.Status().NextCheckIn), 50*time.Minute)
}

func TestSession_doesNotBelieveAbsurdAnswers(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := open(t, s, enroll(t, s), "@every 1h")
	for _, seconds := range []int{math.MaxInt, math.MaxInt / int(time.Second), -1, math.MinInt} {
		s.Lock()
		s.NextSeconds = seconds
		s.Unlock()
		require.NoError(t, h.CheckIn(t.Context()))
		require.Greater(t, time.Until(h.Status().NextCheckIn), 50*time.Minute, "%d", seconds)
	}
}

// sleeping makes a session whose next check-in is far away, so that only its WebSocket speaks.
func sleeping(t *testing.T, s *agenttest.Server, change func(*identity.Identity)) *host {
	t.Helper()
	store := enroll(t, s)
	id, err := store.Load()
	require.NoError(t, err)
	change(&id)
	require.NoError(t, store.Save(id))
	require.NoError(t, store.SaveState(identity.State{NextCheckIn: time.Now().Add(time.Hour)}))
	h := open(t, s, store, "@every 2h")
	h.start(t)
	return h
}

func TestSession_connectsWithTheNextSecretWhenTheServerHasTakenIt(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := sleeping(t, s, func(id *identity.Identity) {
		id.NextSecret = identity.Secret() // told and used; the answer was lost, so both are still kept here
		s.SetSecret(id.DeviceID, protocol.HashSecret(id.NextSecret))
	})
	eventually(t, "connected", func() bool { return h.Status().Connected })
	eventually(t, "the old secret is forgotten", func() bool {
		id, err := h.store.Load()
		return err == nil && id.NextSecret == "" && protocol.HashSecret(id.Secret) == s.Secret(id.DeviceID)
	})
}

func TestSession_connectsByItsOtherAddress(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	h := sleeping(t, s, func(id *identity.Identity) { id.URLs = []string{"https://" + closedPort(t), s.URL()} })
	eventually(t, "connected by the address that answers", func() bool { return h.Status().Connected })
}
