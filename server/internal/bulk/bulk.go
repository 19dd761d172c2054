// Package bulk sends large files over TLS with few system calls.
//
// TLS cuts what it sends into records of 16 KB, and each becomes a write of its own, which costs more than
// the encryption does. While ServeContent sends a body, the connection below TLS gathers records and writes
// many at once; at all other times it passes everything on as it comes. The package keeps nothing: buffers
// belong to one request and are shared between requests. cli puts the Listener below TLS, agentapi calls
// ServeContent; over any other connection that is http.ServeContent with larger reads.
package bulk

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// bufferSize is how much is read from a file, and written to a connection, at once. A request holds two
// buffers of this size while its body is sent.
const bufferSize = 128 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Listener makes connections that can gather. It belongs below TLS.
type Listener struct{ net.Listener }

// Accept waits for the next connection.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// conn gathers while buf is set.
type conn struct {
	net.Conn

	mu  sync.Mutex // the TLS reader may write too
	buf *[bufferSize]byte
	n   int
	err error // a write that failed while gathering; all later ones fail with it
}

// Write sends p, or keeps it until there is more.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if c.buf == nil {
		return c.Conn.Write(p)
	}
	if c.n+len(p) > len(c.buf) {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > len(c.buf) {
		return c.Conn.Write(p)
	}
	c.n += copy(c.buf[c.n:], p)
	return len(p), nil
}

// flush sends what was gathered.
func (c *conn) flush() error {
	if c.n > 0 && c.err == nil {
		_, c.err = c.Conn.Write(c.buf[:c.n])
	}
	c.n = 0
	return c.err
}

// gather begins to keep what is written until end is called. When it is on already, end does nothing.
func (c *conn) gather() (end func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buf != nil {
		return func() error { return nil }
	}
	buf, _ := buffers.Get().(*[bufferSize]byte)
	c.buf, c.n = buf, 0
	return func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		err := c.flush()
		c.buf = nil
		buffers.Put(buf)
		return err
	}
}

type connKey struct{}

// ConnContext lets ServeContent find the connection; it is for http.Server.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// ServeContent is http.ServeContent for a large content without a name. An error of the connection shows
// itself at the next request on it, as with http.ServeContent.
func ServeContent(w http.ResponseWriter, r *http.Request, content io.ReadSeeker) {
	large := &writer{ResponseWriter: w}
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok || r.ProtoMajor != 1 { // the requests of an HTTP/2 connection share it
		http.ServeContent(large, r, "", time.Time{}, content)
		return
	}
	end := c.gather()
	defer func() {
		_ = http.NewResponseController(w).Flush() // what net/http still holds goes with the rest
		_ = end()                                 // the connection fails from now on
	}()
	http.ServeContent(large, r, "", time.Time{}, content)
}

// writer reads the content in large pieces.
type writer struct{ http.ResponseWriter }

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ReadFrom is what io.Copy calls.
func (w *writer) ReadFrom(src io.Reader) (int64, error) {
	buf, _ := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	// Only the Write of the ResponseWriter is offered: its own ReadFrom would read in small pieces.
	return io.CopyBuffer(struct{ io.Writer }{w.ResponseWriter}, struct{ io.Reader }{src}, buf[:])
}
