package cli_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/muster/internal/cli"
	"github.com/muster/muster/packages/protocol"
)

type object = map[string]any

// fakeServer speaks the admin API as far as the commands use it, from memory, over real TLS.
type fakeServer struct {
	*httptest.Server
	t *testing.T

	mu          sync.Mutex
	passwords   []string // tried at login
	tokens      map[string]bool
	calls       []string
	packages    []object
	devices     []object
	deployments []object
	tasks       []object
	groups      []object
	releases    []object
	handedIn    object   // with the newest release
	logs        []object // oldest first
	logSetting  object
	asked       []string // queries for logs
	content     []byte   // of the one upload
	upload      object
	cuts        int // how many PATCH requests are cut in the middle
	lieDigest   bool
	envelope    []byte
	trust       fakeTrust
	sockets     []*websocket.Conn
	noEvents    bool
}

const goodToken = "mapi_good"

func newFake(t *testing.T) *fakeServer {
	t.Helper()
	f := &fakeServer{t: t, tokens: map[string]bool{goodToken: true}}
	mux := http.NewServeMux()
	handle := func(pattern string, h func(r *http.Request) (int, any)) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /api/v1"+path, func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, h) })
	}
	f.accountRoutes(handle)
	f.packageRoutes(handle)
	f.deviceRoutes(handle)
	f.trustRoutes(handle)
	f.taskRoutes(handle)
	f.groupRoutes(handle)
	f.logRoutes(handle)
	f.releaseRoutes(handle)
	mux.HandleFunc("GET /api/v1/events", f.events)
	f.Server = httptest.NewUnstartedServer(mux)
	f.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // refused handshakes are what is tested
	f.StartTLS()
	t.Cleanup(func() {
		f.mu.Lock()
		for _, c := range f.sockets {
			_ = c.Close()
		}
		f.mu.Unlock()
		f.Server.Close()
	})
	return f
}

