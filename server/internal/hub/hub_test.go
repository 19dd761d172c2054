package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/bus"
	"github.com/muster/muster/server/internal/hub"
)

const patience = time.Minute

// env is a hub behind a real HTTP server: /device/<id> and /browser.
type env struct {
	hub     *hub.Hub
	url     string
	allowed atomic.Bool
	receive atomic.Pointer[hub.Receiver]
}

func start(t *testing.T, opt hub.Options) *env {
	t.Helper()
	opt.Bus = bus.NewMemory()
	opt.Log = slog.New(slog.DiscardHandler)
	e := &env{hub: hub.New(opt)}
	e.allowed.Store(true)
	e.onReceive(func(context.Context, []byte) ([]byte, error) { return nil, nil })
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if id, ok := strings.CutPrefix(r.URL.Path, "/device/"); ok {
			err = e.hub.AcceptDevice(w, r, id, *e.receive.Load())
		} else {
			err = e.hub.AcceptBrowser(w, r, e.allowed.Load)
		}
		if err != nil {
			w.WriteHeader(fault.Status(fault.CodeOf(err)))
		}
	}))
	e.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, e.hub.Close(ctx))
		srv.Close()
	})
	return e
}

func (e *env) onReceive(r hub.Receiver) { e.receive.Store(&r) }

func (e *env) dialDevice(t *testing.T, id string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{protocol.SocketProtocol}}
	ws, resp, err := d.Dial(e.url+"/device/"+id, nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	t.Cleanup(func() { _ = ws.Close() })
	require.NoError(t, ws.SetReadDeadline(time.Now().Add(patience)))
	require.Contains(t, readText(t, ws), protocol.SocketWakeup, "said as soon as the hub knows the connection")
	return ws
}

func (e *env) dialBrowser(t *testing.T) *websocket.Conn {
	t.Helper()
	ws, resp, err := websocket.DefaultDialer.Dial(e.url+"/browser", nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	t.Cleanup(func() { _ = ws.Close() })
	require.NoError(t, ws.SetReadDeadline(time.Now().Add(patience)))
	return ws
}

func readText(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	_, data, err := ws.ReadMessage()
	require.NoError(t, err)
	return string(data)
}

func TestWake_tellsTheDeviceToCheckIn(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{})
	ws := e.dialDevice(t, "a")
	require.True(t, e.hub.Connected("a"))
	require.False(t, e.hub.Connected("b"))
	require.Equal(t, []string{"a"}, e.hub.ConnectedIDs())
	e.hub.Wake("b") // nobody there: nothing happens
	e.hub.Wake("a")
	var m protocol.SocketMessage
	require.NoError(t, json.Unmarshal([]byte(readText(t, ws)), &m))
	require.Equal(t, protocol.SocketWakeup, m.Type)
}

// A wave goes as its check-ins come: no more devices are woken than may be under way, each once, and each
// check-in lets the next one go.
func TestWakeMany_isPacedByCheckIns(t *testing.T) {
	t.Parallel()
	const devices, most = 12, 3
	e := start(t, hub.Options{WakesUnderWay: most, WakePatience: time.Hour})
	var ids []string
	woken := make(chan string, 2*devices)
	for i := range devices {
		id := fmt.Sprint("d", i)
		ids = append(ids, id)
		ws := e.dialDevice(t, id)
		e.hub.CheckedIn(id) // the wakeup of every new connection
		go func() {
			for {
				if _, _, err := ws.ReadMessage(); err != nil {
					return
				}
				woken <- id
			}
		}()
	}
	e.hub.WakeMany(append(ids, ids...))
	e.hub.WakeMany([]string{"nobody", "nobody else"})
	var heard []string
	for n := range devices {
		heard = append(heard, <-woken)
		if n >= most-1 {
			require.Empty(t, woken, "more are under way than may be")
			e.hub.CheckedIn(heard[n-most+1])
		}
	}
	require.ElementsMatch(t, ids, heard, "each once")
}

// Devices that are woken and do not come hold up the others for a while only.
func TestWakeMany_goesOnWithoutTheSilent(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{WakesUnderWay: 1, WakePatience: 20 * time.Millisecond})
	var conns []*websocket.Conn
	for i := range 5 {
		conns = append(conns, e.dialDevice(t, fmt.Sprint("d", i)))
	}
	e.hub.WakeMany([]string{"d0", "d1", "d2", "d3", "d4"})
	for _, ws := range conns {
		require.Contains(t, readText(t, ws), protocol.SocketWakeup)
	}
}

