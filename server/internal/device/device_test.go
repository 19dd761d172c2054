package device_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// live stands for the hub.
type live struct {
	mu        sync.Mutex
	connected []string
	cut       []string
	woken     []string
}

func (l *live) Connected(id string) bool { return slices.Contains(l.ConnectedIDs(), id) }
func (l *live) Notify(hub.Event)         {}
func (l *live) ConnectedIDs() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.connected)
}

func (l *live) Disconnect(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = append(l.cut, id)
}

func (l *live) Wake(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.woken = append(l.woken, id)
}

type env struct {
	t    testing.TB
	db   *store.DB
	svc  *device.Service
	live *live

	mu      sync.Mutex
	changes []device.Change
}

func each(t *testing.T, fn func(t *testing.T, e *env)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := &env{t: t, db: db, live: &live{}}
		e.svc = e.restart()
		e.svc.Subscribe(func(_ context.Context, c device.Change) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.changes = append(e.changes, c)
		})
		fn(t, e)
	})
}

// restart is another service over the same database.
func (e *env) restart() *device.Service {
	return device.New(device.Options{DB: e.db, Live: e.live, Log: slog.New(slog.DiscardHandler)})
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (e *env) token(t device.Token) string {
	e.t.Helper()
	if t.ExpiresAt.IsZero() {
		t.ExpiresAt = time.Now().Add(time.Hour)
	}
	_, secret, err := e.svc.CreateToken(e.t.Context(), t)
	require.NoError(e.t, err)
	return secret
}

// computer is the agent's side of an enrollment.
type computer struct{ id, nonce, secret string }

func (c computer) bearer() string { return protocol.Credential(c.id, c.secret) }

func (e *env) request(c computer, token string) protocol.EnrollRequest {
	return protocol.EnrollRequest{
		Protocol: 1, Token: token, Nonce: c.nonce, SecretSHA256: protocol.HashSecret(c.secret),
		Facts: protocol.Facts{Hostname: "pc-" + c.nonce[:4], OS: "linux", MachineID: "m1", IPs: []string{"192.0.2.1"}},
	}
}

func (e *env) enroll(approval bool) computer {
	e.t.Helper()
	c := computer{nonce: random(), secret: random()}
	d, err := e.svc.Enroll(e.t.Context(), e.request(c, e.token(device.Token{Name: "t", NeedsApproval: approval})), "192.0.2.7")
	require.NoError(e.t, err)
	c.id = d.ID
	return c
}

// checkIn checks in and returns the state of the device afterwards.
func (e *env) checkIn(svc *device.Service, c computer, instance, machine string) string {
	e.t.Helper()
	d, err := svc.Authenticate(e.t.Context(), c.bearer())
	require.NoError(e.t, err)
	d, err = svc.CheckIn(e.t.Context(), d, protocol.CheckInRequest{InstanceID: instance, MachineID: machine, AgentVersion: "1.2.3", TrustVersion: 4})
	require.NoError(e.t, err)
	return d.State
}

func TestEnroll_sameNonceSameDevice(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		token := e.token(device.Token{Name: "t", MaxUses: 1})
		c := computer{nonce: random(), secret: random()}
		var wg sync.WaitGroup
		ids := make([]string, 8)
		for i := range ids {
			wg.Go(func() {
				d, err := e.svc.Enroll(context.Background(), e.request(c, token), "192.0.2.7")
				if err != nil {
					t.Error(err)
				}
				ids[i] = d.ID
			})
		}
		wg.Wait()
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(ids))), 1)
		tokens, err := e.svc.Tokens(t.Context(), "", 10)
		require.NoError(t, err)
		require.Equal(t, 1, tokens[0].Uses)

		thief := c
		thief.secret = random()
		_, err = e.svc.Enroll(t.Context(), e.request(thief, token), "")
		require.True(t, fault.Is(err, fault.Forbidden), "another secret: %v", err)
		_, err = e.svc.Enroll(t.Context(), e.request(computer{nonce: random(), secret: random()}, token), "")
		require.True(t, fault.Is(err, fault.Forbidden), "used up: %v", err)
		require.ErrorContains(t, err, "1 of 1 uses")
	})
}

