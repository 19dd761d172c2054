package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
)

// Time limits of a request.
const (
	answerWithin = time.Minute      // to be done with an ordinary request
	validWithin  = 15 * time.Second // to look whether a listener may still listen
	streamWithin = time.Hour        // to pass the bytes of an upload's part or a fragment
	stalledAfter = time.Minute      // without a byte of these
)

// middleware lists what every request passes, outermost first.
func (s *Server) middleware() []echo.MiddlewareFunc {
	m := newMetrics(s.opt.Registerer, s.opt.Log)
	return []echo.MiddlewareFunc{
		s.observe(m), // log, metrics; makes the Exchange that all others use
		s.recovered,  // a panic ends one request, not the server
		secured,      // headers against framing, sniffing, injected scripts
		limited,      // no request holds a connection for ever
		sameOrigin(), // a foreign site's page cannot use a browser's session
		s.identified, // session or API token → actor
		s.recorded,   // audit trail
	}
}

// observe logs and counts each request when its answer is out.
func (s *Server) observe(m *metrics) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			start := time.Now()
			ctx, exchange := api.WithExchange(c.Request().Context())
			c.SetRequest(c.Request().WithContext(ctx))
			if err := next(c); err != nil {
				s.fail(err, c)
			}
			r, status, took := c.Request(), c.Response().Status, time.Since(start)
			route := routeOf(c, exchange)
			m.observe(r.Method, route, status, took)
			attrs := []any{"method", r.Method, "path", r.URL.Path, "status", status, "took", took.Round(time.Microsecond).String(), "remote", c.RealIP()}
			if err := exchange.Err(); err != nil {
				s.opt.Log.ErrorContext(ctx, "request failed", append(attrs, "err", err)...)
				return nil
			}
			s.opt.Log.DebugContext(ctx, "request", attrs...)
			return nil
		}
	}
}

// routeOf is what the request reached, as one of few values: paths are chosen by clients.
func routeOf(c echo.Context, e *api.Exchange) string {
	if op, _ := e.Operation(); op != "" {
		return op
	}
	if p := c.Path(); p != "" {
		return p
	}
	return "none"
}

func (s *Server) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			r := recover()
			if r == nil {
				return
			}
			if r == http.ErrAbortHandler { //nolint:errorlint // net/http's agreed value
				panic(r)
			}
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}()
		return next(c)
	}
}

// contentPolicy lets the page load its own files only. Styles may stand in elements: the component
// library sizes things that way, and a style cannot run anything.
const contentPolicy = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// secured sets headers for browsers. There is no HSTS: with the server's own CA it would lock people
// out of a host name that also serves other things.
func secured(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		if under(c.Request().URL.Path, api.Path) {
			h.Set("Cache-Control", "no-store")
		}
		return next(c)
	}
}

// limited ends requests that take too long. A live connection loses the limit when it is upgraded and is
// the hub's from then on.
func limited(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		within := answerWithin
		if streams(r) {
			within = streamWithin
		}
		deadline := time.Now().Add(within)
		rc := http.NewResponseController(c.Response().Writer)
		// Recorders of tests have no deadlines; every real connection does.
		_ = rc.SetReadDeadline(deadline)
		_ = rc.SetWriteDeadline(deadline.Add(10 * time.Second))
		ctx, cancel := context.WithDeadline(r.Context(), deadline)
		defer cancel()
		r = r.WithContext(ctx)
		if streams(r) {
			p := &pace{rc: rc, limit: stalledAfter, last: deadline}
			r.Body = &pacedReader{ReadCloser: r.Body, pace: p}
			c.Response().Writer = &pacedWriter{ResponseWriter: c.Response().Writer, pace: p}
		}
		c.SetRequest(r)
		return next(c)
	}
}

// streams reports whether a request moves bytes for as long as the network needs.
func streams(r *http.Request) bool {
	return uploads(r) || r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, protocol.PathInventory+"/") ||
		r.Method != http.MethodPost && strings.HasPrefix(r.URL.Path, protocol.PathFragment+"/")
}

// uploads reports whether a request brings a part of an upload.
func uploads(r *http.Request) bool {
	return r.Method == http.MethodPatch && strings.HasPrefix(r.URL.Path, api.Path+"/uploads/")
}

// sameOrigin refuses changes that a browser sends on behalf of another site. Programs, which send
// neither Origin nor Sec-Fetch-Site, pass.
func sameOrigin() echo.MiddlewareFunc {
	protection := http.NewCrossOriginProtection()
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := protection.Check(c.Request()); err != nil {
				return fault.New(fault.Forbidden, "the request comes from another site")
			}
			return next(c)
		}
	}
}

func (s *Server) identified(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !under(c.Request().URL.Path, api.Path) {
			return next(c)
		}
		ctx, err := s.opt.Users.Load(c.Request())
		if err != nil {
			return err
		}
		c.SetRequest(c.Request().WithContext(ctx))
		return next(c)
	}
}

// reads reports whether a request changes nothing. One has a body that says what to look for, and is sent as that is
// written.
func reads(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return r.URL.Path == api.Path+"/groups/preview"
}

// recorded writes the audit row of whatever is not a read. The parts of an upload are left out:
// its begin and its end have rows.
func (s *Server) recorded(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := next(c)
		r := c.Request()
		if reads(r) || uploads(r) || !under(r.URL.Path, api.Path) {
			return err
		}
		if err != nil {
			s.fail(err, c) // the row needs the status
		}
		if c.Response().Status != http.StatusTooManyRequests { // strangers cannot fill the trail
			s.opt.Audit.Record(r.Context(), api.ExchangeFrom(r.Context()), c.Response().Status, c.RealIP())
		}
		return nil
	}
}

// under reports whether path is dir or below it.
func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
