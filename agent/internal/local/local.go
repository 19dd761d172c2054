// Package local is the agent's own HTTP listener, on port 62354: status, a wakeup, the log and shared
// fragments, for this computer and, where its administrator wants it, for the network.
//
// On loopback it is plain HTTP, for any user of the computer; on all other addresses it is HTTPS with a
// certificate that this device made for itself (docs/decisions/0009). It changes nothing but the time of
// the next check-in, tells no secret and no device id, and hands out no file but whole fragments of shared
// packages. Wakeup and log are for those who know a device id. Everything is bounded: connections, bytes,
// times, rates. A port that is in use costs a warning, and it is tried again. It keeps nothing but the
// certificate; a crash in any place leaves nothing to mend. The resident runs one Listener, once.
package local

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/packages/logging"
)

// Times and sizes of a connection.
const (
	headerLimit = 1 // bytes, to which net/http adds 4 KiB
	readLimit   = 5 * time.Second
	writeLimit  = 10 * time.Second
	tryAgain    = 5 * time.Minute // for an address that is in use
)

// Options make a Listener.
type Options struct {
	DataDir string
	Config  config.Listener
	// DeviceIDs are those of this device, one for each server.
	DeviceIDs func() []string
	// Wake checks in now at the server that knows this device by the id.
	Wake func(deviceID string)
	// Status is what anybody may know, as a value for JSON.
	Status func() any
	// Changed is called when what State returns has changed; may be nil.
	Changed func()
	// Settled is called when a request was answered; may be nil.
	Settled func()
	Logger  *slog.Logger
}

// State is how a Listener stands, for people.
type State struct {
	// Addresses are those that it listens on.
	Addresses []string `json:"addresses"`
	// Fingerprint is the SHA-256 of the certificate shown to the network; empty without lan.
	Fingerprint string `json:"certificate_sha256,omitempty"`
	Problem     string `json:"problem,omitempty"`
}

// Listener answers requests.
type Listener struct {
	o      Options
	log    *slog.Logger
	limits limiter
	counts counts
	again  time.Duration
	all    string // host that stands for all addresses
	inside func(netip.Addr) bool

	mu          sync.Mutex
	addresses   map[string]string // bound, by what was wanted
	problems    map[string]string
	fingerprint string
}

// New makes a Listener. It listens in Run.
func New(o Options) *Listener {
	return &Listener{
		o: o, log: o.Logger, limits: limiter{rates: defaultRates}, again: tryAgain, inside: netip.Addr.IsLoopback,
		addresses: map[string]string{}, problems: map[string]string{},
	}
}

// State is how it stands.
func (l *Listener) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{Addresses: []string{}, Fingerprint: l.fingerprint}
	var problems []string
	for _, at := range l.addresses {
		s.Addresses = append(s.Addresses, at)
	}
	for _, p := range l.problems {
		problems = append(problems, p)
	}
	slices.Sort(s.Addresses)
	slices.Sort(problems)
	s.Problem = strings.Join(problems, "; ")
	return s
}

// Run listens until ctx ends. Whatever hinders it is logged and tried again from time to time.
func (l *Listener) Run(ctx context.Context) {
	if !l.o.Config.Enabled {
		return
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(l.serve),
		ReadHeaderTimeout: readLimit, ReadTimeout: readLimit, WriteTimeout: writeLimit,
		MaxHeaderBytes: headerLimit, DisableGeneralOptionsHandler: true,
		ErrorLog: slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
	}
	server.SetKeepAlivesEnabled(false) // the next one waits
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	port := strconv.Itoa(l.o.Config.Port)
	if l.o.Config.LAN {
		l.keep(ctx, server, net.JoinHostPort(l.all, port))
		return
	}
	hosts := []string{"127.0.0.1", "::1"}
	if l.o.Config.Port == 0 {
		hosts = hosts[:1] // any free port is another one for each
	}
	var wg sync.WaitGroup
	for _, host := range hosts {
		wg.Go(func() { l.keep(ctx, server, net.JoinHostPort(host, port)) })
	}
	wg.Wait()
}

// keep listens on an address for as long as ctx lives. A computer without IPv6 has no ::1, and misses nothing.
func (l *Listener) keep(ctx context.Context, server *http.Server, address string) {
	for ctx.Err() == nil {
		err := l.listen(ctx, server, address)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT):
			l.log.Debug("the local listener leaves an address out", "address", address, logging.Err, err)
			return
		case errors.Is(err, syscall.EADDRINUSE):
			err = fmt.Errorf("%s is in use by another program, perhaps another agent; set listener.port in %s to another port, or listener.enabled to false", address, config.FileName)
		}
		l.trouble(address, err)
		select {
		case <-ctx.Done():
		case <-time.After(l.again):
		}
	}
}

// trouble logs what hinders an address, when it is news.
func (l *Listener) trouble(address string, err error) {
	l.mu.Lock()
	known := l.problems[address] == err.Error()
	l.problems[address] = err.Error()
	delete(l.addresses, address)
	l.mu.Unlock()
	if !known {
		l.log.Warn("the local listener does not listen; the agent goes on without it and tries again", logging.Err, err)
		l.changed()
	}
}

func (l *Listener) changed() {
	if l.o.Changed != nil {
		l.o.Changed()
	}
}

// listen binds an address and answers what comes, until that ends.
func (l *Listener) listen(ctx context.Context, server *http.Server, address string) error {
	g := &gate{counts: &l.counts, inside: l.inside}
	fingerprint := ""
	if l.o.Config.LAN {
		cert, sum, err := loadCertificate(l.o.DataDir, l.log)
		if err != nil {
			return err
		}
		g.tls, fingerprint = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}, sum
	}
	var err error
	if g.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
		return err
	}
	bound := g.Listener.Addr().String()
	l.mu.Lock()
	_, again := l.problems[address]
	l.addresses[address], l.fingerprint = bound, fingerprint
	delete(l.problems, address)
	l.mu.Unlock()
	l.changed()
	if again {
		l.log.Info("the local listener listens again", "address", bound)
	} else {
		l.log.Debug("the local listener listens", "address", bound)
	}
	return server.Serve(g)
}

// hostNames are the names of this computer that a request may be addressed to.
func hostNames() []string {
	name, err := os.Hostname()
	if err != nil || name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil
	}
	short, _, _ := strings.Cut(strings.ToLower(name), ".")
	return slices.Compact([]string{short, strings.ToLower(name)})
}
