package agentapi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/agentapi"
	"github.com/muster/muster/server/internal/bus"
	"github.com/muster/muster/server/internal/deploy"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/devicelog"
	"github.com/muster/muster/server/internal/event"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/ingest"
	"github.com/muster/muster/server/internal/inventory"
	"github.com/muster/muster/server/internal/software"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/task"
)

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

// everything is software of which all has been reported.
type everything struct{}

func (everything) Reported(context.Context, string, []string) ([]string, error) { return nil, nil }

// env is the agents' side over real features; packages, instructions and fragments are maps.
type env struct {
	t         testing.TB
	url       string
	api       *agentapi.API
	devices   *device.Service
	deploy    *deploy.Service
	tasks     *task.Service
	logs      *devicelog.Service
	db        *store.DB
	reads     *atomic.Int64 // statements that went to the database
	writes    *atomic.Int64
	hub       *hub.Hub
	fragments map[string]string
	private   map[string]bool
	pkg       deploy.Package
}

func newEnv(t testing.TB, change func(*agentapi.Options)) *env {
	t.Helper()
	db := storetest.Open(t, store.SQLite)
	log := slog.New(slog.DiscardHandler)
	e := &env{t: t, db: db, fragments: map[string]string{}, private: map[string]bool{}}
	e.reads, e.writes = counted(t, db) // before anything uses it: callbacks have no lock
	e.pkg = deploy.Package{ID: uuid.NewString(), Name: "App", Version: "1", Priority: 5, State: deploy.PackageActive, InstructionDigest: digest("envelope")}
	e.hub = hub.New(hub.Options{Bus: bus.NewMemory(), Log: log})
	e.devices = device.New(device.Options{DB: db, Live: e.hub, Log: log})
	e.deploy = deploy.New(deploy.Options{
		DB: db, Devices: e.devices, Live: e.hub, Log: log,
		Package: func(context.Context, string) (deploy.Package, error) { return e.pkg, nil },
	})
	e.devices.Subscribe(e.deploy.DeviceChanged)
	inventories := inventory.New(inventory.Options{
		DB: db, Software: software.New(software.Options{DB: db, Log: log}), Notify: e.hub.Notify, Spread: func([]event.Event) {},
	})
	e.tasks = task.New(task.Options{DB: db, Devices: e.devices, Live: e.hub, Software: everything{}, Log: log})
	e.devices.Subscribe(e.tasks.DeviceChanged)
	e.logs = devicelog.New(devicelog.Options{DB: db, Devices: e.devices, Live: e.hub, Log: log})
	opt := agentapi.Options{
		Devices: e.devices, Deployments: e.deploy, Tasks: e.tasks, Inventories: inventories,
		Reports: ingest.New(ingest.Options{Deployments: e.deploy, Tasks: e.tasks, Logs: e.logs, Devices: e.devices, Log: log}), Live: e.hub, Log: log, Registerer: prometheus.NewRegistry(),
		Trust: func(_ context.Context, after int) ([]json.RawMessage, error) {
			return []json.RawMessage{json.RawMessage(`{"v":1}`), json.RawMessage(`{"v":2}`)}[max(0, min(after, 2)):], nil
		},
		Instruction: func(_ context.Context, name string) ([]byte, error) {
			if name != digest("envelope") {
				return nil, fault.New(fault.NotFound, "there is no instruction %s", name)
			}
			return []byte("envelope"), nil
		},
		Fragment: func(_ context.Context, name string) (agentapi.Fragment, error) {
			data, ok := e.fragments[name]
			if !ok {
				return agentapi.Fragment{}, fault.New(fault.NotFound, "there is no fragment %s", name)
			}
			return agentapi.Fragment{Content: content{bytes.NewReader([]byte(data))}, Private: e.private[name]}, nil
		},
	}
	if change != nil {
		change(&opt)
	}
	router := echo.New()
	router.IPExtractor = echo.ExtractIPDirect()
	e.api = agentapi.New(opt)
	e.api.Register(router)
	srv := httptest.NewServer(router)
	e.url = srv.URL
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.deploy.Run(ctx)
	}()
	t.Cleanup(func() {
		require.NoError(t, e.hub.Close(context.Background()))
		srv.Close()
		cancel()
		<-done
	})
	return e
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// call sends a request and decodes a good answer into into; it returns the status and the problem.
func (e *env) call(method, path, bearer string, body, into any) (*http.Response, protocol.Problem) {
	e.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		require.NoError(e.t, err)
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, r)
	require.NoError(e.t, err)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(e.t, err)
	defer resp.Body.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(resp.Body)
	require.NoError(e.t, err)
	var p protocol.Problem
	if resp.StatusCode >= 400 {
		require.Equal(e.t, "application/problem+json", resp.Header.Get("Content-Type"), string(data))
		require.NoError(e.t, json.Unmarshal(data, &p))
		require.Equal(e.t, resp.StatusCode, p.Status)
	} else if text, ok := into.(*string); ok {
		*text = string(data)
	} else if into != nil {
		require.NoError(e.t, json.Unmarshal(data, into))
	}
	return resp, p
}

