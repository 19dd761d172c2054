package local

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/fragments"
	"github.com/muster/muster/agent/internal/logfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
)

const (
	fragmentsPath = "/fragments/"
	slowest       = 64 << 10 // bytes a second, below which a download is given up
	logLines      = 200      // of the log that are shown
	logBytes      = 32 << 10
)

// request is one request that came so far.
type request struct {
	*http.Request
	local netip.Addr // where it was sent to
	lan   bool
	query query
}

// statuses are the answers to faults.
var statuses = map[fault.Code]int{
	fault.Invalid: http.StatusBadRequest, fault.Forbidden: http.StatusForbidden, fault.NotFound: http.StatusNotFound,
	fault.TooMany: http.StatusTooManyRequests, fault.Unsupported: http.StatusMethodNotAllowed,
}

// serve answers one request. What is refused is refused as early as possible.
func (l *Listener) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'")
	header.Set("Cache-Control", "no-store")
	if err := l.answer(w, r); err != nil {
		l.refuse(w, r, err)
	}
	if l.o.Settled != nil {
		l.o.Settled()
	}
}

func (l *Listener) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, message := statuses[fault.CodeOf(err)], err.Error()
	switch status {
	case 0:
		l.log.Warn("a request to the local listener fails", logging.Remote, r.RemoteAddr, logging.Err, err)
		status, message = http.StatusInternalServerError, "this could not be done; the agent's log says why"
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "10")
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "GET, HEAD, POST")
	}
	l.log.Debug("the local listener refuses", logging.Remote, r.RemoteAddr, "status", status)
	write(w, status, "text/plain; charset=utf-8", []byte(message+"\n"))
}

func write(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever asked may have gone
}

func (l *Listener) answer(w http.ResponseWriter, r *http.Request) error {
	req := request{Request: r}
	remote, err := l.ends(&req)
	if err != nil {
		return err
	}
	if !l.limits.allow(remote, req.lan, time.Now()) {
		return fault.New(fault.TooMany, "too many requests; try again in a moment")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		return fault.New(fault.Unsupported, "the method %.20q is not for here", r.Method)
	}
	if !hostAllowed(r.Host, req.local, req.lan) {
		return fault.New(fault.Forbidden, "the request is not addressed to this computer")
	}
	// What a web page makes a browser send has one of these. A page has no business here; whoever types an
	// address into a browser has (Sec-Fetch-Site: none).
	site := r.Header.Get("Sec-Fetch-Site")
	if len(r.Header.Values("Origin")) > 0 || site != "" && site != "none" {
		return fault.New(fault.Forbidden, "web pages may not ask here")
	}
	if req.query, err = parseQuery(r.URL.RawQuery); err != nil {
		return err
	}
	return l.route(w, req)
}

// ends finds out between whom the connection is.
//
//fuzz:none the system says it
func (l *Listener) ends(r *request) (remote netip.Addr, err error) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return remote, fmt.Errorf("read the remote address: %w", err)
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return remote, errors.New("the local address of a connection is not known")
	}
	r.local, remote = addrOf(local), at.Addr().Unmap()
	r.lan = !l.inside(r.local) || !l.inside(remote)
	return remote, nil
}

// hostAllowed reports whether a Host header names this computer. A name that an attacker's name server
// leads here is not among them, so a web page cannot use one to speak to the agent.
func hostAllowed(host string, local netip.Addr, lan bool) bool {
	name := strings.ToLower(host)
	if n := strings.LastIndexByte(name, ':'); n >= 0 && !strings.HasSuffix(name, "]") {
		port := name[n+1:]
		if port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
			return false
		}
		name = name[:n]
	}
	if name == "localhost" {
		return !lan
	}
	if lan && name != "" && slices.Contains(hostNames(), name) {
		return true
	}
	if bare, ok := strings.CutPrefix(name, "["); ok {
		if name, ok = strings.CutSuffix(bare, "]"); !ok || !strings.Contains(name, ":") {
			return false
		}
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	if lan {
		return addr.WithZone("") == local.WithZone("")
	}
	return addr.Unmap() == addr && addr.IsLoopback()
}

