package hub

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/muster/muster/packages/fault"
)

// upgrader makes WebSockets with small, shared buffers. It answers no refused request: its callers do,
// as they answer every other.
func upgrader(opt Options, pool websocket.BufferPool, subprotocols ...string) websocket.Upgrader {
	return websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: pool, HandshakeTimeout: opt.WriteTimeout,
		Subprotocols: subprotocols,
		Error:        func(http.ResponseWriter, *http.Request, int, error) {},
		CheckOrigin:  func(*http.Request) bool { return true }, // done before, by who accepts
	}
}

// upgrade takes the request's connection over. Every refusal is a fault and nothing has been written
// then. A peer that goes away in the middle of it leaves ok false and no error.
func (h *Hub) upgrade(u *websocket.Upgrader, w http.ResponseWriter, r *http.Request) (ws *websocket.Conn, ok bool, err error) {
	ws, err = u.Upgrade(w, r, nil)
	if err == nil {
		return ws, true, nil
	}
	var refused websocket.HandshakeError
	if errors.As(err, &refused) {
		return nil, false, fault.New(fault.Invalid, "%s", strings.TrimPrefix(refused.Error(), "websocket: "))
	}
	h.log.Debug("upgrade to a WebSocket", "err", err)
	return nil, false, nil
}

// sameHost reports whether a browser's page that opens a WebSocket is this server's own. Programs send no
// Origin.
func sameHost(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}
