package identity_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

func TestEnroll_keepsEverythingForThisUserAlone(t *testing.T) {
	t.Parallel()
	s, data := agenttest.New(t), t.TempDir()
	store := identity.Open(data, "office")
	id, state, err := identity.Enroll(t.Context(), store, s.Enrollment(), facts.Read(nil))
	require.NoError(t, err)
	require.Equal(t, protocol.DeviceActive, state)
	require.Len(t, id.DeviceID, 36)
	require.Empty(t, id.Token, "the token is not kept")
	require.Equal(t, protocol.HashSecret(id.Secret), s.Secret(id.DeviceID))
	names, err := identity.List(data)
	require.NoError(t, err)
	require.Equal(t, []string{"office"}, names)
	for _, file := range []string{"identity.json", "trust.json"} {
		info, err := os.Stat(filepath.Join(store.Dir(), file))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), file)
	}
	doc, err := store.LoadTrust(id.RootKeyID)
	require.NoError(t, err)
	require.Equal(t, 1, doc.Version)

	_, _, err = identity.Enroll(t.Context(), store, s.Enrollment(), facts.Read(nil))
	require.Equal(t, fault.Conflict, fault.CodeOf(err))
}

func TestEnroll_aLostAnswerMakesNoSecondDevice(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	store := identity.Open(t.TempDir(), "office")
	e := s.Enrollment()
	var nonces []string
	s.Fail = func(w http.ResponseWriter, r *http.Request) int { return http.StatusServiceUnavailable }
	_, _, err := identity.Enroll(t.Context(), store, e, facts.Read(nil))
	require.Error(t, err)
	before, err := store.Load()
	require.NoError(t, err, "nonce and secret are on disk before the server hears of them")
	nonces = append(nonces, before.Nonce)
	s.Lock()
	s.Fail = nil
	s.Unlock()
	id, _, err := identity.Enroll(t.Context(), store, e, facts.Read(nil))
	require.NoError(t, err)
	require.Equal(t, nonces[0], id.Nonce)
	require.Equal(t, before.Secret, id.Secret)

	// The server made the device, but the agent crashed before it read the answer.
	id.DeviceID, id.Token = "", e.Token
	require.NoError(t, store.Save(id))
	again, _, err := identity.Enroll(t.Context(), store, e, facts.Read(nil))
	require.NoError(t, err)
	require.Equal(t, 1, s.Devices())
	require.NotEmpty(t, again.DeviceID)
}

func TestEnroll_refuses(t *testing.T) {
	t.Parallel()
	s, other := agenttest.New(t), agenttest.New(t)
	cases := map[string]struct {
		change func(*protocol.Enrollment)
		says   string
	}{
		"another CA":       {func(e *protocol.Enrollment) { e.CA = other.Enrollment().CA }, "no certificate with the fingerprint"},
		"another root key": {func(e *protocol.Enrollment) { e.Root = other.Enrollment().Root }, "root key"},
		"wrong token":      {func(e *protocol.Enrollment) { e.Token = "guess" }, "token is not valid"},
		"nobody there":     {func(e *protocol.Enrollment) { e.URLs = []string{"https://127.0.0.1:1"} }, "cannot be reached"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := s.Enrollment()
			c.change(&e)
			store := identity.Open(t.TempDir(), "office")
			_, _, err := identity.Enroll(t.Context(), store, e, facts.Read(nil))
			require.ErrorContains(t, err, c.says)
			id, err := store.Load()
			require.NoError(t, err)
			require.False(t, id.Enrolled())
		})
	}
}

