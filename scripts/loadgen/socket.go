package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/muster/muster/packages/protocol"
)

// silence is how long a WebSocket may be silent: twice the server's pings and a little.
const silence = 150 * time.Second

// delivery waits for the acknowledgement of a batch that was sent over the WebSocket.
type delivery struct {
	ids  map[string]bool
	ack  protocol.Ack
	done chan error
}

// connect opens the WebSocket and reads it until it ends.
func (d *device) connect(ctx context.Context) error {
	w := d.fleet.wire
	dialer := websocket.Dialer{
		NetDialContext: w.dialer(d.number).DialContext, TLSClientConfig: d.tls.Clone(), HandshakeTimeout: requestLimit,
		ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: &d.fleet.buffers, Subprotocols: []string{protocol.SocketProtocol},
	}
	header := http.Header{"Authorization": {"Bearer " + d.bearer}}
	conn, resp, err := dialer.DialContext(ctx, "wss://"+w.host+protocol.PathSocket, header)
	if err != nil {
		if resp != nil && errors.Is(err, websocket.ErrBadHandshake) {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
			return refusal(resp.StatusCode, resp.Header, body)
		}
		return err
	}
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	conn.SetReadLimit(protocol.MaxSocketDown)
	d.mu.Lock()
	d.socket = conn
	d.mu.Unlock()
	d.fleet.connected.Add(1)
	d.fleet.reading.Go(func() { d.read(conn) })
	return nil
}

// read acts on what the server says until the connection ends.
func (d *device) read(conn *websocket.Conn) {
	conn.SetPingHandler(func(data string) error {
		_ = conn.SetReadDeadline(time.Now().Add(silence))
		return conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(requestLimit))
	})
	_ = conn.SetReadDeadline(time.Now().Add(silence))
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			d.gone(conn, err)
			return
		}
		var m protocol.SocketMessage
		if err := json.Unmarshal(data, &m); err != nil {
			d.fleet.problem(fmt.Errorf("read a message of the WebSocket: %w", err))
			continue
		}
		switch {
		case m.Type == protocol.SocketWakeup:
			d.fleet.wakeups.Add(1)
			select {
			case d.woken <- time.Now():
			default: // one is waiting already
			}
		case m.Type == protocol.SocketAck && m.Ack != nil:
			d.acked(*m.Ack)
		}
	}
}

// gone forgets a connection that has ended.
func (d *device) gone(conn *websocket.Conn, why error) {
	_ = conn.Close()
	d.fleet.connected.Add(-1)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.socket = nil
	if d.pending != nil {
		d.pending.done <- why
		d.pending = nil
	}
}

// acked takes an acknowledgement; it ends the delivery when all its reports are named.
func (d *device) acked(ack protocol.Ack) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pending
	if p == nil {
		return
	}
	for _, id := range ack.IDs {
		delete(p.ids, id)
	}
	for _, r := range ack.Refused {
		delete(p.ids, r.ID)
	}
	p.ack.IDs, p.ack.Refused = append(p.ack.IDs, ack.IDs...), append(p.ack.Refused, ack.Refused...)
	if len(p.ids) == 0 {
		p.done <- nil
		d.pending = nil
	}
}

// deliver sends reports and waits until they are acknowledged: over the WebSocket when there is one, else
// by HTTPS. What was acknowledged stands in the ledger.
func (d *device) deliver(ctx context.Context, reports []protocol.Report) error {
	d.send.Lock()
	defer d.send.Unlock()
	begin := time.Now()
	ack, err := d.transmit(ctx, reports)
	d.fleet.delivered.note(time.Since(begin), err)
	if err != nil {
		return err
	}
	d.fleet.ledger.acknowledge(reports, ack)
	return nil
}

func (d *device) transmit(ctx context.Context, reports []protocol.Report) (protocol.Ack, error) {
	p := &delivery{ids: map[string]bool{}, done: make(chan error, 1)}
	for _, r := range reports {
		p.ids[r.ID] = true
	}
	d.mu.Lock()
	conn := d.socket
	if conn != nil {
		d.pending = p
	}
	d.mu.Unlock()
	if conn == nil {
		return d.post(ctx, reports)
	}
	defer func() {
		d.mu.Lock()
		d.pending = nil
		d.mu.Unlock()
	}()
	_ = conn.SetWriteDeadline(time.Now().Add(requestLimit))
	if err := conn.WriteJSON(protocol.SocketMessage{Type: protocol.SocketReports, Reports: reports}); err != nil {
		return p.ack, err
	}
	select {
	case err := <-p.done:
		return p.ack, err
	case <-ctx.Done():
		return p.ack, ctx.Err()
	case <-time.After(requestLimit):
		_ = conn.Close()
		return p.ack, errors.New("no acknowledgement")
	}
}

// post sends reports by HTTPS.
func (d *device) post(ctx context.Context, reports []protocol.Report) (protocol.Ack, error) {
	var ack protocol.Ack
	req, err := d.fleet.wire.request(http.MethodPost, protocol.PathReports, d.bearer, protocol.ReportsRequest{Reports: reports})
	if err != nil {
		return ack, err
	}
	a, err := d.once(ctx, req, protocol.MaxReportsBytes)
	if err != nil {
		return ack, err
	}
	return ack, json.Unmarshal(a.body, &ack)
}
