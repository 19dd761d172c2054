package hub

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/muster/muster/packages/fault"
)

// wakeup is the only order a device ever gets over its WebSocket.
var wakeup = []byte(`{"type":"wakeup"}`)

// frame is one message to write.
type frame struct {
	kind int // websocket.TextMessage, PingMessage or CloseMessage
	data []byte
	wake bool
}

// conn is one live connection. Its queue is bounded; the writer goroutine lives only while the queue
// is not empty, so an idle connection costs one goroutine, the reader.
type conn struct {
	hub     *Hub
	ws      *websocket.Conn
	slot    int
	limit   int // of the queue
	allowed func() bool
	ctx     context.Context // ends with the connection
	cancel  context.CancelFunc

	mu      sync.Mutex
	queue   []frame
	waking  bool // a wakeup is already queued
	writing bool
	closed  bool
}

func (h *Hub) newConn(ws *websocket.Conn, readLimit int64, queue int) *conn {
	c := &conn{hub: h, ws: ws, limit: queue}
	c.ctx, c.cancel = context.WithCancel(h.ctx)
	ws.SetReadLimit(readLimit)
	ws.SetPongHandler(func(string) error { return c.alive() })
	return c
}

// alive moves the read deadline: whoever answers neither pings nor anything else is gone.
func (c *conn) alive() error {
	return c.ws.SetReadDeadline(time.Now().Add(2*c.hub.opt.PingEvery + c.hub.opt.WriteTimeout))
}

// read hands every text message to receive until the connection ends.
func (h *Hub) read(c *conn, receive Receiver) {
	defer c.end()
	for {
		if c.alive() != nil {
			return
		}
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return
		}
		if kind != websocket.TextMessage {
			c.goodbye(websocket.CloseUnsupportedData, "only text messages")
			return
		}
		answer, last, ok := h.take(c, r, receive)
		if !ok {
			return
		}
		if answer != nil && !c.send(frame{kind: websocket.TextMessage, data: answer}) {
			return
		}
		if last {
			c.send(frame{kind: websocket.CloseMessage})
			c.drain()
			return
		}
	}
}

// take reads one message and hands it to receive. When it is not ok the connection has ended; when it was the
// last one, it ends with the answer.
func (h *Hub) take(c *conn, r io.Reader, receive Receiver) (answer []byte, last, ok bool) {
	r, release := h.messages.Reader(r)
	defer release()
	data, err := io.ReadAll(r)
	if fault.Is(err, fault.Unavailable) {
		c.goodbye(websocket.CloseTryAgainLater, "too many large messages at once")
		return nil, false, false
	}
	if err != nil {
		c.end()
		return nil, false, false
	}
	answer, err = receive(c.ctx, data)
	if last = errors.Is(err, ErrLast); err != nil && !last {
		c.goodbye(websocket.ClosePolicyViolation, "message refused")
		return nil, false, false
	}
	return answer, last, true
}

// wake queues a wakeup unless one is queued already; it reports whether the connection lives.
func (c *conn) wake() bool {
	return c.send(frame{kind: websocket.TextMessage, data: wakeup, wake: true})
}

// send queues f. A full queue belongs to a peer that does not read: the connection ends.
func (c *conn) send(f frame) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	if f.wake && c.waking {
		c.mu.Unlock()
		return true
	}
	if len(c.queue) >= c.limit {
		c.mu.Unlock()
		c.hub.metrics.overflows.Inc()
		c.end()
		return false
	}
	c.queue = append(c.queue, f)
	c.waking = c.waking || f.wake
	start := !c.writing
	c.writing = true
	c.mu.Unlock()
	if start {
		go c.write()
	}
	return true
}

// write empties the queue and ends. It never outlives the write deadline by much, and end makes a
// blocked write return at once.
func (c *conn) write() {
	for {
		c.mu.Lock()
		if c.closed || len(c.queue) == 0 {
			c.writing = false
			c.queue = nil
			c.mu.Unlock()
			return
		}
		f := c.queue[0]
		c.queue = c.queue[1:]
		if f.wake {
			c.waking = false
		}
		c.mu.Unlock()

		deadline := time.Now().Add(c.hub.opt.WriteTimeout)
		var err error
		switch f.kind {
		case websocket.CloseMessage:
			c.goodbye(websocket.CloseNormalClosure, "nothing more is expected of this device")
		case websocket.PingMessage:
			err = c.ws.WriteControl(f.kind, nil, deadline)
		default:
			if err = c.ws.SetWriteDeadline(deadline); err == nil {
				err = c.ws.WriteMessage(f.kind, f.data)
			}
		}
		if err != nil {
			c.end()
		}
	}
}

// drain reads on, and throws away, until the writer or the peer has ended the connection.
func (c *conn) drain() {
	for {
		if _, _, err := c.ws.NextReader(); err != nil {
			return
		}
	}
}

// end closes the connection without ceremony. The reader notices and unregisters it.
func (c *conn) end() {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if first {
		c.cancel()
		_ = c.ws.Close() // the peer learns it from the closed socket either way
	}
}

// goodbye tells the peer why, for at most a second, and ends the connection.
func (c *conn) goodbye(code int, text string) {
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(time.Second))
	c.end()
}

// shut is goodbye without waiting for it.
func (h *Hub) shut(c *conn, code int, text string) {
	if !h.spawn(func() { c.goodbye(code, text) }) {
		c.end() // Close says goodbye itself
	}
}

// spawn runs fn beside, unless the hub is being closed and takes no new goroutines.
func (h *Hub) spawn(fn func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Go(fn)
	return true
}
