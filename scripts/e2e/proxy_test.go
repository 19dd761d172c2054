package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// proxy stands between agents and a server, ends TLS with a certificate of the server's CA and lets no
// WebSocket through, as some company proxies do.
type proxy struct {
	refused atomic.Int64 // upgrades
	reports atomic.Int64 // requests that carried reports
}

// startProxy listens on the port. modify, which may be nil, may change each of the server's answers.
func startProxy(t *testing.T, s *server, port string, modify func(*http.Response) error) *proxy {
	t.Helper()
	leaf := s.issue(t)
	target, err := url.Parse(s.url)
	require.NoError(t, err)

	p := &proxy{}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ca, MinVersion: tls.VersionTLS13}},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),

		ModifyResponse: modify,
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

// issue makes a certificate for 127.0.0.1 with the CA key in the server's data directory: what a proxy
// can have that the server's owner set up.
func (s *server) issue(t *testing.T) tls.Certificate {
	t.Helper()
	ca, err := tls.LoadX509KeyPair(filepath.Join(s.data, "tls", "ca.crt"), filepath.Join(s.data, "tls", "ca.key"))
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, key.Public(), ca.PrivateKey)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der, ca.Certificate[0]}, PrivateKey: key}
}
