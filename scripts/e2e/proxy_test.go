package e2e_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// proxy stands between agents and a server, ends TLS with the server's own certificate and lets no
// WebSocket through, as some company proxies do.
type proxy struct {
	refused atomic.Int64 // upgrades
	reports atomic.Int64 // requests that carried reports
}

func startProxy(t *testing.T, s *server, port string) *proxy {
	t.Helper()
	leaf, err := tls.LoadX509KeyPair(filepath.Join(s.data, leafCertificate), filepath.Join(s.data, leafKey))
	require.NoError(t, err, "the server's certificate is not where docs/operating.md says")
	target, err := url.Parse(s.url)
	require.NoError(t, err)

	p := &proxy{}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ca, MinVersion: tls.VersionTLS13}},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	front := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS13},
		ErrorLog:  forward.ErrorLog,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if websocket.IsWebSocketUpgrade(r) {
				p.refused.Add(1)
				http.Error(w, "no upgrades here", http.StatusForbidden)
				return
			}
			if strings.HasSuffix(r.URL.Path, "/reports") {
				p.reports.Add(1)
			}
			forward.ServeHTTP(w, r)
		}),
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	require.NoError(t, err)
	go func() { _ = front.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = front.Shutdown(context.Background()) })
	return p
}

// Where a server keeps its certificate, below its data directory.
const (
	leafCertificate = "tls/server.pem"
	leafKey         = "tls/server-key.pem"
)
