package agentapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/agentapi"
	"github.com/muster/muster/server/internal/inventory"
	"github.com/muster/muster/server/internal/servertest"
)

const cpus = `{"key":"socket-0","name":"X1","cores":2}` + "\n"

func headOf(data string) protocol.InventoryHead {
	return protocol.InventoryHead{Protocol: 1, CollectedAt: time.Now(), Sections: []protocol.SectionHead{
		{Name: "cpus", SHA256: digest(data), Rows: strings.Count(data, "\n"), Bytes: int64(len(data))},
	}}
}

// section is a request that brings one.
func (e *env) section(bearer, name, sha256, collected, encoding string, body io.Reader) *http.Request {
	e.t.Helper()
	q := url.Values{"sha256": {sha256}, "collected_at": {collected}}
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodPut, e.url+protocol.PathInventory+"/"+name+"?"+q.Encode(), body)
	require.NoError(e.t, err)
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Content-Encoding", encoding)
	return req
}

const someTime = "2026-11-21T08:00:00Z"

// put sends a section as an agent does and returns the status and the problem's code.
func (e *env) put(bearer, data string) (int, string) {
	e.t.Helper()
	return e.do(e.section(bearer, "cpus", digest(data), someTime, "gzip", bytes.NewReader(servertest.Gzip(e.t, []byte(data)))))
}

func (e *env) do(req *http.Request) (int, string) {
	e.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	require.NoError(e.t, err)
	defer resp.Body.Close() //nolint:errcheck // read only
	var p protocol.Problem
	if resp.StatusCode >= 400 {
		require.NoError(e.t, json.NewDecoder(resp.Body).Decode(&p))
	}
	return resp.StatusCode, p.Code
}

func TestInventory_inEveryStateButRevoked(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	for _, approval := range []bool{false, true} {
		id, bearer := e.enroll(approval)
		var answer protocol.InventoryAnswer
		resp, p := e.call("POST", protocol.PathInventory, bearer, headOf(cpus), &answer)
		require.Equal(t, 200, resp.StatusCode, "%+v", p)
		require.Equal(t, []string{"cpus"}, answer.Want)
		for range 2 { // an answer that was lost is no harm
			status, _ := e.put(bearer, cpus)
			require.Equal(t, http.StatusNoContent, status)
		}
		e.call("POST", protocol.PathInventory, bearer, headOf(cpus), &answer)
		require.Empty(t, answer.Want)

		_, err := e.devices.Revoke(t.Context(), id)
		require.NoError(t, err)
		resp, _ = e.call("POST", protocol.PathInventory, bearer, headOf(cpus), nil)
		require.Equal(t, 401, resp.StatusCode)
		status, _ := e.put(bearer, cpus)
		require.Equal(t, 401, status)
	}
}

func TestInventory_refuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	_, bearer := e.enroll(false)
	resp, p := e.call("POST", protocol.PathInventory, bearer, headOf(cpus), nil)
	require.Equal(t, 200, resp.StatusCode, "%+v", p)
	good := servertest.Gzip(t, []byte(cpus))
	bomb := bytes.Repeat(servertest.Gzip(t, bytes.Repeat([]byte(" "), 1<<20)), 2*protocol.MaxSectionBytes>>20) // gzip may go on after its end
	require.Less(t, len(bomb), 1<<20)
	for name, c := range map[string]struct {
		section, sha256, collected, encoding string
		body                                 []byte
		status                               int
		code                                 string
	}{
		"good":            {"cpus", digest(cpus), someTime, "gzip", good, 204, ""},
		"another digest":  {"cpus", digest("x"), someTime, "gzip", good, 422, "untrusted"},
		"no digest":       {"cpus", "", someTime, "gzip", good, 400, "invalid"},
		"no time":         {"cpus", digest(cpus), "yesterday", "gzip", good, 400, "invalid"},
		"not named":       {"users", digest(cpus), someTime, "gzip", good, 409, "conflict"},
		"no section":      {"CPUs", digest(cpus), someTime, "gzip", good, 404, "not_found"},
		"not packed":      {"cpus", digest(cpus), someTime, "", []byte(cpus), 415, "unsupported"},
		"says gzip":       {"cpus", digest("y"), someTime, "gzip", []byte(cpus), 400, "invalid"},
		"bomb":            {"cpus", digest("z"), someTime, "gzip", bomb, 413, "too_large"},
		"too large":       {"cpus", digest("z"), someTime, "gzip", make([]byte, inventory.MaxPacked+1), 413, "too_large"},
		"no row":          {"cpus", digest("x\n"), someTime, "gzip", servertest.Gzip(t, []byte("x\n")), 400, "invalid"},
		"nothing at all":  {"cpus", digest("u"), someTime, "gzip", nil, 400, "invalid"},
		"without an end":  {"cpus", digest("v"), someTime, "gzip", good[:len(good)-4], 400, "invalid"},
		"far in the past": {"cpus", digest(cpus), "0001-01-01T00:00:00Z", "gzip", good, 204, ""},
	} {
		status, code := e.do(e.section(bearer, c.section, c.sha256, c.collected, c.encoding, bytes.NewReader(c.body)))
		require.Equal(t, c.status, status, "%s: %s", name, code)
		require.Equal(t, c.code, code, name)
	}
	head := headOf(cpus)
	head.Protocol = 99
	resp, _ = e.call("POST", protocol.PathInventory, bearer, head, nil)
	require.Equal(t, 400, resp.StatusCode)
	resp, _ = e.call("POST", protocol.PathInventory, bearer, strings.Repeat(" ", protocol.MaxInventoryHead+1), nil)
	require.Equal(t, 413, resp.StatusCode)
}