func TestEnroll_refusals(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		ok := e.token(device.Token{Name: "ok"})
		revoked := e.token(device.Token{Name: "revoked"})
		tokens, err := e.svc.Tokens(t.Context(), "", 1)
		require.NoError(t, err)
		require.NoError(t, e.svc.RevokeToken(t.Context(), tokens[0].ID))
		require.True(t, fault.Is(e.svc.RevokeToken(t.Context(), "x"), fault.NotFound))
		expired := e.token(device.Token{Name: "short", ExpiresAt: time.Now().Add(30 * time.Millisecond)})
		for name, tc := range map[string]struct {
			change func(*protocol.EnrollRequest)
			code   fault.Code
		}{
			"unknown token": {func(r *protocol.EnrollRequest) { r.Token = random() }, fault.Unauthenticated},
			"no token":      {func(r *protocol.EnrollRequest) { r.Token = "" }, fault.Unauthenticated},
			"revoked":       {func(r *protocol.EnrollRequest) { r.Token = revoked }, fault.Forbidden},
			"bad nonce":     {func(r *protocol.EnrollRequest) { r.Nonce = "x" }, fault.Invalid},
			"bad hash":      {func(r *protocol.EnrollRequest) { r.SecretSHA256 = strings.ToUpper(r.SecretSHA256) }, fault.Invalid},
		} {
			req := e.request(computer{nonce: random(), secret: "abc"}, ok)
			tc.change(&req)
			_, err := e.svc.Enroll(t.Context(), req, "")
			require.Equal(t, tc.code, fault.CodeOf(err), "%s: %v", name, err)
		}
		require.Eventually(t, func() bool {
			_, err := e.svc.Enroll(t.Context(), e.request(computer{nonce: random(), secret: random()}, expired), "")
			return fault.Is(err, fault.Forbidden)
		}, time.Minute, 5*time.Millisecond)
	})
}

func TestAuthenticate_andRotate(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		c := e.enroll(false)
		for name, bearer := range map[string]string{
			"nothing": "", "garbage": "mdev_x", "wrong secret": protocol.Credential(c.id, random()),
			"unknown device": protocol.Credential("0197a3c8-0000-7000-8000-000000000000", c.secret),
		} {
			_, err := e.svc.Authenticate(t.Context(), bearer)
			require.True(t, fault.Is(err, fault.Unauthenticated), name)
		}
		next := c
		next.secret = random()
		require.True(t, fault.Is(e.svc.Rotate(t.Context(), c.id, "x"), fault.Invalid))
		require.NoError(t, e.svc.Rotate(t.Context(), c.id, protocol.HashSecret(next.secret)))
		_, err := e.svc.Authenticate(t.Context(), c.bearer())
		require.NoError(t, err, "the old secret works until the next one is used")
		_, err = e.svc.Authenticate(t.Context(), next.bearer())
		require.NoError(t, err)
		_, err = e.svc.Authenticate(t.Context(), c.bearer())
		require.True(t, fault.Is(err, fault.Unauthenticated), "the first use of the next one retires the old")
		require.NoError(t, e.svc.Rotate(t.Context(), c.id, protocol.HashSecret(next.secret)), "announced once more")
		_, err = e.svc.Authenticate(t.Context(), next.bearer())
		require.NoError(t, err)
	})
}