func (e *env) token(approval bool) string {
	e.t.Helper()
	_, secret, err := e.devices.CreateToken(e.t.Context(), device.Token{Name: "t", NeedsApproval: approval, ExpiresAt: time.Now().Add(time.Hour)})
	require.NoError(e.t, err)
	return secret
}

// enroll makes a device over the wire and returns its id and credential.
func (e *env) enroll(approval bool) (id, bearer string) {
	e.t.Helper()
	secret := random()
	var got protocol.EnrollResponse
	resp, p := e.call("POST", protocol.PathEnroll, "", protocol.EnrollRequest{
		Protocol: 1, Token: e.token(approval), Nonce: random(), SecretSHA256: protocol.HashSecret(secret),
	}, &got)
	require.Equal(e.t, 200, resp.StatusCode, "%+v", p)
	require.Len(e.t, got.Trust, 2)
	require.Equal(e.t, "no-store", resp.Header.Get("Cache-Control"))
	return got.DeviceID, protocol.Credential(got.DeviceID, secret)
}

func (e *env) checkIn(bearer string, trust int) protocol.CheckInResponse {
	e.t.Helper()
	var got protocol.CheckInResponse
	resp, p := e.call("POST", protocol.PathCheckIn, bearer, protocol.CheckInRequest{Protocol: 1, TrustVersion: trust}, &got)
	require.Equal(e.t, 200, resp.StatusCode, "%+v", p)
	return got
}

func (e *env) assign(ids ...string) {
	e.t.Helper()
	_, err := e.deploy.Assign(e.t.Context(), deploy.AssignRequest{PackageID: e.pkg.ID, DeviceIDs: ids, By: "ann"})
	require.NoError(e.t, err)
}

func report(task protocol.Task, state protocol.State) protocol.Report {
	id, err := uuid.NewV7()
	if err != nil {
		return protocol.Report{}
	}
	zero := 0
	return protocol.Report{ID: id.String(), Kind: protocol.ReportDeployment, Time: time.Now(), Deployment: &protocol.DeploymentReport{
		DeploymentID: task.Deploy.DeploymentID, AttemptID: task.Deploy.AttemptID, State: state, Reason: protocol.ReasonExitCode, ExitCode: &zero,
	}}
}

func TestAgent_fromEnrollmentToResult(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	id, bearer := e.enroll(false)
	got := e.checkIn(bearer, 1)
	require.Equal(t, protocol.DeviceActive, got.State)
	require.NotNil(t, got.Tasks)
	require.Empty(t, got.Tasks)
	require.JSONEq(t, `[{"v":2}]`, mustJSON(t, got.Trust))

	e.assign(id)
	got = e.checkIn(bearer, 2)
	require.Empty(t, got.Trust)
	require.Len(t, got.Tasks, 1)
	var envelope string
	resp, _ := e.call("GET", protocol.PathInstruction+"/"+got.Tasks[0].Deploy.Instruction, bearer, nil, &envelope)
	require.Equal(t, "envelope", envelope)
	require.Contains(t, resp.Header.Get("Cache-Control"), "private")

	r := report(got.Tasks[0], protocol.StateSucceeded)
	var ack protocol.Ack
	for range 2 {
		e.call("POST", protocol.PathReports, bearer, protocol.ReportsRequest{Reports: []protocol.Report{r}}, &ack)
		require.Equal(t, protocol.Ack{IDs: []string{r.ID}}, ack)
	}
	require.Empty(t, e.checkIn(bearer, 2).Tasks)

	next := random()
	resp, _ = e.call("POST", protocol.PathRotate, bearer, protocol.RotateRequest{NextSHA256: protocol.HashSecret(next)}, nil)
	require.Equal(t, 204, resp.StatusCode)
	e.checkIn(protocol.Credential(id, next), 2)
	resp, _ = e.call("POST", protocol.PathReports, bearer, protocol.ReportsRequest{}, nil)
	require.Equal(t, 401, resp.StatusCode, "the retired secret opens nothing")
	got = e.checkIn(bearer, 2)
	require.Equal(t, protocol.DeviceQuarantined, got.State, "a check-in with it shows a restored or doubled device")
	require.Positive(t, got.NextSeconds, "it hears of an approval by asking")
	resp, _ = e.call("POST", protocol.PathReports, bearer, protocol.ReportsRequest{}, nil)
	require.Equal(t, 401, resp.StatusCode, "it reports nothing for the one that has the present secret")
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return string(data)
}

