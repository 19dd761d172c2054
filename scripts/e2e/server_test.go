package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server is a running muster-server with an API token.
type server struct {
	*process
	data     string // data directory
	database string // URL; empty is the built-in SQLite
	port     string
	httpPort string
	url      string // https
	extra    []string

	password string
	token    string
	ca       *x509.CertPool
	caHash   string
	client   *http.Client
	config   string // of the muster command line, logged in
}

// startServer starts a server with an empty data directory.
func startServer(t *testing.T, database string, extra ...string) *server {
	t.Helper()
	s := &server{data: filepath.Join(t.TempDir(), "server"), database: database, port: freePort(t), httpPort: freePort(t), extra: extra}
	s.url = "https://127.0.0.1:" + s.port
	passwordFile := filepath.Join(t.TempDir(), "password")
	s.extra = append(s.extra, "--admin-password-file", passwordFile)
	s.launch(t)
	await(t, "the first admin's password", func() (bool, string) {
		password, err := os.ReadFile(passwordFile)
		s.password = strings.TrimSpace(string(password))
		return err == nil, s.output()
	})
	s.trustCA(t)
	s.login(t)
	return s
}

// launch starts the program (again) on the same data, ports and database.
func (s *server) launch(t *testing.T) {
	t.Helper()
	args := []string{"serve", "--data", s.data, "--listen", "127.0.0.1:" + s.port, "--http", "localhost:" + s.httpPort}
	if s.database != "" {
		args = append(args, "--database", s.database)
	}
	s.process = start(t, "muster-server", append(args, s.extra...)...)
	await(t, "the server's readiness", func() (bool, string) {
		require.True(t, s.running(), "the server ended: %s", s.output())
		res, err := http.Get("http://localhost:" + s.httpPort + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK, res.Status
	})
}

// caOf shows the CA that a server presents in its handshake, which fails because nothing is trusted.
func caOf(t *testing.T, address string) (*x509.CertPool, string) {
	t.Helper()
	_, err := tls.Dial("tcp", address, &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"})
	var unverified *tls.CertificateVerificationError
	require.ErrorAs(t, err, &unverified, "handshake with an empty pool")
	pool := x509.NewCertPool()
	for _, c := range unverified.UnverifiedCertificates {
		if c.IsCA {
			pool.AddCert(c)
			sum := sha256.Sum256(c.Raw)
			return pool, hex.EncodeToString(sum[:])
		}
	}
	require.FailNow(t, "the server does not send its CA certificate")
	return nil, ""
}

// trustCA makes the client of this server. That the CA is the right one is checked in login.
func (s *server) trustCA(t *testing.T) {
	t.Helper()
	s.ca, s.caHash = caOf(t, "127.0.0.1:"+s.port)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	s.client = &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ca, MinVersion: tls.VersionTLS13}}}
	t.Cleanup(s.client.CloseIdleConnections)
}

func (s *server) login(t *testing.T) {
	t.Helper()
	s.call(t, "POST", "/login", map[string]any{"username": "admin", "password": s.password}, nil)
	var made struct {
		Token string `json:"token"`
	}
	s.call(t, "POST", "/api-tokens", map[string]any{"name": "e2e"}, &made)
	require.NotEmpty(t, made.Token)
	s.token = made.Token
	var about struct {
		CAFingerprint string `json:"ca_fingerprint"`
	}
	s.call(t, "GET", "/server", nil, &about)
	require.Equal(t, s.caHash, about.CAFingerprint)
}

// call makes an admin API request that must succeed.
func (s *server) call(t *testing.T, method, path string, in, out any) {
	t.Helper()
	status, body := s.try(t, method, path, in)
	require.Less(t, status, 300, "%s %s: %d %s", method, path, status, body)
	if out != nil {
		require.NoError(t, json.Unmarshal(body, out), "%s %s: %s", method, path, body)
	}
}

// try makes an admin API request; in is JSON, or octets when it is []byte.
func (s *server) try(t *testing.T, method, path string, in any, header ...string) (int, []byte) {
	t.Helper()
	var body io.Reader
	contentType := "application/json"
	switch in := in.(type) {
	case nil:
	case []byte:
		body, contentType = bytes.NewReader(in), "application/octet-stream"
	default:
		b, err := json.Marshal(in)
		require.NoError(t, err)
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+"/api/v1"+path, body)
	require.NoError(t, err)
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, answer
}

// enrollment makes a string with which devices may join.
func (s *server) enrollment(t *testing.T) string {
	t.Helper()
	var made struct {
		Enrollment string `json:"enrollment"`
	}
	s.call(t, "POST", "/enrollment-tokens", map[string]any{"name": "e2e"}, &made)
	require.NotEmpty(t, made.Enrollment)
	return made.Enrollment
}

// musterEnv lets the muster command line talk to this server by its API token.
func (s *server) musterEnv(t *testing.T) []string {
	t.Helper()
	if s.config == "" {
		// Not the folder of t: the test that asks first may be over long before the server is.
		dir, err := os.MkdirTemp(filepath.Dir(s.data), "cli-")
		require.NoError(t, err)
		passwordFile := filepath.Join(dir, "password")
		require.NoError(t, os.WriteFile(passwordFile, []byte(s.password+"\n"), 0o600))
		config := filepath.Join(dir, "config.json")
		succeed(t, nil, "muster", "--config", config, "login", s.url, "--username", "admin", "--password-file", passwordFile, "--ca-fingerprint", s.caHash)
		s.config = config
	}
	return nil
}

// muster runs the command line, logged in.
func (s *server) muster(t *testing.T, args ...string) result {
	t.Helper()
	env := s.musterEnv(t)
	return command(t, env, "muster", append([]string{"--config", s.config}, args...)...)
}
