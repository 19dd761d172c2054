// Package client speaks to one server by HTTPS: enrollment, check-in, reports, secret rotation,
// inventories, instructions and fragments. It pins the CA learned at enrollment and speaks TLS 1.3 only.
//
// It holds no state but the identity's secrets, and asks its owner to persist a change of them (Options.
// Promote) before it relies on it. The resident's sessions and task processes call it; it may be used by
// several goroutines.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/proxy"
)

// Times after which a request is given up.
const (
	DialLimit    = 10 * time.Second // until an address takes the connection, TLS counted apart
	headerLimit  = 60 * time.Second // until an answer begins
	requestLimit = 2 * time.Minute  // a whole request that is not a fragment
	maxProblem   = 64 << 10         // bytes of an error answer
)

// Error is an answer that is not a success. Its chain holds a fault.
type Error struct {
	Status     int
	RetryAfter time.Duration // 0 when the server named none
	// Foreign says that the answer is not in Muster's form: something between here and the server gave it,
	// and what it says is about the way, not about what was asked.
	Foreign bool
	Err     *fault.Error
}

// Error is the server's own sentence.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the fault.
func (e *Error) Unwrap() error { return e.Err }

// Options make a Client.
type Options struct {
	URLs     []string // tried in order when one cannot be reached
	CAPEM    string
	DeviceID string
	Secret   string
	// NextSecret is the other secret during a rotation; tried once after a 401.
	NextSecret string
	// OldSecret is the one before Secret; tried after the others at a check-in.
	OldSecret string
	// Promote persists that NextSecret, or OldSecret, is now the secret. Nil in processes that only read.
	Promote func(secret string) error
	// KeepAlive keeps connections open between requests, for fetching many fragments.
	KeepAlive bool
}

// Client speaks to one server.
type Client struct {
	http  *http.Client
	tls   *tls.Config
	clock *clock
	urls  []string
	id    string
	limit time.Duration // of a whole request that is not a fragment

	octets  octets
	promote func(string) error

	settling sync.Mutex // one end of a rotation at a time, and none while another begins

	mu     sync.Mutex
	good   int // index of the address that answered last
	secret string
	next   string
	old    string
}

// New makes a client. It fails only when the CA cannot be read.
func New(o Options) (*Client, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(o.CAPEM)) {
		return nil, fault.New(fault.Untrusted, "the stored CA certificate cannot be read: enroll again")
	}
	if len(o.URLs) == 0 {
		return nil, fault.New(fault.Invalid, "no address of the server is known: enroll again")
	}
	for _, u := range o.URLs {
		if !strings.HasPrefix(u, "https://") {
			return nil, fault.New(fault.Invalid, "the address %q of the server is not https://: enroll again", u)
		}
	}
	judge := &clock{pool: pool}
	conf := &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, Time: judge.now,
		// A session that is resumed costs the server much less: no signature, and no certificates on the line.
		ClientSessionCache: tls.NewLRUClientSessionCache(len(o.URLs)),
	}
	c := &Client{
		tls: conf, clock: judge, limit: requestLimit, urls: o.URLs, id: o.DeviceID, secret: o.Secret, next: o.NextSecret, old: o.OldSecret, promote: o.Promote,
	}
	c.http = &http.Client{Transport: c.transport(conf, o.KeepAlive), CheckRedirect: noRedirect}
	return c, nil
}

func (c *Client) transport(conf *tls.Config, keepAlive bool) *http.Transport {
	return &http.Transport{
		Proxy:                  proxy.FromEnvironment,
		OnProxyConnectResponse: proxy.Connected,
		DialContext:            c.Dial,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    DialLimit,
		ResponseHeaderTimeout:  headerLimit,
		DisableKeepAlives:      !keepAlive,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true,
		ForceAttemptHTTP2:      false,
		ReadBufferSize:         4 << 10,
		WriteBufferSize:        4 << 10,
	}
}

// noRedirect keeps the credential at the address that was enrolled.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// TLS is the pinned configuration, for the WebSocket.
func (c *Client) TLS() *tls.Config { return c.tls.Clone() }

// URL is the address that answered last.
func (c *Client) URL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.urls[c.good]
}

// Explain says of a failed connection what is wrong and what to do. Again is true when it failed for the
// time by which the certificate was judged, and a second try will not.
func (c *Client) Explain(err error) (explained error, again bool) {
	if c.clock.learn(err) {
		return err, true
	}
	return c.clock.explain(err), false
}

// Unreachable says that an address did not answer: another one, if there is, is tried first the next time.
func (c *Client) Unreachable(url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.urls[c.good] == url {
		c.good = (c.good + 1) % len(c.urls)
	}
}

// Headers carry the device's credential; during a change of the secret a second one carries the next.
func (c *Client) Headers() []http.Header {
	secret, next := c.Secrets()
	if next == "" {
		return []http.Header{header(c.id, secret)}
	}
	return []http.Header{header(c.id, secret), header(c.id, next)}
}

func header(id, secret string) http.Header {
	h := http.Header{"User-Agent": {"muster-agent/" + buildinfo.Version}}
	if id != "" {
		h.Set("Authorization", "Bearer "+protocol.Credential(id, secret))
	}
	return h
}

// Secrets are the present secret and the next one, empty outside a rotation.
func (c *Client) Secrets() (secret, next string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.secret, c.next
}

// SetNext tells the client of a next secret that its owner has persisted.
func (c *Client) SetNext(next string) {
	c.settling.Lock()
	defer c.settling.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = next
}

// SetOld tells the client which secret came before the present one.
func (c *Client) SetOld(old string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.old = old
}

