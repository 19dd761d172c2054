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

// served asks until it is answered with 200. Right at first the places may be taken by requests that have
// not come to their slow bodies yet; a body that held one would hold it for ever.
func (e *env) served(path, bearer string, body any) {
	e.t.Helper()
	require.Eventually(e.t, func() bool {
		resp, p := e.call(http.MethodPost, path, bearer, body, nil)
		if resp.StatusCode != http.StatusOK {
			require.Equal(e.t, http.StatusServiceUnavailable, resp.StatusCode, "%+v", p)
		}
		return resp.StatusCode == http.StatusOK
	}, time.Minute, 10*time.Millisecond)
}

// Strangers and hostile devices that send slowly do not take the places of others.
func TestSlowBodies_holdUpNobody(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *agentapi.Options) { o.MaxCheckIns, o.MaxReports = 1, 5 })
	_, hostile := e.enroll(false)
	_, good := e.enroll(false)
	e.trickle(8, protocol.PathEnroll, "")
	e.trickle(8, protocol.PathCheckIn, hostile)
	// Its fifth is sent away, so four are there. A look takes one of the four places for a moment itself, and
	// what comes right then is sent away in its stead: one more takes its place.
	require.Eventually(t, func() bool {
		resp, _ := e.call(http.MethodPost, protocol.PathReports, hostile, protocol.ReportsRequest{}, nil)
		if resp.StatusCode == http.StatusTooManyRequests {
			return true
		}
		e.trickle(1, protocol.PathReports, hostile)
		return false
	}, time.Minute, 10*time.Millisecond, "it may send more than four at once")
	e.served(protocol.PathCheckIn, good, protocol.CheckInRequest{Protocol: 1, TrustVersion: 2})
	e.served(protocol.PathEnroll, "", protocol.EnrollRequest{
		Protocol: 1, Token: e.token(false), Nonce: random(), SecretSHA256: protocol.HashSecret(random()),
	})
	e.served(protocol.PathReports, good, protocol.ReportsRequest{})
}