// route does what the path, or the action in the query of the path /, asks for.
func (l *Listener) route(w http.ResponseWriter, r request) error {
	action := ""
	switch path := r.URL.Path; {
	case r.URL.RawPath != "": // escaped what needs no escape
	case path == "/" && r.query.action != "":
		action = r.query.action
	case path == "/"+actionStatus || path == "/"+actionWakeup || path == "/"+actionLog:
		action = path[1:]
	case strings.HasPrefix(path, fragmentsPath):
		if err := reading(r); err != nil {
			return err
		}
		return l.fragment(w, r, path[len(fragmentsPath):])
	}
	if action != actionWakeup {
		if err := reading(r); err != nil {
			return err
		}
	}
	switch action {
	case actionStatus:
		return l.status(w)
	case actionWakeup:
		return l.wakeup(w, r)
	case actionLog:
		return l.tail(w, r)
	case actionDownload:
		return l.download(w, r)
	}
	return fault.New(fault.NotFound, "there is nothing here")
}

// reading refuses a method that does not only read.
func reading(r request) error {
	if r.Method == http.MethodPost {
		return fault.New(fault.Unsupported, "only a wakeup may be posted")
	}
	return nil
}

func (l *Listener) status(w http.ResponseWriter) error {
	body, err := json.MarshalIndent(l.o.Status(), "", "  ")
	if err != nil {
		return fmt.Errorf("encode the status: %w", err)
	}
	write(w, http.StatusOK, "application/json", append(body, '\n'))
	return nil
}

func (l *Listener) wakeup(w http.ResponseWriter, r request) error {
	id, err := l.known(r)
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		return fault.New(fault.Unsupported, "a wakeup is asked for with POST or GET")
	}
	if !l.limits.allowWake(id, time.Now()) {
		return fault.New(fault.TooMany, "there were several wakeups just now; the agent checks in by itself, too")
	}
	l.log.Info("woken by the local listener", logging.Remote, r.RemoteAddr)
	l.o.Wake(id)
	write(w, http.StatusOK, "text/plain; charset=utf-8", []byte("checking in\n"))
	return nil
}

func (l *Listener) tail(w http.ResponseWriter, r request) error {
	if r.lan && !l.o.Config.LogOnLAN {
		return fault.New(fault.Forbidden, "this device does not show its log to the network")
	}
	if _, err := l.known(r); err != nil {
		return err
	}
	end, err := logfile.Tail(l.o.DataDir, logLines, logBytes)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, "text/plain; charset=utf-8", end)
	return nil
}

// known compares the device id of a request with this device's own, in a time that tells nothing of them.
func (l *Listener) known(r request) (string, error) {
	found := ""
	for _, id := range l.o.DeviceIDs() {
		if id != "" && subtle.ConstantTimeCompare([]byte(id), []byte(r.query.deviceID)) == 1 {
			found = id
		}
	}
	if found == "" {
		return "", fault.New(fault.Forbidden, "this is not a device id of this device")
	}
	return found, nil
}

// download is the specification's form of asking for a fragment: by package and number.
func (l *Listener) download(w http.ResponseWriter, r request) error {
	id, number, err := parseFile(r.query.file)
	if err != nil {
		return err
	}
	digest, err := fragments.Find(l.o.DataDir, id, number)
	if err != nil {
		return err
	}
	return l.fragment(w, r, digest)
}

// fragment sends a fragment, or the range that was asked for. Nobody needs to trust what comes: the name is
// its digest, and the receiver compares.
func (l *Listener) fragment(w http.ResponseWriter, r request, digest string) error {
	file, err := fragments.Open(l.o.DataDir, digest)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("look at a fragment: %w", err)
	}
	limit := writeLimit + time.Duration(info.Size()/slowest)*time.Second
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return fmt.Errorf("set the time for a fragment: %w", err)
	}
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	header.Set("ETag", `"`+digest+`"`)
	http.ServeContent(w, r.Request, "", time.Time{}, file)
	return nil
}
