package client

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// against is a client of a server that answers everything by handler.
func against(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewTLSServer(handler)
	t.Cleanup(srv.Close)
	c, err := New(Options{URLs: []string{srv.URL}, CAPEM: pemOf(srv.Certificate()), DeviceID: "device", Secret: "secret"})
	require.NoError(t, err)
	c.limit = 20 * time.Second
	return c
}

func pemOf(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// requests are all that an agent asks for.
func requests(t *testing.T, c *Client) map[string]error {
	t.Helper()
	out := map[string]error{}
	_, out["enroll"] = c.Enroll(t.Context(), protocol.EnrollRequest{})
	_, out["check-in"] = c.CheckIn(t.Context(), protocol.CheckInRequest{})
	_, out["reports"] = c.Reports(t.Context(), []protocol.Report{{ID: "x"}})
	_, out["instruction"] = c.Instruction(t.Context(), strings.Repeat("0", 64))
	return out
}

// Whatever a proxy or a broken server answers, the agent takes it for "ask again", never for an answer:
// otherwise a page of a hotel's network would make it drop reports and refuse packages for good.
func TestAnswers_thatAreNotMustersAreAskedAgain(t *testing.T) {
	t.Parallel()
	const page = "<!doctype html><title>Please sign in</title>"
	for name, handler := range map[string]http.HandlerFunc{
		"a page":          func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) },
		"nothing":         func(http.ResponseWriter, *http.Request) {},
		"another program": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `["ok"]`) },
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"server_time":"2026-`)
		},
		"packed though nobody asked": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			zw := gzip.NewWriter(w)
			_, _ = zw.Write([]byte(`{"state":"active"}`))
			_ = zw.Close()
		},
		"a page with 400":     status(http.StatusBadRequest, page),
		"a page with 401":     status(http.StatusUnauthorized, page),
		"a page with 403":     status(http.StatusForbidden, page),
		"a page with 404":     status(http.StatusNotFound, page),
		"a page with 502":     status(http.StatusBadGateway, page),
		"a teapot of no code": status(http.StatusTeapot, `{"title":"teapot"}`),
		"503 of a server":     status(http.StatusServiceUnavailable, `{"code":"unavailable","title":"busy"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := against(t, handler)
			for what, err := range requests(t, c) {
				require.Error(t, err, what)
				require.True(t, fault.Retryable(err), "%s: %v", what, err)
				require.False(t, Refused(err), "%s: %v", what, err)
				require.Less(t, len(err.Error()), 500, "nobody reads a page in a log")
			}
		})
	}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func TestRefused_isTheServersOwnNo(t *testing.T) {
	t.Parallel()
	c := against(t, status(http.StatusBadRequest, `{"code":"invalid","title":"no"}`))
	_, err := c.Reports(t.Context(), nil)
	require.True(t, Refused(err), "%v", err)
	c = against(t, status(http.StatusRequestEntityTooLarge, "<html>too large for this proxy"))
	_, err = c.Reports(t.Context(), nil)
	require.True(t, fault.Is(err, fault.TooLarge), "smaller batches may pass")
	require.False(t, Refused(err), "%v", err)
}

// A redirect would carry the device's credential to wherever an attacker says.
func TestRedirects_areNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(other.Close)
	for _, code := range []int{301, 302, 307, 308} {
		c := against(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, code) })
		for what, err := range requests(t, c) {
			require.ErrorContains(t, err, fmt.Sprint(code), what)
		}
	}
	require.Zero(t, reached.Load())
}

// An answer that drips for ever costs bounded time.
func TestAnswers_thatDripAreGivenUp(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{"of known length": "1000000", "endless": ""} {
		c := against(t, func(w http.ResponseWriter, r *http.Request) {
			if header != "" {
				w.Header().Set("Content-Length", header)
			}
			for tick := time.NewTicker(10 * time.Millisecond); ; {
				if _, err := io.WriteString(w, " "); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		})
		c.limit = 300 * time.Millisecond
		for what, err := range requests(t, c) {
			require.True(t, fault.Retryable(err), "%s, %s: %v", name, what, err)
		}
	}
}

// A small packed answer that would fill the memory is not unpacked at all, and a large plain one is cut
// off at its limit.
func TestAnswers_areBounded(t *testing.T) {
	// Not parallel: what others allocate would be counted.
	zeros := make([]byte, 1<<20)
	var member bytes.Buffer
	zw := gzip.NewWriter(&member)
	_, err := zw.Write(zeros)
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	bomb := bytes.Repeat(member.Bytes(), 256) // gzip files may be joined: this is one of 256 MB
	c := against(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb)
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for what, err := range requests(t, c) {
		require.Error(t, err, what)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(200<<20), "256 MB would come out of each")

	c = against(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	})
	for what, err := range requests(t, c) {
		require.Error(t, err, what)
	}
}

// An address that takes the connection and then says nothing uses up a request's time; the next request
// begins with the one behind it.
func TestAddresses_thatSayNothingAreLeftBehind(t *testing.T) {
	t.Parallel()
	silent := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server sees that its client is gone only when it has read it all
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	good := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"state":"active"}`) }))
	t.Cleanup(good.Close)
	c, err := New(Options{URLs: []string{silent.URL, good.URL}, CAPEM: pemOf(silent.Certificate()) + pemOf(good.Certificate())})
	require.NoError(t, err)
	c.limit = 300 * time.Millisecond
	_, err = c.CheckIn(t.Context(), protocol.CheckInRequest{})
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	c.limit = 20 * time.Second
	_, err = c.CheckIn(t.Context(), protocol.CheckInRequest{})
	require.NoError(t, err)
	require.Equal(t, good.URL, c.URL())
}

func TestRetryAfter_asADateIsReadByTheSendersClock(t *testing.T) {
	t.Parallel()
	wrong := time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)
	sent := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	h := http.Header{"Date": {sent.Format(http.TimeFormat)}, "Retry-After": {sent.Add(time.Minute).Format(http.TimeFormat)}}
	require.Equal(t, time.Minute, ParseRetryAfter(h, wrong))
}

func TestNew_speaksHTTPSAlone(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(nil)
	t.Cleanup(srv.Close)
	_, err := New(Options{URLs: []string{"http://muster.example"}, CAPEM: pemOf(srv.Certificate())})
	require.ErrorContains(t, err, "not https://")
}