func TestAgent_whoMayWhat(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	active, activeBearer := e.enroll(false)
	_, pending := e.enroll(true)
	revoked, revokedBearer := e.enroll(false)
	e.fragments[digest("open")], e.fragments[digest("secret")] = "open", "secret"
	e.private[digest("secret")] = true
	e.assign(active, revoked)
	_, err := e.devices.Revoke(t.Context(), revoked)
	require.NoError(t, err)
	checkIn, reports := protocol.CheckInRequest{Protocol: 1}, protocol.ReportsRequest{}
	for _, tc := range []struct {
		method, path                     string
		body                             any
		nobody, active, pending, revoked int
	}{
		{"POST", protocol.PathCheckIn, checkIn, 401, 200, 200, 401},
		{"POST", protocol.PathReports, reports, 401, 200, 200, 401},
		{"POST", protocol.PathRotate, protocol.RotateRequest{NextSHA256: digest("next")}, 401, 204, 204, 401},
		{"GET", protocol.PathInstruction + "/" + digest("envelope"), nil, 401, 200, 403, 401},
		{"GET", protocol.PathInstruction + "/" + digest("none"), nil, 401, 404, 403, 401},
		{"GET", protocol.PathInstruction + "/..%2f", nil, 401, 404, 403, 401},
		{"GET", protocol.PathFragment + "/" + digest("open"), nil, 200, 200, 200, 200},
		{"GET", protocol.PathFragment + "/" + digest("secret"), nil, 401, 200, 403, 401},
		{"GET", protocol.PathFragment + "/" + digest("none"), nil, 404, 404, 404, 404},
		{"GET", protocol.PathFragment + "/x", nil, 404, 404, 404, 404},
	} {
		for who, want := range map[string]struct {
			bearer string
			status int
		}{
			"nobody": {"", tc.nobody}, "active": {activeBearer, tc.active}, "pending": {pending, tc.pending}, "revoked": {revokedBearer, tc.revoked},
		} {
			resp, p := e.call(tc.method, tc.path, want.bearer, tc.body, nil)
			require.Equal(t, want.status, resp.StatusCode, "%s %s by %s: %+v", tc.method, tc.path, who, p)
			if want.status == 401 {
				require.Contains(t, resp.Header.Get("WWW-Authenticate"), "Bearer")
			}
		}
	}
	require.Empty(t, e.checkIn(pending, 2).Tasks)
	require.Positive(t, e.checkIn(pending, 2).NextSeconds)
}

func TestFragment_rangesAndCaching(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	name := digest("0123456789")
	e.fragments[name] = "0123456789"
	get := func(header, value string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", e.url+protocol.PathFragment+"/"+name, nil)
		require.NoError(t, err)
		req.Header.Set(header, value)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close() //nolint:errcheck // read only
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, string(data)
	}
	resp, data := get("Range", "bytes=4-")
	require.Equal(t, 206, resp.StatusCode)
	require.Equal(t, "456789", data)
	require.Equal(t, "public, max-age=31536000, immutable", resp.Header.Get("Cache-Control"))
	resp, _ = get("If-None-Match", `"`+name+`"`)
	require.Equal(t, 304, resp.StatusCode)
	e.private[name] = true
	_, bearer := e.enroll(false)
	resp, data = get("Authorization", "Bearer "+bearer)
	require.Equal(t, "0123456789", data)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
}

func TestAgent_badBodies(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	_, bearer := e.enroll(false)
	for name, tc := range map[string]struct {
		path, body string
		status     int
	}{
		"malformed":         {protocol.PathCheckIn, `{`, 400},
		"empty":             {protocol.PathCheckIn, ``, 400},
		"wrong type":        {protocol.PathCheckIn, `{"protocol":"1"}`, 400},
		"too old":           {protocol.PathCheckIn, `{"protocol":0}`, 400},
		"too new":           {protocol.PathCheckIn, `{"protocol":99}`, 400},
		"unknown fields":    {protocol.PathCheckIn, `{"protocol":1,"news":[1]}`, 200},
		"too large":         {protocol.PathCheckIn, `{"protocol":1,"x":"` + strings.Repeat("x", protocol.MaxCheckIn) + `"}`, 413},
		"enroll too large":  {protocol.PathEnroll, strings.Repeat(" ", protocol.MaxEnroll+1), 413},
		"reports malformed": {protocol.PathReports, `[]`, 400},
		"rotate malformed":  {protocol.PathRotate, `{"next_sha256":"x"}`, 400},
	} {
		resp, p := e.call("POST", tc.path, bearer, tc.body, nil)
		require.Equal(t, tc.status, resp.StatusCode, "%s: %+v", name, p)
	}
}

