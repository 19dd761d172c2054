package httpapi

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Who stops reading or sending loses the place soon, not after the hour that a stream may take; who is
// slow and steady keeps it for longer than the limit.
func TestPace(t *testing.T) {
	t.Parallel()
	const limit = 400 * time.Millisecond
	ended := make(chan error, 4)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &pace{rc: http.NewResponseController(w), limit: limit, last: time.Now().Add(time.Hour)}
		var err error
		if r.Method == http.MethodPatch {
			_, err = io.Copy(io.Discard, &pacedReader{ReadCloser: r.Body, pace: p})
		} else {
			out := &pacedWriter{ResponseWriter: w, pace: p}
			for chunk := make([]byte, 32<<10); err == nil; {
				_, err = out.Write(chunk)
			}
		}
		ended <- err
	}))
	t.Cleanup(srv.Close)
	dial := func(request string) net.Conn {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		_, err = io.WriteString(conn, request)
		require.NoError(t, err)
		return conn
	}
	await := func(what string) error {
		select {
		case err := <-ended:
			return err
		case <-time.After(30 * time.Second):
			require.FailNow(t, what+" keeps its place")
			return nil
		}
	}

	dial("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.ErrorContains(t, await("a reader that stopped"), "timeout")
	dial("PATCH / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	require.ErrorContains(t, await("a sender that stopped"), "timeout")

	const parts = 30
	steady := dial(fmt.Sprintf("PATCH / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", parts))
	tick := time.NewTicker(limit / 10)
	defer tick.Stop()
	last, gap := time.Now(), time.Duration(0)
	for range parts {
		<-tick.C
		_, _ = steady.Write([]byte("x")) // what became of it says the other side
		gap, last = max(gap, time.Since(last)), time.Now()
	}
	if err := await("a steady sender"); gap < limit/4 { // else this computer stood still
		require.NoError(t, err, "it sent something every %s", limit/10)
	}
}