// Who sends a section slowly takes no place; a device sends one at a time.
func TestInventory_slowOnesHoldUpNobody(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *agentapi.Options) { o.MaxInventories = 1 })
	_, slow := e.enroll(false)
	_, good := e.enroll(false)
	for _, bearer := range []string{slow, good} {
		resp, p := e.call("POST", protocol.PathInventory, bearer, headOf(cpus), nil)
		require.Equal(t, 200, resp.StatusCode, "%+v", p)
	}
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	go func() {
		if resp, err := http.DefaultClient.Do(e.section(slow, "cpus", digest(cpus), someTime, "gzip", r)); err == nil {
			_ = resp.Body.Close()
		}
	}()
	_, err := w.Write([]byte{0x1f})
	require.NoError(t, err)
	require.Eventually(t, func() bool { // the slow one has come that far when a second of its sections is sent away
		status, _ := e.put(slow, cpus)
		return status == http.StatusTooManyRequests
	}, time.Minute, 10*time.Millisecond)
	status, code := e.put(good, cpus)
	require.Equal(t, http.StatusNoContent, status, code)
}

// A device that sends ever new sections is told to come later.
func TestInventory_oneDeviceSendsNotWithoutEnd(t *testing.T) {
	t.Parallel()
	h := &held{}
	e := newEnv(t, func(o *agentapi.Options) { o.Inventories = h })
	_, hostile := e.enroll(false)
	_, good := e.enroll(false)
	sent := 0
	for ; sent < 300; sent++ {
		status, _ := e.put(hostile, cpus)
		if status == http.StatusTooManyRequests {
			break
		}
		require.Equal(t, http.StatusNoContent, status)
	}
	require.Less(t, sent, 300)
	status, code := e.put(good, cpus)
	require.Equal(t, http.StatusNoContent, status, code)
}

// held is inventories that are not done before they are told.
type held struct {
	entered chan struct{}
	proceed chan struct{}
}

func (h *held) Head(context.Context, inventory.Device, protocol.InventoryHead) (protocol.InventoryAnswer, error) {
	h.entered <- struct{}{}
	<-h.proceed
	return protocol.InventoryAnswer{Want: []string{}}, nil
}

func (h *held) Put(context.Context, inventory.Device, inventory.Upload) error { return nil }

// More than the server can take are sent away with a time to come back, not kept waiting.
func TestInventory_busyServerSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	h := &held{entered: make(chan struct{}, 8), proceed: make(chan struct{})}
	e := newEnv(t, func(o *agentapi.Options) { o.MaxInventories, o.Inventories = 1, h })
	_, bearer := e.enroll(false)
	body, err := json.Marshal(headOf(cpus))
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.url+protocol.PathInventory, bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+bearer)
	answered := make(chan int, 1)
	go func() {
		status := 0
		if resp, err := http.DefaultClient.Do(req); err == nil {
			status = resp.StatusCode
			_ = resp.Body.Close()
		}
		answered <- status
	}()
	<-h.entered
	resp, p := e.call("POST", protocol.PathInventory, bearer, headOf(cpus), nil)
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode, "one device takes one place, whatever it sends")
	require.Equal(t, "too_many", p.Code)
	_, other := e.enroll(false)
	resp, p = e.call("POST", protocol.PathInventory, other, headOf(cpus), nil)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, "unavailable", p.Code)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	close(h.proceed)
	require.Equal(t, 200, <-answered)
}

// Whatever a device sends as a section, nothing breaks on the server's side.
func FuzzSection(f *testing.F) {
	e := newEnv(f, nil)
	_, bearer := e.enroll(false)
	e.call("POST", protocol.PathInventory, bearer, headOf(cpus), nil)
	f.Add("cpus", digest(cpus), someTime, "gzip", servertest.Gzip(f, []byte(cpus)))
	f.Add("x%2f..", "sha", "2026", "br", []byte("x"))
	f.Fuzz(func(t *testing.T, name, sha256, collected, encoding string, body []byte) {
		q := url.Values{"sha256": {sha256}, "collected_at": {collected}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut,
			e.url+protocol.PathInventory+"/"+url.PathEscape(name)+"?"+q.Encode(), bytes.NewReader(body))
		if err != nil || strings.ContainsAny(encoding, "\r\n\x00") || encoding != strings.ToValidUTF8(encoding, "") {
			return
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		req.Header["Content-Encoding"] = []string{strings.Map(printable, encoding)}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close() //nolint:errcheck // read only
		require.NotEqual(t, http.StatusInternalServerError, resp.StatusCode)
	})
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return -1
	}
	return r
}
