// Package servertest runs a whole server inside a test: real listeners on 127.0.0.1, real TLS, either
// database, and clients of every role. Only tests import it.
package servertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/cli"
	"github.com/muster/muster/server/internal/config"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/user"
)

// Server is a running server. It ends with its test.
type Server struct {
	*cli.Server
	Config   config.Config
	URL      string // https address
	LocalURL string // plain address for this computer
	Password string // of the first admin
	pool     *x509.CertPool
}

// Each runs fn once per database, side by side, each time with a fresh server.
func Each(t *testing.T, fn func(t *testing.T, s *Server)) {
	t.Helper()
	for _, dialect := range storetest.Dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			fn(t, Start(t, dialect))
		})
	}
}

// Start runs a fresh server on the database.
func Start(t testing.TB, dialect string) *Server {
	t.Helper()
	c := config.Default()
	c.Data = filepath.Join(t.TempDir(), "data")
	c.Listen, c.HTTP, c.Metrics = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.Database = storetest.URL(t, dialect)
	return StartWith(t, c)
}

// StartWith runs a server of the configuration.
func StartWith(t testing.TB, c config.Config) *Server {
	t.Helper()
	s, err := cli.Start(context.Background(), cli.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, s.Close(ctx))
	})
	pool := x509.NewCertPool()
	pool.AddCert(s.CA.Certificate())
	return &Server{
		Server: s, Config: c, URL: "https://" + s.Addr().String(), LocalURL: "http://" + s.LocalAddr(),
		Password: s.AdminPassword, pool: pool,
	}
}

// Anonymous is a client of nobody. It keeps cookies.
func (s *Server) Anonymous(t testing.TB) *Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool, MinVersion: tls.VersionTLS13}}
	t.Cleanup(transport.CloseIdleConnections)
	return &Client{
		URL: s.URL, Header: http.Header{},
		HTTP: &http.Client{Jar: jar, Transport: transport, Timeout: time.Minute},
	}
}

// Session is the first admin, logged in.
func (s *Server) Session(t testing.TB) *Client {
	t.Helper()
	c := s.Anonymous(t)
	res := c.Do(t, http.MethodPost, api.Path+"/login", map[string]string{"username": user.Admin, "password": s.Password})
	require.Equal(t, http.StatusOK, res.Status, "%s", res.Body)
	return c
}

// Token is a program with an API token of the first admin.
func (s *Server) Token(t testing.TB) *Client {
	t.Helper()
	var made struct {
		Token string `json:"token"`
	}
	s.Session(t).Do(t, http.MethodPost, api.Path+"/api-tokens", map[string]string{"name": "test"}).JSON(t, http.StatusCreated, &made)
	c := s.Anonymous(t)
	c.Header.Set("Authorization", "Bearer "+made.Token)
	return c
}
