package identity

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// The name of a server's folder is one plain path element, whatever its address.
func FuzzNameFor(f *testing.F) {
	for _, s := range []string{"https://a.example:8443", "https://[::1]:1/", "https://../..", "", "https://..%2f/", "https://" + strings.Repeat("x", 300)} {
		f.Add(s)
	}
	plain := regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	f.Fuzz(func(t *testing.T, url string) {
		require.Regexp(t, plain, NameFor(protocol.Enrollment{URLs: []string{url}}))
	})
}

// Damaged files of an identity are errors or, where only a check-in hangs on it, the zero state. Trust comes
// from nothing that the root key has not signed.
func FuzzFiles(f *testing.F) {
	root := fixedKey(f)
	doc := &trust.Document{Format: trust.Format, Version: 1, IssuedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Keys: []trust.Key{root.Entry(trust.RoleRoot)}}
	envelope, err := doc.Sign(root)
	require.NoError(f, err)
	chained, err := json.Marshal(chain{Envelopes: []json.RawMessage{envelope}})
	require.NoError(f, err)
	f.Add([]byte(`{"format":1,"urls":["https://a"],"secret":"s","device_id":"d"}`), []byte(`{"device_state":"active","offered":["a"]}`), chained)
	f.Add([]byte(`{"format":1,"Format":2}`), []byte(`null`), []byte(`{"envelopes":[{}]}`))
	f.Add([]byte(`{}`), []byte(`{"next":"2026-01-02T03:04:05Z","boot_id":"b"}`), []byte{})
	f.Add([]byte(`{}`), []byte(`{"setting":{"level":"debug","until":"2026-01-02T03:04:05Z","after":"off"},"level_for":5}`), []byte{})
	f.Add([]byte(`{}`), []byte{}, []byte(`{"envelopes":[null]}`))
	f.Fuzz(func(t *testing.T, identity, state, trusted []byte) {
		s := Open(t.TempDir(), "server")
		require.NoError(t, os.MkdirAll(s.Dir(), 0o700))
		for name, data := range map[string][]byte{identityFile: identity, stateFile: state, planFile: state, forwardFile: state, trustFile: trusted} {
			require.NoError(t, os.WriteFile(filepath.Join(s.Dir(), name), data, 0o600))
		}
		if id, err := s.Load(); err == nil {
			require.Equal(t, format, id.Format)
			require.NoError(t, s.Save(id))
			again, err := s.Load()
			require.NoError(t, err)
			require.Equal(t, id, again)
		}
		s.LoadState()
		s.LoadPlan()
		if f := s.LoadForwarding(); f.Setting.Level != "" {
			require.NoError(t, f.Setting.Validate())
		}
		if d, err := s.LoadTrust(root.ID()); err == nil {
			require.Equal(t, doc.Version, d.Version)
			require.Equal(t, doc.Keys, d.Keys)
		}
		_, err := s.LoadTrust(strings.Repeat("0", 64))
		require.Error(t, err, "another root has signed nothing")
	})
}

// fixedKey is the same in every process: the engine makes the seeds in one, and tries them in others.
func fixedKey(t testing.TB) trust.PrivateKey {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	require.NoError(t, err)
	key, err := trust.ParsePEM(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	require.NoError(t, err)
	return key
}