func TestTrust_isVerifiedAtEachLoad(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	store := identity.Open(t.TempDir(), "office")
	id, _, err := identity.Enroll(t.Context(), store, s.Enrollment(), facts.Read(nil))
	require.NoError(t, err)
	_, err = store.LoadTrust(strings.Repeat("0", 64))
	require.Error(t, err, "a document of another root is none")

	s.Publish(t, &trust.Document{Version: 2, Keys: []trust.Key{s.Root(), s.Key.Entry(trust.RoleAuthor)}})
	doc, err := store.AcceptTrust(id.RootKeyID, s.Trust()[1:])
	require.NoError(t, err)
	require.Equal(t, 2, doc.Version)
	doc, err = store.AcceptTrust(id.RootKeyID, s.Trust()[:1])
	require.NoError(t, err)
	require.Equal(t, 2, doc.Version, "an older document changes nothing")
	doc, err = store.LoadTrust(id.RootKeyID)
	require.NoError(t, err)
	require.Equal(t, 2, doc.Version)

	_, err = store.AcceptTrust(id.RootKeyID, []json.RawMessage{json.RawMessage(`{}`)})
	require.Error(t, err)
}

// TestTrust_doesNotGrowWithVersions: a server that sends all it has, each time, fills no disk.
func TestTrust_doesNotGrowWithVersions(t *testing.T) {
	t.Parallel()
	s := agenttest.New(t)
	dir := t.TempDir()
	store := identity.Open(dir, "office")
	id, _, err := identity.Enroll(t.Context(), store, s.Enrollment(), facts.Read(nil))
	require.NoError(t, err)
	for version := 2; version <= 20; version++ {
		s.Publish(t, &trust.Document{Version: version, Keys: []trust.Key{s.Root(), s.Key.Entry(trust.RoleAuthor)}})
		_, err := store.AcceptTrust(id.RootKeyID, s.Trust())
		require.NoError(t, err)
	}
	doc, err := store.LoadTrust(id.RootKeyID)
	require.NoError(t, err)
	require.Equal(t, 20, doc.Version)
	data, err := os.ReadFile(filepath.Join(store.Dir(), "trust.json"))
	require.NoError(t, err)
	var kept struct {
		Envelopes []json.RawMessage `json:"envelopes"`
	}
	require.NoError(t, json.Unmarshal(data, &kept))
	require.Len(t, kept.Envelopes, 2, "the first, signed by the root of the enrollment, and the newest")
}

func TestSerials_onlyGrow(t *testing.T) {
	t.Parallel()
	store := identity.Open(t.TempDir(), "office")
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, store.RaiseSerial("editor", 7, at))
	require.NoError(t, store.RaiseSerial("editor", 5, at.Add(-time.Hour)))
	require.NoError(t, store.RaiseSerial("viewer", 3, at.Add(-time.Hour)))
	v, err := store.LoadSerials()
	require.NoError(t, err)
	require.Equal(t, map[string]uint64{"editor": 7, "viewer": 3}, v.Packages)
	require.Equal(t, at, v.Newest)
	require.Equal(t, at, v.Now(at.Add(-time.Hour)), "a clock set back is not believed")
	require.Equal(t, at.Add(time.Hour), v.Now(at.Add(time.Hour)))
}

func TestLoad_damagedFilesAreNotGuessed(t *testing.T) {
	t.Parallel()
	store := identity.Open(t.TempDir(), "office")
	require.NoError(t, os.MkdirAll(store.Dir(), 0o700))
	for _, text := range []string{"", "{", `{"format": 1}{"format": 1}`, `{"Format": 1}`, `{"format": 1, "extra": 2}`} {
		require.NoError(t, os.WriteFile(filepath.Join(store.Dir(), "identity.json"), []byte(text), 0o600))
		_, err := store.Load()
		require.ErrorContains(t, err, "damaged", "%q", text)
	}
	require.NoError(t, os.WriteFile(filepath.Join(store.Dir(), "identity.json"), []byte(`{"format": 2}`), 0o600))
	_, err := store.Load()
	require.ErrorContains(t, err, "format 2")
	require.NoError(t, os.WriteFile(filepath.Join(store.Dir(), "state.json"), []byte("{"), 0o600))
	require.Equal(t, identity.State{}, store.LoadState(), "a damaged state costs an early check-in only")
}

func TestNameFor(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://Muster.Example.org:8443/x": "muster.example.org-8443", "https://[::1]:8443": "1-8443", "https://127.0.0.1": "127.0.0.1",
	} {
		name := identity.NameFor(protocol.Enrollment{URLs: []string{url}})
		require.Equal(t, want, name)
		require.True(t, config.ValidName(name))
	}
}
