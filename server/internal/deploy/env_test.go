package deploy_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/deploy"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

const (
	patience  = time.Minute
	pollEvery = 10 * time.Millisecond
)

// live stands for the hub and remembers what it was told.
type live struct {
	mu     sync.Mutex
	woken  []string
	events []hub.Event
}

func (l *live) Wake(id string) { l.WakeMany([]string{id}) }

func (l *live) WakeMany(ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.woken = append(l.woken, ids...)
}

func (l *live) Notify(e hub.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *live) Connected(string) bool  { return false }
func (l *live) ConnectedIDs() []string { return nil }
func (l *live) Disconnect(string)      {}

// takeWoken returns who was woken since the last call, each once.
func (l *live) takeWoken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := slices.Compact(slices.Sorted(slices.Values(l.woken)))
	l.woken = nil
	return ids
}

// env is the feature over a real database, with a catalog that is a map.
type env struct {
	t       testing.TB
	db      *store.DB
	svc     *deploy.Service
	devices *device.Service
	live    *live
	stop    func()

	mu   sync.Mutex
	pkgs map[string]deploy.Package
}

func each(t *testing.T, fn func(t *testing.T, e *env)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { fn(t, newEnv(t, db)) })
}

func newEnv(t testing.TB, db *store.DB) *env {
	t.Helper()
	e := &env{t: t, db: db, live: &live{}, pkgs: map[string]deploy.Package{}}
	e.devices = device.New(device.Options{DB: db, Live: e.live, Log: slog.New(slog.DiscardHandler)})
	e.svc = deploy.New(e.options())
	e.devices.Subscribe(e.svc.DeviceChanged)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.svc.Run(ctx)
	}()
	e.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(e.stop)
	return e
}

func (e *env) options() deploy.Options {
	return deploy.Options{DB: e.db, Package: e.pkg, Devices: e.devices, Live: e.live, Log: slog.New(slog.DiscardHandler)}
}

func (e *env) ctx() context.Context { return e.t.Context() }

func (e *env) pkg(_ context.Context, id string) (deploy.Package, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, ok := e.pkgs[id]
	if !ok {
		return p, fault.New(fault.NotFound, "there is no package %q", id)
	}
	return p, nil
}

func (e *env) putPackage(p deploy.Package) deploy.Package {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.ID == "" {
		p.ID = uuid.NewString()
	}
	if p.State == "" {
		p.State = deploy.PackageActive
	}
	if p.Version == "" {
		p.Version = "1.0"
	}
	if p.InstructionDigest == "" {
		p.InstructionDigest = protocol.HashSecret(p.ID)
	}
	e.pkgs[p.ID] = p
	return p
}

func (e *env) addPackage(name string, priority int) deploy.Package {
	return e.putPackage(deploy.Package{Name: name, Priority: priority})
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (e *env) addDevice(approval bool) string {
	e.t.Helper()
	id, _ := e.addComputer(approval)
	return id
}

// addComputer enrolls a device and returns its id and credential.
func (e *env) addComputer(approval bool) (id, credential string) {
	e.t.Helper()
	own := random()
	_, secret, err := e.devices.CreateToken(e.ctx(), device.Token{Name: "t", NeedsApproval: approval, ExpiresAt: time.Now().Add(time.Hour)})
	require.NoError(e.t, err)
	d, err := e.devices.Enroll(e.ctx(), protocol.EnrollRequest{
		Token: secret, Nonce: random(), SecretSHA256: protocol.HashSecret(own), Facts: protocol.Facts{Hostname: "host", MachineID: "m"},
	}, "127.0.0.1")
	require.NoError(e.t, err)
	return d.ID, protocol.Credential(d.ID, own)
}

// assign gives the package to the devices and returns the assignment.
func (e *env) assign(p deploy.Package, devices ...string) deploy.Assignment {
	e.t.Helper()
	a, err := e.svc.Assign(e.ctx(), deploy.AssignRequest{PackageID: p.ID, DeviceIDs: devices, By: "ann"})
	require.NoError(e.t, err)
	return a
}

// of finds the newest deployment of the package on the device.
func (e *env) of(deviceID string, p deploy.Package) deploy.Deployment {
	e.t.Helper()
	list, err := e.svc.List(e.ctx(), deploy.Filter{DeviceID: deviceID, PackageID: p.ID, Limit: 1})
	require.NoError(e.t, err)
	require.Len(e.t, list, 1)
	d, err := e.svc.Get(e.ctx(), list[0].ID)
	require.NoError(e.t, err)
	return d
}

// offered lists the names of the packages that a check-in would hand out, in order.
func (e *env) offered(deviceID string) []string {
	e.t.Helper()
	tasks, _, err := e.svc.Offer(e.ctx(), deviceID)
	require.NoError(e.t, err)
	names := []string{}
	for _, task := range tasks {
		names = append(names, task.Deploy.PackageName)
	}
	return names
}

func reportID() string {
	id, err := uuid.NewV7()
	if err != nil {
		return ""
	}
	return id.String()
}

func report(d deploy.Deployment, state protocol.State, reason protocol.Reason, exit ...int) protocol.Report {
	r := protocol.Report{
		ID: reportID(), Kind: protocol.ReportDeployment, Time: time.Now(),
		Deployment: &protocol.DeploymentReport{DeploymentID: d.ID, AttemptID: d.AttemptID, State: state, Reason: reason},
	}
	if len(exit) > 0 {
		r.Deployment.ExitCode = &exit[0]
	}
	return r
}

// say sends one report that must be acknowledged.
func (e *env) say(deviceID string, r protocol.Report) {
	e.t.Helper()
	ack, err := e.svc.Ingest(e.ctx(), deviceID, []protocol.Report{r})
	require.NoError(e.t, err)
	require.Empty(e.t, ack.Refused)
	require.Equal(e.t, []string{r.ID}, ack.IDs)
}

// run reports a whole run that ends as told.
func (e *env) run(d deploy.Deployment, end protocol.State, reason protocol.Reason, exit ...int) {
	e.t.Helper()
	for _, s := range []protocol.State{protocol.StateAccepted, protocol.StateFetching, protocol.StateFetched, protocol.StateStarted} {
		e.say(d.DeviceID, report(d, s, ""))
	}
	e.say(d.DeviceID, report(d, end, reason, exit...))
}

// steps is a timeline as "source state/reason".
func steps(d deploy.Deployment) []string {
	var out []string
	for _, entry := range d.Timeline {
		s := entry.Source + " " + string(entry.State)
		if entry.Reason != "" {
			s += "/" + string(entry.Reason)
		}
		out = append(out, s)
	}
	return out
}
