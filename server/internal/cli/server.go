package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/bulk"
	"github.com/muster/muster/server/internal/config"
	"github.com/muster/muster/server/internal/crowd"
	"github.com/muster/muster/server/internal/httpapi"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/tlsca"
)

// Options are what Start needs.
type Options struct {
	Config config.Config
	Log    *slog.Logger
	// Announce tells the first admin's password, before anybody can reach the server; may be nil.
	Announce func(password string) error
}

// Server is a running server.
type Server struct {
	DB            *store.DB
	CA            *tlsca.Authority
	AdminPassword string // of the first admin, when this start made it
	parts         parts
	web           *httpapi.Server

	cfg     config.Config
	log     *slog.Logger
	started time.Time
	lock    *flock.Flock
	reg     *prometheus.Registry
	public  listener
	local   listener
	metrics listener
	failed  chan error
	stop    context.CancelFunc // of what runs in the background
	running sync.WaitGroup
}

// listener is one address with what serves it.
type listener struct {
	net.Listener
	http *http.Server
}

// Start runs a server until Close. It returns when the server answers.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	s := &Server{cfg: o.Config, log: o.Log, started: store.Now(), reg: prometheus.NewRegistry(), failed: make(chan error, 3)}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
		}
	}()
	if err := s.openData(ctx); err != nil {
		return nil, err
	}
	if err := s.listen(ctx); err != nil {
		return nil, err
	}
	if s.CA, err = tlsca.Open(tlsca.Options{Dir: filepath.Join(s.cfg.Data, "tls"), Hosts: s.hosts(), Log: s.log}); err != nil {
		return nil, err
	}
	if s.web, err = s.wire(ctx); err != nil {
		return nil, err
	}
	if s.AdminPassword, err = s.parts.users.EnsureAdmin(ctx); err != nil {
		return nil, err
	}
	if s.AdminPassword != "" && o.Announce != nil {
		if err := o.Announce(s.AdminPassword); err != nil {
			return nil, err
		}
	}
	s.background(background)
	s.serve()
	return s, nil
}

// openData takes the data directory for this process and opens the database.
func (s *Server) openData(ctx context.Context) error {
	if err := atomicfile.MkdirAll(s.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock := flock.New(filepath.Join(s.cfg.Data, lockFile))
	ok, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock data directory: %w", err)
	}
	if !ok {
		return fault.New(fault.Conflict, "another muster-server is running on the data directory %s; stop it, or name another with --data", s.cfg.Data)
	}
	s.lock = lock
	if s.DB, err = store.Open(ctx, s.cfg.DatabaseURL(), s.log); err != nil {
		return err
	}
	return s.DB.Migrate(ctx)
}

// listen takes the addresses first: the port may be chosen by the system, and the certificate and the
// enrollment strings name it.
func (s *Server) listen(ctx context.Context) error {
	var lc net.ListenConfig
	for _, l := range []struct {
		at   *listener
		addr string
	}{{&s.public, s.cfg.Listen}, {&s.local, s.cfg.HTTP}, {&s.metrics, s.cfg.Metrics}} {
		if l.addr == "" {
			continue
		}
		nl, err := lc.Listen(ctx, "tcp", l.addr)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", l.addr, err)
		}
		l.at.Listener = nl
	}
	return nil
}

// hosts are the names of the served certificate.
//
//fuzz:by server/internal/config.FuzzDecode
func (s *Server) hosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	add := func(h string) {
		for _, known := range hosts {
			if known == h {
				return
			}
		}
		if h != "" && !net.ParseIP(h).IsUnspecified() {
			hosts = append(hosts, h)
		}
	}
	for _, raw := range s.cfg.URLs(s.public.Addr()) {
		if u, err := url.Parse(raw); err == nil {
			add(u.Hostname())
		}
	}
	if name, err := os.Hostname(); err == nil {
		add(name)
	}
	if host, _, err := net.SplitHostPort(s.public.Addr().String()); err == nil {
		add(host)
	}
	return hosts
}

// serve answers on all addresses.
func (s *Server) serve() {
	tlsConfig := s.CA.TLSConfig()
	s.public.http = s.newHTTP(s.web.Handler())
	s.public.http.TLSConfig = tlsConfig
	s.public.http.ConnContext = bulk.ConnContext
	s.run(func() error {
		return s.public.http.ServeTLS(bulk.Listener{Listener: crowd.New(s.public.Listener, crowd.Most(), s.cfg.Proxies())}, "", "")
	})
	if s.local.Listener != nil {
		s.local.http = s.newHTTP(s.web.LocalHandler())
		s.run(func() error { return s.local.http.Serve(s.local.Listener) })
	}
	if s.metrics.Listener != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{}))
		s.metrics.http = s.newHTTP(mux)
		s.run(func() error { return s.metrics.http.Serve(s.metrics.Listener) })
	}
}

func (s *Server) newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		// Broken handshakes of strangers are no news.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) run(serve func() error) {
	s.running.Go(func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve: %w", err)
		}
	})
}

// Failed delivers the error that ended the server by itself.
func (s *Server) Failed() <-chan error { return s.failed }

// Addr is the TLS address.
func (s *Server) Addr() net.Addr { return s.public.Addr() }

// LocalAddr is the plain address for this computer, empty when there is none.
func (s *Server) LocalAddr() string { return s.local.addr() }

// MetricsAddr is the address of /metrics, empty when there is none.
func (s *Server) MetricsAddr() string { return s.metrics.addr() }

func (l listener) addr() string {
	if l.Listener == nil {
		return ""
	}
	return l.Addr().String()
}

// Close lets requests finish until ctx ends, then stops everything.
func (s *Server) Close(ctx context.Context) error {
	var errs []error
	if s.parts.hub != nil {
		errs = append(errs, s.parts.hub.Close(ctx)) // live connections are not the HTTP server's any more
	}
	for _, l := range []listener{s.public, s.local, s.metrics} {
		switch {
		case l.http != nil:
			if err := l.http.Shutdown(ctx); err != nil {
				errs = append(errs, fmt.Errorf("end requests: %w", err), l.http.Close())
			}
		case l.Listener != nil:
			errs = append(errs, l.Close())
		}
	}
	s.stop()
	s.running.Wait()
	errs = append(errs, s.closeParts())
	if s.DB != nil {
		errs = append(errs, s.DB.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