func TestAcceptDevice_newerReplacesOlder(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{})
	old := e.dialDevice(t, "a")
	fresh := e.dialDevice(t, "a")
	_, _, err := old.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.ClosePolicyViolation), "%v", err)
	e.hub.Wake("a")
	require.Contains(t, readText(t, fresh), "wakeup")
	require.True(t, e.hub.Connected("a"), "the end of the old connection does not unregister the new one")
}

func TestAcceptDevice_refusals(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{UpgradesPerSecond: 1})
	for name, tc := range map[string]struct {
		protocols []string
		header    http.Header
		status    int
	}{
		"no sub-protocol": {nil, nil, 400},
		"from a web page": {[]string{protocol.SocketProtocol}, http.Header{"Origin": {"https://evil.example"}}, 403},
	} {
		d := websocket.Dialer{Subprotocols: tc.protocols}
		_, resp, err := d.Dial(e.url+"/device/a", tc.header)
		require.Error(t, err, name)
		require.Equal(t, tc.status, resp.StatusCode, name)
		_ = resp.Body.Close()
	}
	e.dialDevice(t, "a")
	d := websocket.Dialer{Subprotocols: []string{protocol.SocketProtocol}}
	_, resp, err := d.Dial(e.url+"/device/a", nil)
	require.Error(t, err, "this second's upgrade is used up")
	require.Equal(t, 503, resp.StatusCode)
	_ = resp.Body.Close()
}

func TestDevice_messagesAreAnswered(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{})
	e.onReceive(func(_ context.Context, data []byte) ([]byte, error) {
		if string(data) == "bad" {
			return nil, fault.New(fault.Invalid, "bad")
		}
		return append([]byte("ack "), data...), nil
	})
	ws := e.dialDevice(t, "a")
	require.NoError(t, ws.WriteMessage(websocket.TextMessage, []byte("1")))
	require.Equal(t, "ack 1", readText(t, ws))
	require.NoError(t, ws.WriteMessage(websocket.TextMessage, []byte("bad")))
	_, _, err := ws.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.ClosePolicyViolation), "%v", err)
	require.Eventually(t, func() bool { return !e.hub.Connected("a") }, patience, time.Millisecond)
}

func TestDevice_tooLargeAndBinaryEndTheConnection(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{})
	ws := e.dialDevice(t, "a")
	_ = ws.WriteMessage(websocket.TextMessage, make([]byte, protocol.MaxSocketMessage+1))
	_, _, err := ws.ReadMessage()
	require.Error(t, err)
	ws = e.dialDevice(t, "b")
	require.NoError(t, ws.WriteMessage(websocket.BinaryMessage, []byte("x")))
	_, _, err = ws.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseUnsupportedData), "%v", err)
}

func TestDevice_silentPeerIsCut(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{PingEvery: 3 * time.Second, WriteTimeout: time.Second}) // time to answer for one on a busy computer
	answering := e.dialDevice(t, "answers")
	go func() { // reading is what answers pings
		for {
			if _, _, err := answering.ReadMessage(); err != nil {
				return
			}
		}
	}()
	e.dialDevice(t, "silent")
	require.Eventually(t, func() bool { return !e.hub.Connected("silent") }, patience, 5*time.Millisecond)
	require.True(t, e.hub.Connected("answers"))
}

func TestDevice_thatDoesNotReadIsCut(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{Queue: 4, WriteTimeout: time.Minute})
	big := make([]byte, 256<<10)
	for i := range big {
		big[i] = 'x'
	}
	e.onReceive(func(context.Context, []byte) ([]byte, error) { return big, nil })
	ws := e.dialDevice(t, "a")
	require.Eventually(t, func() bool {
		_ = ws.SetWriteDeadline(time.Now().Add(time.Second))
		_ = ws.WriteMessage(websocket.TextMessage, []byte("more"))
		return !e.hub.Connected("a")
	}, patience, time.Millisecond)
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{})
	ws := e.dialDevice(t, "a")
	e.hub.Disconnect("nobody")
	e.hub.Disconnect("a")
	_, _, err := ws.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.ClosePolicyViolation), "%v", err)
	require.Eventually(t, func() bool { return !e.hub.Connected("a") }, patience, time.Millisecond)
}

// awaitRegistered returns when the browser gets events: what is told before is not for it.
func (e *env) awaitRegistered(t *testing.T, ws *websocket.Conn) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			e.hub.Notify(hub.Event{Type: "package", ID: "p"})
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	require.Contains(t, readText(t, ws), `"id":"p"`)
	stop()
	<-done
}

