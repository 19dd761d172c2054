package bulk_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/bulk"
)

// counting counts what is written to its connections.
type counting struct {
	net.Listener
	writes atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &countingConn{c, l}, err
}

type countingConn struct {
	net.Conn
	of *counting
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.of.writes.Add(1)
	return c.Conn.Write(p)
}

// serve serves content at / over TLS, and a short answer at /short.
func serve(t *testing.T, content []byte, h2 bool) (*httptest.Server, *counting) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { bulk.ServeContent(w, r, bytes.NewReader(content)) })
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("short")) })
	s := httptest.NewUnstartedServer(mux)
	counted := &counting{Listener: s.Listener}
	s.Listener = bulk.Listener{Listener: counted}
	s.Config.ConnContext = bulk.ConnContext
	s.EnableHTTP2 = h2
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, counted
}

func get(t *testing.T, s *httptest.Server, path, span string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	require.NoError(t, err)
	if span != "" {
		req.Header.Set("Range", span)
	}
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, body
}

// TestServeContent: whole, in parts and in turn with other requests, the bytes are those of the content; a
// large one costs few writes.
func TestServeContent(t *testing.T) {
	t.Parallel()
	content := make([]byte, 3<<20+17)
	_, _ = rand.Read(content)
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, counted := serve(t, content, h2)
			get(t, s, "/short", "")
			before := counted.writes.Load()
			resp, body := get(t, s, "/", "")
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.True(t, bytes.Equal(content, body))
			require.Equal(t, h2, resp.ProtoMajor == 2)
			if !h2 {
				require.Less(t, counted.writes.Load()-before, int64(40), "193 records of 16 KB")
			}
			resp, body = get(t, s, "/", "bytes=1000-1999")
			require.Equal(t, http.StatusPartialContent, resp.StatusCode)
			require.Equal(t, content[1000:2000], body)
			resp, body = get(t, s, "/", "bytes=3145000-")
			require.Equal(t, http.StatusPartialContent, resp.StatusCode)
			require.Equal(t, content[3145000:], body)
			resp, _ = get(t, s, "/", "bytes=9999999-")
			require.Equal(t, http.StatusRequestedRangeNotSatisfiable, resp.StatusCode)
			_, body = get(t, s, "/short", "")
			require.Equal(t, "short", string(body))
		})
	}
}

// TestServeContent_clientGoesAway: a client that leaves in the middle ends its request and no other.
func TestServeContent_clientGoesAway(t *testing.T) {
	t.Parallel()
	content := make([]byte, 64<<20)
	s, _ := serve(t, content, false)
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	require.NoError(t, err)
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	_, err = io.ReadFull(resp.Body, make([]byte, 100<<10))
	require.NoError(t, err)
	leave()
	require.NoError(t, resp.Body.Close())
	_, body := get(t, s, "/short", "")
	require.Equal(t, "short", string(body))
	done := make(chan struct{})
	go func() { s.Close(); close(done) }() // waits for requests
	select {
	case <-done:
	case <-time.After(time.Minute):
		require.FailNow(t, "the request of the client that left does not end")
	}
}

// TestServeContent_anyOther works without the Listener too.
func TestServeContent_anyOther(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	bulk.ServeContent(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), bytes.NewReader([]byte("content")))
	require.Equal(t, "content", w.Body.String())
}
