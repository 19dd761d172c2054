package tlsca

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func open(t *testing.T, dir string, now func() time.Time) *Authority {
	t.Helper()
	a, err := Open(Options{Dir: dir, Hosts: []string{"muster.example.org", "127.0.0.1"}, Log: slog.New(slog.DiscardHandler), Now: now})
	require.NoError(t, err)
	return a
}

// dial connects to a listener of the authority and returns what the handshake gave.
func dial(t *testing.T, a *Authority, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", a.TLSConfig())
	require.NoError(t, err)
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	c := tls.Client(conn, client)
	err = c.Handshake()
	return c.ConnectionState(), err
}

func TestOpen_servesAPinnableChain(t *testing.T) {
	t.Parallel()
	a := open(t, t.TempDir(), nil)
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate())
	for _, name := range []string{"muster.example.org", "127.0.0.1"} {
		state, err := dial(t, a, &tls.Config{RootCAs: pool, ServerName: name})
		require.NoError(t, err)
		require.Len(t, state.PeerCertificates, 2, "leaf and authority")
		require.True(t, state.PeerCertificates[1].Equal(a.Certificate()))
		require.EqualValues(t, tls.VersionTLS13, state.Version)
	}
	_, err := dial(t, a, &tls.Config{RootCAs: pool, ServerName: "other.example.org"})
	require.ErrorContains(t, err, "other.example.org")
	_, err = dial(t, a, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12})
	require.Error(t, err)
}

func TestOpen_keepsItsIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir, nil)
	require.Equal(t, first.Fingerprint(), open(t, dir, nil).Fingerprint())
	info, err := os.Stat(filepath.Join(dir, keyFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestOpen_afterACrashBetweenKeyAndCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir, nil)
	require.NoError(t, os.Remove(filepath.Join(dir, certFile)))
	open(t, dir, nil)
}

func TestOpen_refusesDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"key lost":     {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, keyFile))) }, "lost its key"},
		"key garbage":  {func(t *testing.T, dir string) { write(t, dir, keyFile, "x") }, "restore it from a backup"},
		"cert garbage": {func(t *testing.T, dir string) { write(t, dir, certFile, "x") }, "restore it from a backup"},
		"other key": {func(t *testing.T, dir string) {
			other := t.TempDir()
			open(t, other, nil)
			key, err := os.ReadFile(filepath.Join(other, keyFile))
			require.NoError(t, err)
			write(t, dir, keyFile, string(key))
		}, "does not belong to the key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			open(t, dir, nil)
			c.damage(t, dir)
			_, err := Open(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
			require.ErrorContains(t, err, c.want)
		})
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

func TestRenew_inTimeAndNotEarlier(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a := open(t, t.TempDir(), func() time.Time { return now })
	first := a.leaf.Load()
	now = now.Add(leafLife - renewBefore - time.Hour)
	a.renew(t.Context())
	require.Same(t, first, a.leaf.Load())
	now = now.Add(2 * time.Hour)
	a.renew(t.Context())
	require.NotSame(t, first, a.leaf.Load())
	require.True(t, a.leaf.Load().Leaf.NotAfter.After(now.Add(leafLife-time.Hour)))
	require.Equal(t, a.cert.Raw, a.leaf.Load().Certificate[1])
}
