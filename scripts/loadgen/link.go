package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/muster/muster/packages/protocol"
)

// requestLimit is how long one request may take.
const requestLimit = time.Minute

// perSource is how many connections are made from one address of this computer.
const perSource = 20_000

// wire is how the server is reached.
type wire struct {
	base string // https://host:port
	host string // host:port
	ca   *x509.CertPool
}

// dialer connects from an address of its own for each part of a large fleet: one address has ports for
// some 28,000 connections to one other.
func (w *wire) dialer(number int) *net.Dialer {
	d := &net.Dialer{Timeout: requestLimit}
	if ip, err := netip.ParseAddrPort(w.host); number >= perSource && err == nil && ip.Addr().IsLoopback() && ip.Addr().Is4() {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+number/perSource))}
	}
	return d
}

// tls is a device's own configuration. With a cache, sessions are resumed.
func (w *wire) tls(resume bool) *tls.Config {
	name, _, _ := net.SplitHostPort(w.host)
	c := &tls.Config{RootCAs: w.ca, MinVersion: tls.VersionTLS13, ServerName: name}
	if resume {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	return c
}

// link is one connection that carries one request at a time.
type link struct {
	conn *tls.Conn
	r    *bufio.Reader
	w    *bufio.Writer
}

// open connects and shakes hands.
func open(ctx context.Context, w *wire, d *net.Dialer, conf *tls.Config) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	conn, err := (&tls.Dialer{NetDialer: d, Config: conf}).DialContext(ctx, "tcp", w.host)
	if err != nil {
		return nil, err
	}
	c, ok := conn.(*tls.Conn)
	if !ok {
		return nil, errors.New("the connection is not TLS")
	}
	return &link{conn: c, r: bufio.NewReaderSize(conn, 2<<10), w: bufio.NewWriterSize(conn, 2<<10)}, nil
}

func (l *link) close() { _ = l.conn.Close() }

// answer is what came back.
type answer struct {
	status int
	body   []byte
	last   bool // the server closes the connection
}

// exchange sends one request and reads its answer, of at most limit bytes. After an error the link is of
// no more use.
func (l *link) exchange(req *http.Request, limit int64) (answer, error) {
	if err := l.conn.SetDeadline(time.Now().Add(requestLimit)); err != nil {
		return answer{}, err
	}
	if err := req.Write(l.w); err != nil {
		return answer{}, err
	}
	if err := l.w.Flush(); err != nil {
		return answer{}, err
	}
	resp, err := http.ReadResponse(l.r, req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, body: body, last: resp.Close}
	if int64(len(body)) > limit {
		return a, fmt.Errorf("an answer of more than %d bytes", limit)
	}
	if a.status >= http.StatusMultipleChoices {
		return a, refusal(resp.StatusCode, resp.Header, body)
	}
	return a, nil
}

// refusal is an error answer as an error.
func refusal(status int, header http.Header, body []byte) error {
	e := &statusError{status: status}
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
		e.retryAfter = time.Duration(seconds) * time.Second
	}
	var p protocol.Problem
	if json.Unmarshal(body, &p) == nil {
		e.text = p.Detail
	}
	return e
}

// request makes a request with the device's credential, empty for none, and a JSON body, nil for none.
func (w *wire) request(method, path, bearer string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, w.base+path, body) //nolint:noctx // links have deadlines
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return req, nil
}
