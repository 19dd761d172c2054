// Package httpapi puts the server's HTTP side together: middleware in order, the error handler, the
// admin API with its OpenAPI document, health, and the web page. Features bring their own routes.
//
// It holds no state of its own. Only cli and servertest construct it.
package httpapi

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/user"
)

// anyPath is the route of the web page, which takes every path that nobody else has.
const anyPath = "/*"

// Feature brings operations of the admin API.
type Feature interface{ Register(huma.API) }

// Users identifies who sends a request.
type Users interface {
	Load(r *http.Request) (context.Context, error)
	Valid(ctx context.Context, r *http.Request) bool
}

// Recorder keeps what was changed by whom.
type Recorder interface {
	Record(ctx context.Context, e *api.Exchange, status int, remoteIP string)
}

// Options are what New needs.
type Options struct {
	Log        *slog.Logger
	Version    string
	Users      Users
	Audit      Recorder
	Ready      func(context.Context) error // may requests be served?
	Registerer prometheus.Registerer       // nil: no metrics
	Proxies    []*net.IPNet                // whose X-Forwarded-For is believed
	UI         fs.FS
	Features   []Feature
	// Agent adds the routes below /agent; nil for none.
	Agent func(*echo.Echo)
	// Events serves a browser's live connection for as long as allowed says so; nil for none.
	Events func(w http.ResponseWriter, r *http.Request, allowed func() bool) error
}

// Server is the assembled HTTP side.
type Server struct {
	opt  Options
	echo *echo.Echo
	api  huma.API
}

// New assembles the server.
func New(o Options) *Server {
	e := echo.New()
	s := &Server{opt: o, echo: e}
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = extractIP(o.Proxies)
	e.HTTPErrorHandler = s.fail
	for _, m := range s.middleware() {
		e.Use(m)
	}

	group := e.Group(api.Path)
	s.api = humaecho.NewV4WithGroup(e, group, api.Config(o.Version))
	s.api.UseMiddleware(s.begin)
	for _, f := range o.Features {
		f.Register(s.api)
	}
	if o.Events != nil {
		group.GET("/events", s.events)
		s.api.OpenAPI().AddOperation(eventsOperation())
	}
	if o.Agent != nil {
		o.Agent(e)
	}
	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", s.ready)
	ui := newPage(o.UI)
	e.GET(anyPath, ui.serve, compress())
	e.HEAD(anyPath, ui.serve)
	return s
}

// API is the admin API, for its OpenAPI document.
func (s *Server) API() huma.API { return s.api }

// Handler serves agents and browsers; it belongs behind TLS.
func (s *Server) Handler() http.Handler { return s.echo }

// extractIP decides whom to believe about a client's address: nobody but the proxies named.
func extractIP(proxies []*net.IPNet) echo.IPExtractor {
	if len(proxies) == 0 {
		return echo.ExtractIPDirect()
	}
	trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, n := range proxies {
		trust = append(trust, echo.TrustIPRange(n))
	}
	return echo.ExtractIPFromXFFHeader(trust...)
}

// begin notes the operation and refuses requests of nobody, unless the operation is public.
func (s *Server) begin(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	c := humaecho.UnwrapV4(ctx)
	target := ""
	for i, v := range c.ParamValues() {
		if i > 0 {
			target += "/"
		}
		target += v
	}
	api.ExchangeFrom(ctx.Context()).Begin(op.OperationID, target)
	if !api.IsPublic(op) {
		if err := user.Require(ctx.Context()); err != nil {
			s.fail(err, c)
			return
		}
	}
	next(ctx)
}

func (s *Server) events(c echo.Context) error {
	r := c.Request()
	api.ExchangeFrom(r.Context()).Begin(eventsID, "")
	if err := user.Require(r.Context()); err != nil {
		return err
	}
	// The connection outlives the request and echo's context.
	kept := r.Clone(context.WithoutCancel(r.Context()))
	return s.opt.Events(c.Response(), r, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), validWithin) // not the request's: it holds the session as it was
		defer cancel()
		return s.opt.Users.Valid(ctx, kept)
	})
}

func (s *Server) ready(c echo.Context) error {
	if s.opt.Ready != nil {
		if err := s.opt.Ready(c.Request().Context()); err != nil {
			return err
		}
	}
	return c.String(http.StatusOK, "ready\n")
}

// fail answers with an error, as a problem.
func (s *Server) fail(err error, c echo.Context) {
	var he *echo.HTTPError
	if errors.As(err, &he) {
		err = s.echoError(c, he)
	}
	p := api.ProblemOf(err)
	if p.Status >= http.StatusInternalServerError {
		api.ExchangeFrom(c.Request().Context()).Fail(err)
	}
	if c.Response().Committed {
		return // too late to say anything
	}
	if werr := p.Write(c.Response()); werr != nil {
		s.opt.Log.DebugContext(c.Request().Context(), "an answer could not be sent", "err", werr)
	}
}

// echoError gives echo's own errors a code.
func (s *Server) echoError(c echo.Context, he *echo.HTTPError) error {
	r := c.Request()
	switch he.Code {
	case http.StatusNotFound:
		return fault.New(fault.NotFound, "there is nothing at %s", r.URL.Path)
	case http.StatusMethodNotAllowed:
		if c.Path() == anyPath && (under(r.URL.Path, "/api") || under(r.URL.Path, "/agent")) {
			return fault.New(fault.NotFound, "there is nothing at %s", r.URL.Path)
		}
		p := api.ProblemOf(fault.New(fault.Unsupported, "%s cannot be used with %s", r.URL.Path, r.Method))
		p.Status, p.Title = he.Code, http.StatusText(he.Code)
		return p
	default:
		if he.Code < http.StatusInternalServerError {
			p := api.ProblemOf(fault.New(fault.FromStatus(he.Code), "%s", http.StatusText(he.Code)))
			p.Status, p.Title = he.Code, http.StatusText(he.Code)
			return p
		}
		return he
	}
}