func TestEnroll_guessingIsSlowedDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	guess := func() int {
		resp, _ := e.call("POST", protocol.PathEnroll, "", protocol.EnrollRequest{
			Protocol: 1, Token: random(), Nonce: random(), SecretSHA256: random(),
		}, nil)
		if resp.StatusCode == 429 {
			require.NotEmpty(t, resp.Header.Get("Retry-After"))
		}
		return resp.StatusCode
	}
	for range 10 {
		require.Equal(t, 401, guess())
	}
	require.Equal(t, 429, guess())
}

func TestCheckIn_overloadIsToldToComeBack(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}, 16), make(chan struct{})
	e := newEnv(t, func(o *agentapi.Options) {
		o.MaxCheckIns = 1
		trust := o.Trust
		o.Trust = func(ctx context.Context, after int) ([]json.RawMessage, error) {
			if after == 7 {
				entered <- struct{}{}
				<-leave
			}
			return trust(ctx, min(after, 2))
		}
	})
	_, bearer := e.enroll(false)
	go func() {
		req, err := http.NewRequest("POST", e.url+protocol.PathCheckIn, strings.NewReader(`{"protocol":1,"trust_version":7}`))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-entered
	resp, p := e.call("POST", protocol.PathCheckIn, bearer, protocol.CheckInRequest{Protocol: 1}, nil)
	close(leave)
	require.Equal(t, 503, resp.StatusCode)
	require.Equal(t, string(fault.Unavailable), p.Code)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	require.Eventually(t, func() bool {
		resp, _ := e.call("POST", protocol.PathCheckIn, bearer, protocol.CheckInRequest{Protocol: 1}, nil)
		return resp.StatusCode == 200
	}, time.Minute, time.Millisecond)
}

func TestSocket(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	id, bearer := e.enroll(false)
	dial := func(bearer string) (*websocket.Conn, int) {
		d := websocket.Dialer{Subprotocols: []string{protocol.SocketProtocol}}
		ws, resp, err := d.Dial("ws"+strings.TrimPrefix(e.url, "http")+protocol.PathSocket, http.Header{"Authorization": {"Bearer " + bearer}})
		require.NotNil(t, resp, "%v", err)
		_ = resp.Body.Close()
		if err == nil {
			t.Cleanup(func() { _ = ws.Close() })
			require.NoError(t, ws.SetReadDeadline(time.Now().Add(10*time.Second)))
		}
		return ws, resp.StatusCode
	}
	_, status := dial("mdev_x")
	require.Equal(t, 401, status)
	ws, status := dial(bearer)
	require.Equal(t, 101, status)
	var m protocol.SocketMessage
	require.NoError(t, ws.ReadJSON(&m))
	require.Equal(t, protocol.SocketWakeup, m.Type, "for what was assigned before the server knew the connection")

	e.assign(id)
	m = protocol.SocketMessage{}
	require.NoError(t, ws.ReadJSON(&m))
	require.Equal(t, protocol.SocketWakeup, m.Type)
	task := e.checkIn(bearer, 2).Tasks[0]
	require.NoError(t, ws.WriteJSON(protocol.SocketMessage{Type: "news_of_a_later_version"}))
	require.NoError(t, ws.WriteJSON(protocol.SocketMessage{Type: protocol.SocketProgress, Progress: &protocol.Progress{AttemptID: task.ID, Done: 1, Total: 2}}))
	r := report(task, protocol.StateSucceeded)
	require.NoError(t, ws.WriteJSON(protocol.SocketMessage{Type: protocol.SocketReports, Reports: []protocol.Report{r}}))
	m = protocol.SocketMessage{}
	require.NoError(t, ws.ReadJSON(&m))
	require.Equal(t, protocol.SocketMessage{Type: protocol.SocketAck, Ack: &protocol.Ack{IDs: []string{r.ID}}}, m)
	d, err := e.deploy.Get(t.Context(), task.Deploy.DeploymentID)
	require.NoError(t, err)
	require.Equal(t, "succeeded (exit code 0)", d.Summary, "committed before it was acknowledged")

	_, err = e.devices.Revoke(t.Context(), id)
	require.NoError(t, err)
	_, _, err = ws.ReadMessage()
	require.Error(t, err, "revoking cuts the connection")
}