// json sends in and decodes the answer into out, which may be nil.
func (c *Client) json(ctx context.Context, path string, in, out any, limit int64) error {
	secret, next := c.Secrets()
	used, err := c.jsonWith(ctx, path, in, out, limit, secret, next)
	if err != nil || used == secret {
		return err
	}
	return c.settle(secret, next, used)
}

// jsonWith is json with one secret, and after a 401 with the other, which may be empty. It returns which of
// them the server accepted.
func (c *Client) jsonWith(ctx context.Context, path string, in, out any, limit int64, secret, other string) (used string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return "", fmt.Errorf("encode the request: %w", err)
	}
	resp, used, err := c.try(ctx, http.MethodPost, path, body, nil, secret, other)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if out == nil {
		return used, nil
	}
	if err := protocol.Decode(resp.Body, limit, out); err != nil {
		return "", notMuster(err)
	}
	return used, nil
}

// notMuster is a good status with a body that cannot be understood: whoever sent it, the server did not
// say no, and what was asked is asked again.
func notMuster(err error) error {
	if fault.Is(err, fault.Unavailable) {
		return err
	}
	return fault.New(fault.Unavailable, "the answer is not of a Muster server: %v", err)
}

// do sends a request with the present secret; after a 401 during a rotation, once more with the other.
func (c *Client) do(ctx context.Context, method, path string, body []byte, extra http.Header) (*http.Response, error) {
	secret, next := c.Secrets()
	resp, used, err := c.try(ctx, method, path, body, extra, secret, next)
	if err != nil || used == secret {
		return resp, err
	}
	if err := c.settle(secret, next, used); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// try sends a request with one secret, and after a 401 with the other, which may be empty.
func (c *Client) try(ctx context.Context, method, path string, body []byte, extra http.Header, secret, other string) (resp *http.Response, used string, err error) {
	resp, err = c.anyURL(ctx, method, path, body, extra, secret)
	if !fault.Is(err, fault.Unauthenticated) || other == "" {
		return resp, secret, err
	}
	again, err2 := c.anyURL(ctx, method, path, body, extra, other)
	if err2 != nil {
		return nil, "", err
	}
	return again, other, nil
}

// settle ends a rotation: used, which the server accepted, becomes the secret. A request that began with
// other secrets than the present ones comes too late: another one has settled it, and to go back to what
// this one knew would be to go back to a secret that is retired by now.
func (c *Client) settle(secret, next, used string) error {
	c.settling.Lock()
	defer c.settling.Unlock()
	if s, n := c.Secrets(); s != secret || n != next {
		return nil
	}
	if c.promote != nil {
		if err := c.promote(used); err != nil {
			return fmt.Errorf("persist the new secret: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secret, c.next = used, ""
	return nil
}

// anyURL tries the addresses in turn, beginning with the one that answered last. An address that
// answers, whatever it says, ends the search.
func (c *Client) anyURL(ctx context.Context, method, path string, body []byte, extra http.Header, secret string) (*http.Response, error) {
	c.mu.Lock()
	first := c.good
	c.mu.Unlock()
	var errs []error
	for n := range c.urls {
		at := (first + n) % len(c.urls)
		resp, err := c.once(ctx, method, strings.TrimRight(c.urls[at], "/")+path, body, extra, secret)
		var answer *Error
		if err == nil || errors.As(err, &answer) {
			c.mu.Lock()
			c.good = at
			c.mu.Unlock()
			return resp, err
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			c.Unreachable(c.urls[at]) // no time is left for the others: they come first the next time
			break
		}
	}
	return nil, fault.Wrap(errors.Join(errs...), fault.Unavailable, "the server cannot be reached")
}

func (c *Client) once(ctx context.Context, method, url string, body []byte, extra http.Header, secret string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header = header(c.id, secret)
	for k, v := range extra {
		req.Header[k] = v
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		explained, again := c.Explain(err)
		if !again {
			return nil, explained
		}
		req.Body, _ = req.GetBody() // of a bytes.Reader: it cannot fail
		if resp, err = c.http.Do(req); err != nil {
			return nil, c.clock.explain(err)
		}
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problem(resp)
}

// problem turns an error answer into an Error. Answers that are not Muster's own, as of a proxy, are
// told by their status.
func problem(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, RetryAfter: ParseRetryAfter(resp.Header, time.Now())}
	var p protocol.Problem
	if err := protocol.Decode(resp.Body, maxProblem, &p); err == nil && p.Code != "" {
		text := p.Detail
		if text == "" {
			text = p.Title
		}
		e.Err = fault.New(fault.Code(p.Code), "the server answers: %.500s", text)
		return e
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxProblem))
	e.Foreign = true
	code := fault.Unavailable
	if resp.StatusCode == http.StatusRequestEntityTooLarge || resp.StatusCode == http.StatusTooManyRequests {
		code = fault.FromStatus(resp.StatusCode) // says how to go on, whoever says it
	}
	e.Err = fault.New(code, "the server, or something before it, answers %.100s", resp.Status)
	return e
}

// Refused reports whether the server itself said no: the same request will not be taken later either.
func Refused(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.Foreign && (fault.Is(err, fault.Invalid) || fault.Is(err, fault.TooLarge))
}

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 24 * time.Hour

// ParseRetryAfter is the time to wait that an answer's header names, as seconds or a date; 0 when it names none.
// A date is compared with the sender's own clock, when it tells it: ours may be wrong.
func ParseRetryAfter(h http.Header, now time.Time) time.Duration {
	var d time.Duration
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		d = time.Duration(min(max(seconds, 0), int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// RetryAfter is what the server asked to wait in the error's chain, or 0.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}
