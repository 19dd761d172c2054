package e2e_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// relay is what a device has for its server's address: a port that passes bytes on to wherever the test
// says, so that an enemy takes the server's place without the device being told.
type relay struct {
	url string

	mu     sync.Mutex
	target string
}

func startRelay(t *testing.T, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{url: "https://" + l.Addr().String(), target: target}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(conn)
		}
	}()
	return r
}

func (r *relay) pass(from net.Conn) {
	defer from.Close()
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	to, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, from)
		to.Close()
	}()
	_, _ = io.Copy(from, to)
}

func (r *relay) lead(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}

// enemyServer speaks to one device as the server did, with whatever the server's data directory held.
type enemyServer struct {
	address string

	mu      sync.Mutex
	tasks   []any // of every check-in, until their attempts are over
	trust   []json.RawMessage
	served  map[string][]byte // by digest, or what is said to be the digest
	reports []protocol.Report
	asked   int // requests with the device's credential
	// first sees every request before the rest, and answers it if it returns true.
	first func(w http.ResponseWriter, r *http.Request) bool
	// forgets: finished attempts are offered again.
	forgets bool
}

func startEnemyServer(t *testing.T, conf *tls.Config) *enemyServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	e := &enemyServer{address: l.Addr().String(), served: map[string][]byte{}}
	h := &http.Server{Handler: e, TLSConfig: conf, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = h.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = h.Close() })
	return e
}

// serve hands out data under its digest.
func (e *enemyServer) serve(data []byte) string {
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	e.serveAs(digest, data)
	return digest
}

func (e *enemyServer) serveAs(digest string, data []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.served[digest] = data
}

// attack replaces what the enemy does; nil means that it waits.
func (e *enemyServer) attack(first func(w http.ResponseWriter, r *http.Request) bool, tasks ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.first, e.tasks = first, tasks
}

// told lists what the device has reported about an attempt or a task.
func (e *enemyServer) told(id string) []protocol.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []protocol.Report
	for _, r := range e.reports {
		if r.Deployment != nil && r.Deployment.AttemptID == id || r.Task != nil && r.Task.TaskID == id {
			list = append(list, r)
		}
	}
	return list
}

// ServeHTTP answers the device.
func (e *enemyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	if r.Header.Get("Authorization") != "" {
		e.asked++
	}
	first := e.first
	e.mu.Unlock()
	if first != nil && first(w, r) {
		return
	}
	switch {
	case r.URL.Path == protocol.PathCheckIn:
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w, e.offer())
	case r.URL.Path == protocol.PathReports:
		var in protocol.ReportsRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, e.take(in.Reports))
	case path.Dir(r.URL.Path) == protocol.PathInstruction, path.Dir(r.URL.Path) == protocol.PathFragment:
		e.mu.Lock()
		data, ok := e.served[path.Base(r.URL.Path)]
		e.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	case r.URL.Path == protocol.PathRotate:
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "not here", http.StatusForbidden)
	}
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// offer is the answer to a check-in.
func (e *enemyServer) offer() any {
	e.mu.Lock()
	defer e.mu.Unlock()
	over := map[string]bool{}
	for _, r := range e.reports {
		if d := r.Deployment; d != nil && d.State.Final() {
			over[d.AttemptID] = true
		}
		if r.Task != nil {
			over[r.Task.TaskID] = true
		}
	}
	tasks := []any{}
	for _, task := range e.tasks {
		if t, ok := task.(protocol.Task); ok && over[t.ID] && !e.forgets {
			continue
		}
		tasks = append(tasks, task)
	}
	return map[string]any{"server_time": time.Now().UTC(), "state": protocol.DeviceActive, "tasks": tasks, "trust": e.trust}
}

func (e *enemyServer) take(reports []protocol.Report) protocol.Ack {
	e.mu.Lock()
	defer e.mu.Unlock()
	ack := protocol.Ack{IDs: []string{}}
	for _, r := range reports {
		e.reports = append(e.reports, r)
		ack.IDs = append(ack.IDs, r.ID)
	}
	return ack
}