// An older secret is a restored disk or a copy. It is not shut out, but gets nothing until an admin decides;
// then the identity is its, and the other one's use leads to the next quarantine.
func TestAdmit_anOlderSecretQuarantines(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		old := e.enroll(false)
		now := old
		now.secret = random()
		require.NoError(t, e.svc.Rotate(t.Context(), old.id, protocol.HashSecret(now.secret)))
		admitted := func(c computer) string {
			d, err := e.svc.Admit(t.Context(), c.bearer())
			require.NoError(t, err)
			return d.State
		}
		require.Equal(t, protocol.DeviceActive, admitted(now), "the first use of the next one")
		_, err := e.svc.Authenticate(t.Context(), old.bearer())
		require.True(t, fault.Is(err, fault.Unauthenticated), "a request that was under way does no harm")
		require.Equal(t, protocol.DeviceActive, admitted(now))

		for _, c := range []computer{old, now, old} {
			require.Equal(t, protocol.DeviceQuarantined, admitted(c))
			if c == old {
				require.True(t, fault.Is(e.svc.Rotate(t.Context(), c.id, protocol.HashSecret(random())), fault.Conflict))
			}
		}
		_, err = e.svc.Authenticate(t.Context(), old.bearer())
		require.True(t, fault.Is(err, fault.Unauthenticated), "it may be stolen: it reports nothing and takes no line away")
		_, err = e.svc.Authenticate(t.Context(), now.bearer())
		require.NoError(t, err, "what ran already is still reported")
		d, err := e.svc.Get(t.Context(), old.id)
		require.NoError(t, err)
		require.Contains(t, d.QuarantineReason, "older secret")
		require.Len(t, e.changes, 1)
		_, err = e.svc.Approve(t.Context(), old.id)
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceActive, admitted(old))
		_, err = e.svc.Authenticate(t.Context(), old.bearer())
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceQuarantined, admitted(now), "the other one is the copy now")
		_, err = e.svc.Approve(t.Context(), old.id)
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceActive, admitted(now), "an approval can be made good")
		_, err = e.svc.Admit(t.Context(), protocol.Credential(old.id, random()))
		require.True(t, fault.Is(err, fault.Unauthenticated))
	})
}

func TestRevoke_cutsAndRefuses(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		c := e.enroll(false)
		d, err := e.svc.Revoke(t.Context(), c.id)
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceRevoked, d.State)
		require.Equal(t, []string{c.id}, e.live.cut)
		_, err = e.svc.Authenticate(t.Context(), c.bearer())
		require.True(t, fault.Is(err, fault.Unauthenticated))
		_, err = e.svc.Approve(t.Context(), c.id)
		require.True(t, fault.Is(err, fault.Conflict))
		_, err = e.svc.Wakeup(t.Context(), c.id)
		require.True(t, fault.Is(err, fault.Conflict))
		_, err = e.svc.Revoke(t.Context(), "x")
		require.True(t, fault.Is(err, fault.NotFound))
		require.Equal(t, []device.Change{{DeviceID: c.id, State: protocol.DeviceRevoked}}, e.changes)
	})
}

func TestApproval(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		c := e.enroll(true)
		require.Equal(t, protocol.DevicePending, e.checkIn(e.svc, c, "i1", "m1"))
		d, err := e.svc.Approve(t.Context(), c.id)
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceActive, d.State)
		_, err = e.svc.Approve(t.Context(), c.id) // twice is harmless
		require.NoError(t, err)
		require.Equal(t, []string{c.id}, e.live.woken)
		require.Equal(t, protocol.DeviceActive, e.checkIn(e.svc, c, "i1", "m1"))
	})
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	type contact struct{ instance, machine string }
	for name, tc := range map[string]struct {
		contacts []contact
		want     string
	}{
		"restarts":           {[]contact{{"a", "m1"}, {"b", "m1"}, {"c", "m1"}, {"c", "m1"}}, protocol.DeviceActive},
		"two running copies": {[]contact{{"a", "m1"}, {"b", "m1"}, {"a", "m1"}}, protocol.DeviceQuarantined},
		"another machine":    {[]contact{{"a", "m1"}, {"b", "m2"}}, protocol.DeviceQuarantined},
		"tells no machine":   {[]contact{{"a", ""}, {"", ""}}, protocol.DeviceActive},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, e *env) {
				c := e.enroll(false)
				var state string
				for _, at := range tc.contacts {
					state = e.checkIn(e.restart(), c, at.instance, at.machine) // a restart forgets nothing
				}
				require.Equal(t, tc.want, state)
				if tc.want == protocol.DeviceQuarantined {
					last := tc.contacts[len(tc.contacts)-1]
					d, err := e.svc.Approve(t.Context(), c.id)
					require.NoError(t, err)
					require.Equal(t, protocol.DeviceActive, d.State)
					require.Equal(t, protocol.DeviceActive, e.checkIn(e.svc, c, last.instance, last.machine), "it belongs to who was seen last")
				}
			})
		})
	}
}