func (f *fakeServer) serve(w http.ResponseWriter, r *http.Request, h func(*http.Request) (int, any)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/api/v1"))
	_, cookieErr := r.Cookie("muster_session")
	known := f.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] || cookieErr == nil
	if !known && r.URL.Path != "/api/v1/login" {
		problem(w, fault.Unauthenticated, "not logged in")
		return
	}
	if r.URL.Path == "/api/v1/login" {
		http.SetCookie(w, &http.Cookie{Name: "muster_session", Value: "s", Path: "/", Secure: true})
	}
	status, answer := h(r)
	switch v := answer.(type) {
	case *fault.Error:
		problem(w, v.Code, v.Msg)
	case nil:
		w.WriteHeader(status)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func problem(w http.ResponseWriter, code fault.Code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(fault.Status(code))
	_ = json.NewEncoder(w).Encode(protocol.Problem{Title: "x", Status: fault.Status(code), Detail: detail, Code: string(code)})
}

func body(r *http.Request) object {
	var o object
	_ = json.NewDecoder(r.Body).Decode(&o)
	return o
}

// page cuts a list by an offset as cursor, two at a time.
func page(r *http.Request, items []object) object {
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	to := min(from+min(limit, 2), len(items))
	out := object{"items": items[from:to]}
	if to < len(items) {
		out["next"] = strconv.Itoa(to)
	}
	return out
}

func find(items []object, id string) object {
	for _, o := range items {
		if o["id"] == id {
			return o
		}
	}
	return nil
}

func (f *fakeServer) accountRoutes(handle func(string, func(*http.Request) (int, any))) {
	handle("POST /login", func(r *http.Request) (int, any) {
		in := body(r)
		f.passwords = append(f.passwords, fmt.Sprint(in["password"]))
		if in["password"] != "correct horse" {
			return 0, fault.New(fault.Unauthenticated, "wrong user name or password")
		}
		return 200, object{"username": in["username"], "kind": "session"}
	})
	handle("POST /logout", func(*http.Request) (int, any) { return 204, nil })
	handle("GET /me", func(*http.Request) (int, any) { return 200, object{"username": "ada", "kind": "token"} })
	handle("GET /server", func(*http.Request) (int, any) {
		return 200, object{"name": "hq", "version": "1", "urls": []string{f.URL}, "server_can_sign": true}
	})
	handle("POST /api-tokens", func(r *http.Request) (int, any) {
		f.tokens["mapi_new"] = true
		return 201, object{"id": "t1", "name": body(r)["name"], "token": "mapi_new"}
	})
	handle("DELETE /api-tokens/{id}", func(r *http.Request) (int, any) { delete(f.tokens, "mapi_new"); return 204, nil })
	handle("POST /enrollment-tokens", func(r *http.Request) (int, any) {
		in := body(r)
		in["id"], in["enrollment"], in["token"] = "e1", "MUSTER1-abc", "secret"
		return 201, in
	})
	handle("GET /enrollment-tokens", func(r *http.Request) (int, any) {
		return 200, page(r, []object{{"id": "e1", "name": "a", "uses": 1, "max_uses": 1}, {"id": "e2", "name": "b", "revoked": true}, {"id": "e3", "name": "c"}})
	})
	handle("DELETE /enrollment-tokens/{id}", func(*http.Request) (int, any) { return 204, nil })
	handle("GET /audit", func(r *http.Request) (int, any) {
		return 200, page(r, []object{{"id": "1", "time": time.Now(), "actor": "ada", "operation": "sign-package", "status": 200}})
	})
}

func (f *fakeServer) packageRoutes(handle func(string, func(*http.Request) (int, any))) {
	handle("POST /uploads", func(r *http.Request) (int, any) {
		f.upload = body(r)
		f.content = nil
		f.upload["id"], f.upload["offset"], f.upload["state"] = "u1", 0, "open"
		return 201, f.upload
	})
	handle("GET /uploads/{id}", func(*http.Request) (int, any) { return 200, f.upload })
	handle("PATCH /uploads/{id}", func(r *http.Request) (int, any) {
		if r.Header.Get("Upload-Offset") != strconv.Itoa(len(f.content)) {
			return 0, fault.New(fault.Conflict, "the offset is %d", len(f.content))
		}
		in := io.Reader(r.Body)
		if f.cuts > 0 {
			in = io.LimitReader(in, r.ContentLength/2)
		}
		data, _ := io.ReadAll(in)
		f.content = append(f.content, data...)
		f.upload["offset"] = len(f.content)
		if f.cuts > 0 {
			f.cuts--
			panic(http.ErrAbortHandler) // the connection breaks
		}
		return 200, f.upload
	})
	handle("POST /uploads/{id}/finish", func(r *http.Request) (int, any) { return f.finish(body(r)) })
	handle("POST /packages", func(r *http.Request) (int, any) {
		p := body(r)
		p["id"], p["state"] = uuid.NewString(), "draft"
		if p["upload_id"] != nil {
			p["archive"] = f.upload["archive"]
		}
		f.packages = append(f.packages, p)
		return 201, p
	})
	handle("GET /packages", func(r *http.Request) (int, any) { return 200, page(r, f.packages) })
	one := func(change func(p object, r *http.Request)) func(*http.Request) (int, any) {
		return func(r *http.Request) (int, any) {
			p := find(f.packages, r.PathValue("id"))
			if p == nil {
				return 0, fault.New(fault.NotFound, "no such package")
			}
			change(p, r)
			return 200, p
		}
	}
	handle("GET /packages/{id}", one(func(object, *http.Request) {}))
	handle("DELETE /packages/{id}", one(func(object, *http.Request) {}))
	handle("POST /packages/{id}/sign", one(func(p object, _ *http.Request) { p["signed"] = true }))
	handle("POST /packages/{id}/activate", one(func(p object, _ *http.Request) { p["state"] = "active" }))
	handle("POST /packages/{id}/retire", one(func(p object, _ *http.Request) { p["state"] = "retired" }))
	handle("PUT /packages/{id}/instruction", one(func(p object, r *http.Request) {
		var in struct {
			Envelope []byte `json:"envelope"`
		}
		_ = json.NewDecoder(r.Body).Decode(&in)
		f.envelope = in.Envelope
		p["signed"] = true
	}))
}

func (f *fakeServer) finish(in object) (int, any) {
	sum := sha256.Sum256(f.content)
	if in["sha256"] != hex.EncodeToString(sum[:]) {
		return 0, fault.New(fault.Untrusted, "the digest differs")
	}
	n := int64(len(f.content))
	format, err := archive.Detect(bytes.NewReader(f.content), n)
	if err != nil {
		return 0, fault.New(fault.Unsupported, "%v", err)
	}
	a, err := fragment.Cut(bytes.NewReader(f.content), fragment.SizeFor(n), func(instruction.Fragment, []byte) error { return nil })
	if err != nil {
		return 0, fault.New(fault.Internal, "%v", err)
	}
	if f.lieDigest {
		a.SHA256 = strings.Repeat("0", 64)
	}
	f.upload["state"] = "finished"
	f.upload["archive"] = object{"format": format, "size": a.Size, "sha256": a.SHA256, "fragments": len(a.Fragments)}
	return 200, f.upload
}

func (f *fakeServer) deviceRoutes(handle func(string, func(*http.Request) (int, any))) {
	handle("GET /devices", func(r *http.Request) (int, any) { return 200, page(r, f.devices) })
	one := func(change func(object)) func(*http.Request) (int, any) {
		return func(r *http.Request) (int, any) {
			d := find(f.devices, r.PathValue("id"))
			if d == nil {
				return 0, fault.New(fault.NotFound, "no such device")
			}
			change(d)
			return 200, d
		}
	}
	handle("GET /devices/{id}", one(func(object) {}))
	handle("POST /devices/{id}/approve", one(func(d object) { d["state"] = "active" }))
	handle("POST /devices/{id}/revoke", one(func(d object) { d["state"] = "revoked" }))
	handle("POST /devices/{id}/wakeup", func(*http.Request) (int, any) { return 202, object{"connected": true} })
	handle("POST /assignments", func(r *http.Request) (int, any) {
		in := body(r)
		ids, _ := in["device_ids"].([]any)
		for _, id := range ids {
			f.deployments = append(f.deployments, object{"id": uuid.NewString(), "device_id": id, "hostname": find(f.devices, id.(string))["hostname"],
				"package_id": in["package_id"], "package_name": "tool", "package_version": "1", "assignment_id": "a1", "state": "assigned", "attempt": 1})
		}
		return 201, object{"id": "a1", "package_id": in["package_id"], "package_name": "tool", "device_count": len(ids), "not_before": in["not_before"]}
	})
	handle("GET /assignments", func(r *http.Request) (int, any) { return 200, page(r, []object{{"id": "a1", "package_name": "tool"}}) })
	handle("DELETE /assignments/{id}", func(*http.Request) (int, any) { return 204, nil })
	handle("GET /deployments", func(r *http.Request) (int, any) { return 200, page(r, f.deployments) })
	handle("GET /deployments/{id}", func(r *http.Request) (int, any) {
		if d := find(f.deployments, r.PathValue("id")); d != nil {
			return 200, d
		}
		return 0, fault.New(fault.NotFound, "no such deployment")
	})
	handle("POST /deployments/{id}/retry", func(r *http.Request) (int, any) { return 200, find(f.deployments, r.PathValue("id")) })
	handle("POST /deployments/{id}/cancel", func(r *http.Request) (int, any) { return 200, find(f.deployments, r.PathValue("id")) })
}

func (f *fakeServer) events(w http.ResponseWriter, r *http.Request) {
	if f.noEvents || r.Header.Get("Authorization") == "" {
		problem(w, fault.Forbidden, "no events")
		return
	}
	conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sockets = append(f.sockets, conn)
}

// set changes every deployment, and says so.
func (f *fakeServer) set(state protocol.State, summary string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.deployments {
		d["state"], d["summary"] = state, summary
	}
	for _, c := range f.sockets {
		_ = c.WriteJSON(object{"type": "deployment", "id": "any"})
	}
}

func (f *fakeServer) called(call string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c == call {
			return true
		}
	}
	return false
}

