// Package client speaks the admin API of a Muster server (/api/v1) over net/http. It serves package
// cli and keeps no state: an upload that was cut goes on where the server says it stopped.
//
// It trusts a server only by normal certificate verification: with the system's authorities, or with
// the one CA that was pinned. Credentials are never sent elsewhere: redirects are not followed, and
// plain HTTP is accepted for loopback addresses only.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// maxAnswer bounds what is read of one answer.
const maxAnswer = 64 << 20

const apiPath = "/api/v1"

// Options say how to reach a server.
type Options struct {
	URL   string
	Token string // API token; empty before login
	CA    []byte // PEM of the pinned CA; empty to use the system's authorities
}

// Client calls one server.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
	opts  Options
}

// New makes a client; it does not connect.
func New(o Options) (*Client, error) {
	base, err := ParseServer(o.URL)
	if err != nil {
		return nil, err
	}
	config, err := tlsConfig(o.CA)
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil) // for the session between login and the creation of a token
	if err != nil {
		return nil, fmt.Errorf("make cookie jar: %w", err)
	}
	return &Client{base: base, token: o.Token, opts: o, http: &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			TLSClientConfig:       config,
			TLSHandshakeTimeout:   15 * time.Second,
			ResponseHeaderTimeout: 2 * time.Minute,
			DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
			ForceAttemptHTTP2:     true,
			// A line that vanished without a word is found out in half a minute, also by an upload that waits
			// for room, and is not used again.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		},
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// ParseServer checks a server's address and brings it into its plain form.
func ParseServer(raw string) (*url.URL, error) {
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.Field("server", "%q is not a server address: write it as https://host:port", raw)
	}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback(u.Hostname()):
	case u.Scheme == "http":
		return nil, fault.Field("server", "%s would send secrets in the clear: use https, http is for this computer only", raw)
	default:
		return nil, fault.Field("server", "%q is not a server address: it begins with https://", raw)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Server is the address in its plain form.
func (c *Client) Server() string { return c.base.String() }

// call makes one request with a JSON body (in, unless nil) and reads a JSON answer (into out, unless
// nil).
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	header := http.Header{}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
		header.Set("Content-Type", "application/json")
	}
	return c.send(ctx, method, path, query, header, body, out)
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, header http.Header, body io.Reader, out any) error {
	u := *c.base
	u.Path += apiPath + path
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	if m, ok := body.(*meter); ok {
		req.ContentLength = m.size
	}
	if header != nil {
		req.Header = header
	}
	c.identify(req.Header)
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	if resp.StatusCode >= 300 {
		return c.problem(resp, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fault.New(fault.Unsupported, "%s gave an answer that is not of a Muster server", c.base)
	}
	return nil
}

func (c *Client) identify(h http.Header) {
	h.Set("User-Agent", "muster/"+buildinfo.Version)
	if c.token != "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
}

// UnreachableError says that the server did not answer at all.
type UnreachableError struct {
	Server string
	Err    error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot reach %s: %v", e.Server, e.Err)
}

// Unwrap gives the fault unavailable: the same request may work later.
func (e *UnreachableError) Unwrap() error {
	return fault.Wrap(e.Err, fault.Unavailable, "cannot reach the server")
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the address, which is said once
	}
	if untrusted := certificateError(c.base, err); untrusted != nil {
		return untrusted
	}
	return &UnreachableError{Server: c.base.String(), Err: err}
}

// problem turns an error answer into a fault.
func (c *Client) problem(resp *http.Response, body []byte) error {
	code := fault.FromStatus(resp.StatusCode)
	var p protocol.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Code == "" {
		if resp.StatusCode < 400 {
			return fault.New(fault.Unsupported, "%s redirects to %q: log in to that address instead", c.base, resp.Header.Get("Location"))
		}
		return fault.New(code, "%s answered %s", c.base, resp.Status)
	}
	msg := p.Detail
	if msg == "" {
		msg = p.Title
	}
	field := ""
	for i, f := range p.Errors {
		if i == 0 {
			field = f.Field
		}
		if strings.Contains(msg, f.Message) {
			continue
		}
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		msg += sep + strings.TrimPrefix(f.Field, "body.") + ": " + f.Message
	}
	return &fault.Error{Code: fault.Code(p.Code), Msg: msg, Field: field}
}