func TestNotify_coalescesPerThing(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{FlushEvery: 50 * time.Millisecond})
	ws := e.dialBrowser(t)
	e.awaitRegistered(t, ws)
	for i := range 50 {
		e.hub.Notify(hub.Event{Type: "deployment", ID: "x", DeviceID: "d", Progress: &hub.Progress{Done: int64(i), Total: 49}})
	}
	e.hub.Notify(hub.Event{Type: "deployment", ID: "x", DeviceID: "d", PackageID: "p"})
	e.hub.Notify(hub.Event{Type: "upload", ID: "last"})
	seen := map[string]int{}
	for seen["upload"] == 0 || seen["deployment"] == 0 {
		var ev hub.Event
		require.NoError(t, json.Unmarshal([]byte(readText(t, ws)), &ev))
		seen[ev.Type]++
		if ev.Type == "deployment" && ev.PackageID != "" {
			require.Equal(t, &hub.Progress{Done: 49, Total: 49}, ev.Progress, "a state change keeps the newest progress")
		}
	}
	require.LessOrEqual(t, seen["deployment"], 5)
}

func TestNotify_manyCollapseIntoOne(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{FlushEvery: 300 * time.Millisecond})
	ws := e.dialBrowser(t)
	e.awaitRegistered(t, ws)
	for i := range 5000 {
		e.hub.Notify(hub.Event{Type: "deployment", ID: fmt.Sprint(i)})
	}
	for {
		var ev hub.Event
		require.NoError(t, json.Unmarshal([]byte(readText(t, ws)), &ev))
		if ev.ID == "" {
			require.Equal(t, "deployment", ev.Type)
			return
		}
	}
}

func TestBrowser_isCutWhenSignedOut(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{PingEvery: 40 * time.Millisecond})
	ws := e.dialBrowser(t)
	e.allowed.Store(false)
	_, _, err := ws.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.ClosePolicyViolation), "%v", err)
}

func TestBrowser_refusals(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{MaxBrowsers: 1})
	_, resp, err := websocket.DefaultDialer.Dial(e.url+"/browser", http.Header{"Origin": {"https://evil.example"}})
	require.Error(t, err)
	require.Equal(t, 403, resp.StatusCode, "another site's page may not listen")
	_ = resp.Body.Close()
	e.dialBrowser(t)
	require.Eventually(t, func() bool {
		ws, resp, err := websocket.DefaultDialer.Dial(e.url+"/browser", nil)
		_ = resp.Body.Close()
		if err == nil {
			_ = ws.Close()
		}
		return err != nil && resp.StatusCode == 503
	}, patience, time.Millisecond)
}

func TestClose_saysGoodbye(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{Registerer: prometheus.NewRegistry()})
	device, browser := e.dialDevice(t, "a"), e.dialBrowser(t)
	e.awaitRegistered(t, browser)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, e.hub.Close(ctx))
	for _, ws := range []*websocket.Conn{device, browser} {
		var err error
		for err == nil { // events may come before the goodbye
			_, _, err = ws.ReadMessage()
		}
		require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "%v", err)
	}
	require.False(t, e.hub.Connected("a"))
}

func TestHub_concurrent(t *testing.T) {
	t.Parallel()
	e := start(t, hub.Options{PingEvery: 20 * time.Millisecond, FlushEvery: time.Millisecond, WakePatience: time.Millisecond})
	e.onReceive(func(_ context.Context, d []byte) ([]byte, error) { return d, nil })
	browser := e.dialBrowser(t)
	go func() {
		for {
			if _, _, err := browser.ReadMessage(); err != nil {
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range 8 {
		id := fmt.Sprint("d", i%3) // shared, so that connections replace each other
		wg.Go(func() {
			d := websocket.Dialer{Subprotocols: []string{protocol.SocketProtocol}}
			for n := range 15 {
				ws, resp, err := d.Dial(e.url+"/device/"+id, nil)
				if err != nil {
					continue
				}
				_ = resp.Body.Close()
				_ = ws.WriteMessage(websocket.TextMessage, []byte("hello"))
				e.hub.Wake(id)
				e.hub.CheckedIn(id)
				e.hub.WakeMany([]string{"d0", "d1", "d2"})
				e.hub.Notify(hub.Event{Type: "deployment", ID: fmt.Sprint(n)})
				e.hub.Connected(id)
				e.hub.ConnectedIDs()
				if n%5 == 0 {
					e.hub.Disconnect(id)
				}
				_ = ws.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
				_, _, _ = ws.ReadMessage()
				_ = ws.Close()
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return len(e.hub.ConnectedIDs()) == 0 }, patience, time.Millisecond)
}