func TestLastSeen_isBatched(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		a, b := e.enroll(false), e.enroll(false)
		enrolled, err := e.restart().Get(t.Context(), a.id)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return store.Now().After(*enrolled.LastSeenAt) }, time.Minute, time.Millisecond)
		e.checkIn(e.svc, a, "", "")
		e.checkIn(e.svc, b, "", "")
		got, err := e.svc.Get(t.Context(), a.id)
		require.NoError(t, err)
		require.True(t, got.LastSeenAt.After(*enrolled.LastSeenAt), "known at once")
		require.Equal(t, "1.2.3", got.AgentVersion)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		e.svc.Run(ctx) // a stop writes what is in memory
		stored, err := e.restart().Get(t.Context(), a.id)
		require.NoError(t, err)
		require.Equal(t, got.LastSeenAt, stored.LastSeenAt)
		require.Equal(t, 4, stored.TrustVersion)
		e.checkIn(e.svc, a, "", "")
		require.NoError(t, e.svc.Flush(t.Context()))
		require.NoError(t, e.svc.Flush(t.Context()))
	})
}

// What an agent says it costs is known at once, written with the last-seen times, and bounded.
func TestFootprint_isBatched(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		a, b := e.enroll(false), e.enroll(false)
		told := protocol.Footprint{Since: store.Now().Add(-time.Hour), CPUMS: 70, RSSBytes: 7 << 20, RSSHighBytes: 9 << 20, TaskHighBytes: 1, SentBytes: 2, ReceivedBytes: -3}
		tell := func(c computer, f *protocol.Footprint) {
			d, err := e.svc.Authenticate(t.Context(), c.bearer())
			require.NoError(t, err)
			_, err = e.svc.CheckIn(t.Context(), d, protocol.CheckInRequest{Footprint: f})
			require.NoError(t, err)
		}
		tell(a, &told)
		tell(a, nil) // one that says nothing takes nothing back
		tell(b, nil)
		stored, err := e.restart().Get(t.Context(), a.id)
		require.NoError(t, err)
		require.Nil(t, stored.Footprint, "no write of its own")
		now, err := e.svc.Get(t.Context(), a.id)
		require.NoError(t, err)
		told.ReceivedBytes = 0
		require.Equal(t, told, now.Footprint.Footprint)
		for range 2 { // inserted, then updated
			require.NoError(t, e.svc.Flush(t.Context()))
			stored, err = e.restart().Get(t.Context(), a.id)
			require.NoError(t, err)
			require.Equal(t, told, stored.Footprint.Footprint)
			require.WithinDuration(t, time.Now(), stored.Footprint.ReportedAt, time.Minute)
			told.CPUMS += 5
			tell(a, &told)
		}
		other, err := e.svc.Get(t.Context(), b.id)
		require.NoError(t, err)
		require.Nil(t, other.Footprint)
	})
}

func TestUpdateFacts_newestWinAndAreBounded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		c := e.enroll(false)
		now := time.Now()
		require.NoError(t, e.svc.UpdateFacts(t.Context(), c.id, protocol.Facts{Hostname: "new\x1b[31m", ChangedAt: now}))
		require.NoError(t, e.svc.UpdateFacts(t.Context(), c.id, protocol.Facts{Hostname: "old", ChangedAt: now.Add(-time.Hour)}))
		d, err := e.svc.Get(t.Context(), c.id)
		require.NoError(t, err)
		require.Equal(t, "new[31m", d.Hostname)
		huge := protocol.Facts{Hostname: strings.Repeat("ü", 5000), OS: strings.Repeat("x", 5000), IPs: make([]string, 1000), ChangedAt: now.AddDate(50, 0, 0)}
		for i := range huge.IPs {
			huge.IPs[i] = fmt.Sprint(i)
		}
		require.NoError(t, e.svc.UpdateFacts(t.Context(), c.id, huge))
		d, err = e.svc.Get(t.Context(), c.id)
		require.NoError(t, err)
		require.Len(t, []rune(d.Hostname), 255)
		require.Len(t, d.Facts.IPs, 64)
		require.False(t, d.Facts.ChangedAt.After(time.Now()))
	})
}

