package agentapi_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/agentapi"
)

// trickle begins requests whose bodies do not end while the test runs.
func (e *env) trickle(n int, path, bearer string) {
	e.t.Helper()
	for range n {
		r, w := io.Pipe()
		e.t.Cleanup(func() { _ = w.Close() })
		req, err := http.NewRequestWithContext(e.t.Context(), http.MethodPost, e.url+path, r)
		require.NoError(e.t, err)
		req.Header.Set("Authorization", "Bearer "+bearer)
		go func() {
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}()
		_, err = w.Write([]byte("{")) // returns when the transport has taken it
		require.NoError(e.t, err)
	}
}

// Strangers and hostile devices that send slowly do not take the places of others.
func TestSlowBodies_holdUpNobody(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *agentapi.Options) { o.MaxCheckIns, o.MaxReports = 1, 5 })
	_, hostile := e.enroll(false)
	_, good := e.enroll(false)
	e.trickle(8, protocol.PathEnroll, "")
	e.trickle(8, protocol.PathCheckIn, hostile)
	e.trickle(4, protocol.PathReports, hostile)
	require.Eventually(t, func() bool { // its fifth is sent away, so four are there
		resp, _ := e.call(http.MethodPost, protocol.PathReports, hostile, protocol.ReportsRequest{}, nil)
		return resp.StatusCode == http.StatusTooManyRequests
	}, 20*time.Second, 10*time.Millisecond)
	e.checkIn(good, 2)
	e.enroll(false)
	resp, p := e.call(http.MethodPost, protocol.PathReports, good, protocol.ReportsRequest{}, nil)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%+v", p)
}
