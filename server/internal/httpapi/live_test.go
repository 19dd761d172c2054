package httpapi_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/servertest"
)

const patience = time.Minute

// TestEvents: who may listen, and that a change is heard. The live connection is no ordinary operation,
// so it has roles of its own here.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, "sqlite")
	admin, token := s.Session(t), s.Token(t)
	pc := s.Enroll(t, admin, "pc")
	pool := x509.NewCertPool()
	pool.AddCert(s.CA.Certificate())
	dial := func(c *servertest.Client, header ...string) (*websocket.Conn, *http.Response, error) {
		h := c.Header.Clone()
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		d := websocket.Dialer{Jar: c.HTTP.Jar, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}}
		return d.Dial("wss"+strings.TrimPrefix(s.URL, "https")+api.Path+"/events", h)
	}
	for name, tc := range map[string]struct {
		client *servertest.Client
		header []string
		status int
		code   string
	}{
		"anonymous":    {s.Anonymous(t), nil, 401, "unauthenticated"},
		"device":       {pc.Client, nil, 401, "unauthenticated"},
		"foreign page": {admin, []string{"Origin", "https://evil.example"}, 403, "forbidden"},
		"odd page":     {admin, []string{"Origin", "://"}, 403, "forbidden"},
	} {
		ws, resp, err := dial(tc.client, tc.header...)
		require.Nil(t, ws, name)
		require.ErrorIs(t, err, websocket.ErrBadHandshake, name)
		require.Equal(t, tc.status, resp.StatusCode, name)
		require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"), name)
		var p protocol.Problem
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&p), name)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, tc.code, p.Code, name)
	}
	require.Equal(t, "invalid", admin.Do(t, http.MethodGet, api.Path+"/events", nil).Problem(t, 400).Code, "no WebSocket")
	require.Equal(t, "unsupported", admin.Do(t, http.MethodPost, api.Path+"/events", nil).Problem(t, 405).Code)

	for name, c := range map[string]*servertest.Client{"session": admin, "API token": token} {
		ws, resp, err := dial(c, "Origin", s.URL)
		require.NoError(t, err, name)
		require.NoError(t, resp.Body.Close())
		t.Cleanup(func() { _ = ws.Close() })
		heard := make(chan string, 16)
		go func() {
			defer close(heard)
			for {
				var e struct{ Type, ID string }
				if ws.ReadJSON(&e) != nil {
					return
				}
				heard <- e.Type
			}
		}()
		// The handshake ends before the server counts the connection; what changes after that is heard.
		require.Eventually(t, func() bool {
			admin.Do(t, http.MethodPost, api.Path+"/enrollment-tokens", map[string]any{"name": "t"}).JSON(t, 201, nil)
			select {
			case kind := <-heard:
				return kind == "enrollment_token"
			case <-time.After(time.Second):
				return false
			}
		}, patience, time.Millisecond, name)
	}
}

// TestMetrics reads what a monitoring system reads, on the listener that is for it alone.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, "sqlite")
	admin := s.Session(t)
	pc := s.Enroll(t, admin, "pc")
	pc.Do(t, http.MethodPost, protocol.PathCheckIn, protocol.CheckInRequest{Protocol: protocol.Version}).JSON(t, 200, nil)
	pc.Do(t, http.MethodPost, protocol.PathReports, protocol.ReportsRequest{Reports: []protocol.Report{{ID: "x"}}}).JSON(t, 200, nil)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.MetricsAddr()+"/metrics", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	text := string(data)
	require.Equal(t, 200, resp.StatusCode)
	for _, line := range []string{
		"muster_check_ins_total 1", "muster_enrollments_total 1", "muster_check_in_seconds_count 1",
		`muster_http_requests_total{method="POST",route="login",status="2xx"} 1`,
		`muster_http_requests_total{method="POST",route="/agent/v1/check-in",status="2xx"} 1`,
		"muster_reports_refused_total 1", "go_goroutines ", "process_resident_memory_bytes ", "go_sql_open_connections{",
	} {
		require.Contains(t, text, "\n"+line)
	}
	require.NotContains(t, text, pc.ID, "figures name no device")
	for _, c := range []*servertest.Client{s.Anonymous(t), admin, {URL: s.LocalURL, HTTP: http.DefaultClient}} {
		require.NotContains(t, string(c.Do(t, http.MethodGet, "/metrics", nil).Body), "muster_check_ins_total", "not for everybody")
	}
}