func TestList_filtersAndPages(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		var all []computer
		for i := range 5 {
			all = append(all, e.enroll(i == 4))
		}
		e.live.connected = []string{all[1].id}
		yes, no := true, false
		for name, tc := range map[string]struct {
			f    device.Filter
			want int
		}{
			"all":           {device.Filter{}, 5},
			"pending":       {device.Filter{Search: device.Search{State: "pending"}}, 1},
			"by name":       {device.Filter{Search: device.Search{Query: "PC-" + all[0].nonce[:4]}}, 1},
			"wildcard":      {device.Filter{Search: device.Search{Query: "%"}}, 0},
			"connected":     {device.Filter{Connected: &yes}, 1},
			"not connected": {device.Filter{Connected: &no}, 4},
		} {
			tc.f.Limit = 50
			found, err := e.svc.List(t.Context(), tc.f)
			require.NoError(t, err, name)
			require.Len(t, found, tc.want, name)
		}
		var names []string
		var after []string
		for {
			page, err := e.svc.List(t.Context(), device.Filter{After: after, Limit: 2})
			require.NoError(t, err)
			for _, d := range page {
				names = append(names, d.Hostname)
				after = []string{d.Hostname, d.ID}
			}
			if len(page) < 2 {
				break
			}
		}
		require.Len(t, names, 5)
		require.True(t, slices.IsSorted(names))
		targets, err := e.svc.Targets(t.Context(), nil, true)
		require.NoError(t, err)
		require.Len(t, targets, 4)
	})
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		mux := http.NewServeMux()
		device.NewAPI(device.APIOptions{
			Service:         e.svc,
			OpenDeployments: func(context.Context, []string) (map[string]int, error) { return nil, nil },
			Groups:          func(context.Context, string) ([]device.GroupRef, error) { return []device.GroupRef{{Name: "lab"}}, nil },
			TokenGroups:     func(context.Context, []string) (map[string][]device.GroupRef, error) { return nil, nil },
			Enrollment:      func(_ context.Context, token string) (string, error) { return "MUSTER1-" + token, nil },
		}).Register(humago.New(mux, api.Config("1")))
		c := e.enroll(true)
		for _, tc := range []struct {
			method, path, body string
			status             int
			contains           string
		}{
			{"GET", "/devices", "", 200, c.id},
			{"GET", "/devices?state=active", "", 200, `"items":[]`},
			{"GET", "/devices?connected=maybe", "", 400, "connected"},
			{"GET", "/devices?software_below=2", "", 400, "software"},
			{"GET", "/devices?software=nano&software_below=2&unseen_days=3&enrolled_after=2026-01-01T00:00:00Z", "", 200, `"items":[]`},
			{"GET", "/devices/" + c.id, "", 200, `"facts":{`},
			{"GET", "/devices/" + c.id, "", 200, `"name":"lab"`},
			{"GET", "/devices/nope", "", 404, "not_found"},
			{"POST", "/devices/" + c.id + "/approve", "", 200, `"state":"active"`},
			{"POST", "/devices/" + c.id + "/wakeup", "", 202, `"connected":false`},
			{"POST", "/devices/" + c.id + "/revoke", "", 200, `"state":"revoked"`},
			{"POST", "/devices/" + c.id + "/wakeup", "", 409, "conflict"},
			{"POST", "/enrollment-tokens", `{"name":"lab","max_uses":3}`, 201, "MUSTER1-"},
			{"POST", "/enrollment-tokens", `{"name":""}`, 400, "name"},
			{"GET", "/enrollment-tokens", "", 200, `"name":"lab"`},
			{"DELETE", "/enrollment-tokens/nope", "", 404, "not_found"},
		} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body)))
			require.Equal(t, tc.status, w.Code, "%s %s: %s", tc.method, tc.path, w.Body)
			require.Contains(t, w.Body.String(), tc.contains, "%s %s", tc.method, tc.path)
			require.NotContains(t, w.Body.String(), c.secret)
			require.NotContains(t, w.Body.String(), protocol.HashSecret(c.secret))
		}
	})
}
