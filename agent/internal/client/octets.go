package client

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// octets counts what connections carried, TLS and all.
type octets struct{ sent, received atomic.Int64 }

// all counts the connections of every client of this process.
var all octets

// Octets are what this process has exchanged with servers since its start.
func Octets() (sent, received int64) { return all.sent.Load(), all.received.Load() }

// Octets are what this client's connections have carried.
func (c *Client) Octets() (sent, received int64) {
	return c.octets.sent.Load(), c.octets.received.Load()
}

// Dial opens a connection whose octets are counted, for the WebSocket too.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: DialLimit, KeepAlive: time.Minute}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &counted{Conn: conn, of: &c.octets}, nil
}

// counted is a connection that counts.
type counted struct {
	net.Conn
	of *octets
}

// Read counts what came.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.of.received.Add(int64(n))
	all.received.Add(int64(n))
	return n, err
}

// Write counts what went.
func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.of.sent.Add(int64(n))
	all.sent.Add(int64(n))
	return n, err
}
