package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/muster/muster/agent/internal/backoff"
	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/proxy"
)

// Times of a WebSocket.
const (
	handshakeLimit = 30 * time.Second
	writeLimit     = 20 * time.Second
	pingEvery      = 50 * time.Second
	heldLong       = time.Minute // after which a connection counts as a success
	socketBuffer   = 1 << 10     // bytes; messages are short and rare
)

// socket is an open WebSocket. Only its reader reads; writers take turns.
type socket struct {
	conn   *websocket.Conn
	mu     sync.Mutex
	once   sync.Once
	closed chan struct{}
	cause  error         // why, once closed
	every  time.Duration // between two pings
}

// silence is how long nothing may come: two lost pongs, and time for the second to be late.
func (c *socket) silence() time.Duration { return 2*c.every + 3*c.every/5 }

// alive gives the other side its time anew.
func (c *socket) alive() error { return c.conn.SetReadDeadline(time.Now().Add(c.silence())) }

func (c *socket) write(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeLimit))
	err := c.conn.WriteMessage(websocket.TextMessage, data)
	if err != nil {
		c.close(err)
	}
	return err
}

func (c *socket) close(cause error) {
	c.once.Do(func() {
		c.cause = cause
		close(c.closed)
		_ = c.conn.Close() // whoever reads it is woken by this
	})
}

// refusedError is an HTTP answer to the handshake that is no upgrade.
type refusedError struct {
	status     int
	retryAfter time.Duration // 0 when the server named none
}

// Error names the status.
func (e *refusedError) Error() string {
	return fmt.Sprintf("the WebSocket is refused with status %d", e.status)
}

// Unwrap returns the fault that the status stands for.
func (e *refusedError) Unwrap() error {
	return fault.New(fault.FromStatus(e.status), "status %d", e.status)
}

// connect keeps a WebSocket open until ctx ends, and connects again with back-off.
func (s *Session) connect(ctx context.Context) {
	retry := backoff.Backoff{Base: firstRetry, Cap: s.interval(time.Now())}
	told := false
	for ctx.Err() == nil {
		conn, err := s.dial(ctx)
		pause := time.Duration(0)
		if err == nil {
			told = false
			select {
			case <-s.redial: // done
			default:
			}
			since := time.Now()
			err = s.hold(ctx, conn)
			if time.Since(since) > heldLong { // one that is cut at once, again and again, is backed off from
				retry.Reset()
			}
			s.log.Debug("the WebSocket is closed", logging.Err, err)
			pause = retry.Next()
		} else if ctx.Err() == nil {
			pause = retry.Next()
			var refused *refusedError
			if errors.As(err, &refused) {
				pause = s.refused(refused, pause)
				if refused.status == http.StatusUnauthorized {
					s.askWhy()
				} else if !told {
					s.log.Info("no WebSocket to the server: check-ins go on by HTTPS alone", logging.Err, err)
				}
				told = true
			}
			s.log.Debug("connect the WebSocket", logging.Err, err, "again_in", pause.Round(time.Second))
			s.offline(err)
		}
		select {
		case <-ctx.Done():
		case <-s.redial:
		case <-time.After(pause):
		}
	}
}

// askWhy checks in when the server has just refused the device's credential: the answer says why, and the
// status shows it. It does so once, not at every try.
func (s *Session) askWhy() {
	s.mu.Lock()
	known := s.state.DeviceState == identity.StateRefused
	s.mu.Unlock()
	if !known {
		s.Wake()
	}
}

// refused is how long to leave a server, or the proxy before it, alone that does not want WebSockets.
func (s *Session) refused(e *refusedError, pause time.Duration) time.Duration {
	if e.status == http.StatusUnauthorized {
		return max(quietRetry, s.interval(time.Now())) + pause
	}
	if e.status >= 500 || e.status == http.StatusTooManyRequests {
		return e.retryAfter + pause // overload or a restart
	}
	return s.interval(time.Now()) + pause
}

func (s *Session) dial(ctx context.Context) (*websocket.Conn, error) {
	var shaken []func() bool
	defer func() {
		for _, stop := range shaken {
			stop()
		}
	}()
	d := websocket.Dialer{
		Proxy: proxy.FromEnvironment, TLSClientConfig: s.client.TLS(), HandshakeTimeout: handshakeLimit,
		ReadBufferSize: socketBuffer, WriteBufferSize: socketBuffer, Subprotocols: []string{protocol.SocketProtocol},
	}
	d.NetDialContext = func(limited context.Context, network, address string) (net.Conn, error) {
		conn, err := s.client.Dial(limited, network, address)
		if err == nil { // the handshake heeds its time limit alone
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			shaken = append(shaken, stop)
		}
		return conn, err
	}
	address := s.client.URL()
	url := "wss" + strings.TrimPrefix(strings.TrimRight(address, "/"), "https") + protocol.PathSocket
	var refused *refusedError
	for _, header := range s.client.Headers() {
		conn, resp, err := d.DialContext(ctx, url, header)
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		if err == nil {
			return conn, nil
		}
		if resp == nil || !errors.Is(err, websocket.ErrBadHandshake) {
			explained, again := s.client.Explain(err)
			if !again {
				s.client.Unreachable(address)
			}
			return nil, fault.Wrap(explained, fault.Unavailable, "open the WebSocket")
		}
		refused = &refusedError{resp.StatusCode, client.ParseRetryAfter(resp.Header, time.Now())}
		if resp.StatusCode != http.StatusUnauthorized {
			break
		}
	}
	return nil, refused
}

// hold makes the connection the session's and reads until it ends. The server's first message is a wakeup:
// a check-in before it might miss what is assigned before the server knows the connection.
//
//fuzz:none it takes a frame of bounded size; FuzzReceive decodes what is in it
func (s *Session) hold(ctx context.Context, conn *websocket.Conn) error {
	c := &socket{conn: conn, closed: make(chan struct{}), every: s.o.PingEvery}
	if c.every == 0 {
		c.every = pingEvery
	}
	conn.SetReadLimit(protocol.MaxSocketDown)
	s.setSocket(c)
	defer s.setSocket(nil)
	stop := context.AfterFunc(ctx, func() { c.close(ctx.Err()) })
	defer stop()
	go c.ping()
	nudge(s.kick)

	_ = c.alive()
	conn.SetPongHandler(func(string) error { return c.alive() })
	conn.SetPingHandler(func(data string) error {
		_ = c.alive()
		err := conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeLimit))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			c.close(err)
			return c.cause
		}
		_ = c.alive()
		if kind == websocket.TextMessage {
			s.receive(data)
		}
	}
}

func (s *Session) setSocket(c *socket) {
	s.mu.Lock()
	s.socket = c
	s.mu.Unlock()
	s.o.Host.Changed()
}

// receive acts on a message from the server. It can say two things, neither of which is a command.
func (s *Session) receive(data []byte) {
	var m protocol.SocketMessage
	if err := protocol.Unmarshal(data, &m); err != nil {
		s.log.Debug("a message of the server cannot be read", logging.Err, err)
		return
	}
	switch m.Type {
	case protocol.SocketWakeup:
		s.Wake()
	case protocol.SocketAck:
		if m.Ack != nil {
			s.acked(*m.Ack)
		}
	}
}

// ping keeps proxies from closing a silent connection and finds out when it is dead.
func (c *socket) ping() {
	for {
		timer := time.NewTimer(c.every - rand.N(c.every/5))
		select {
		case <-c.closed:
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeLimit)); err != nil {
			c.close(err)
			return
		}
	}
}