func (f *fakeServer) fingerprint() string {
	sum := sha256.Sum256(f.Certificate().Raw)
	return hex.EncodeToString(sum[:])
}

// desk is where somebody runs the program.
type desk struct {
	t        *testing.T
	dir      string
	in       string
	terminal bool
	password string
	env      map[string]string
	poll     time.Duration
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	dir := t.TempDir()
	return &desk{t: t, dir: dir, env: map[string]string{"HOME": dir}, poll: 10 * time.Millisecond}
}

// at is a desk that is logged in to the server by its environment.
func at(t *testing.T, f *fakeServer) *desk {
	t.Helper()
	d := newDesk(t)
	ca := filepath.Join(d.dir, "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}), 0o600))
	d.env["MUSTER_SERVER"], d.env["MUSTER_TOKEN"], d.env["MUSTER_CA"] = f.URL, goodToken, ca
	return d
}

// syncBuffer is written by the program while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// begin runs a command in the background.
func (d *desk) begin(args ...string) (out, errs *syncBuffer, code <-chan int) {
	out, errs = &syncBuffer{}, &syncBuffer{}
	done := make(chan int, 1)
	w := cli.World{
		In: strings.NewReader(d.in), Out: out, Err: errs, Getenv: func(k string) string { return d.env[k] },
		Terminal: d.terminal, ReadPassword: func() (string, error) { return d.password, nil }, Now: time.Now, Poll: d.poll,
	}
	go func() { done <- cli.Main(d.t.Context(), args, w) }()
	return out, errs, done
}

// run runs a command to its end.
func (d *desk) run(args ...string) (code int, out, errs string) {
	d.t.Helper()
	o, e, done := d.begin(args...)
	code = await(d.t, done)
	return code, o.String(), e.String()
}

func (d *desk) ok(args ...string) string {
	d.t.Helper()
	code, out, errs := d.run(args...)
	require.Zero(d.t, code, "%s\n%s", out, errs)
	return out
}

func await(t *testing.T, done <-chan int) int {
	t.Helper()
	select {
	case code := <-done:
		return code
	case <-time.After(30 * time.Second):
		require.Fail(t, "the command does not end")
		return -1
	}
}
