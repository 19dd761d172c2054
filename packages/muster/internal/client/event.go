package client

import (
	"context"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// maxEvent bounds one event, in bytes.
const maxEvent = 64 << 10

// quiet is how long a connection may be silent, pings included, before it is taken for dead.
const quiet = 90 * time.Second

// Events calls fn for every nudge until the connection ends, and then returns why. It is a hint only:
// whoever watches asks for the state itself, also without a nudge now and then. connected is called
// once the server listens.
//
//fuzz:none a hint of two words, bounded by the read limit; what it hints at is asked for again
func (c *Client) Events(ctx context.Context, connected func(), fn func(Event)) error {
	config, err := tlsConfig(c.opts.CA)
	if err != nil {
		return err
	}
	u := *c.base
	u.Scheme = map[string]string{"https": "wss", "http": "ws"}[u.Scheme]
	u.Path += apiPath + "/events"
	header := http.Header{}
	c.identify(header)
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, HandshakeTimeout: 15 * time.Second}
	conn, resp, err := dialer.DialContext(ctx, u.String(), header)
	if err != nil {
		if resp != nil {
			defer resp.Body.Close()
			return c.problem(resp, nil)
		}
		return c.unreachable(ctx, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	conn.SetReadLimit(maxEvent)
	alive := func() { _ = conn.SetReadDeadline(time.Now().Add(quiet)) } // an error shows in the next read
	ping := conn.PingHandler()
	conn.SetPingHandler(func(data string) error { alive(); return ping(data) })
	alive()
	connected()
	for {
		var e Event
		if err := conn.ReadJSON(&e); err != nil {
			return c.unreachable(ctx, err)
		}
		alive()
		fn(e)
	}
}
