package task_test

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

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/task"
)

// Programs that every device of the tests has reported.
const (
	curl = "pkg:deb/debian/curl@7.88.1-10?arch=amd64"
	nano = "pkg:deb/debian/nano@7.2-1?arch=amd64"
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

// take returns who was woken, and of which types browsers were told, since the last call.
func (l *live) take() (woken, types []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		types = append(types, e.Type)
	}
	woken = slices.Compact(slices.Sorted(slices.Values(l.woken)))
	l.woken, l.events = nil, nil
	return woken, slices.Compact(slices.Sorted(slices.Values(types)))
}

// software knows two programs on each device; more maps further ones to the only device that has them.
type software struct{ more map[string]string }

func (s software) Reported(_ context.Context, deviceID string, keys []string) (missing []string, err error) {
	for _, key := range keys {
		if key != curl && key != nano && s.more[key] != deviceID {
			missing = append(missing, key)
		}
	}
	return missing, nil
}

// env is the feature over a real database.
type env struct {
	t       testing.TB
	db      *store.DB
	svc     *task.Service
	devices *device.Service
	live    *live
	more    map[string]string // of software
}

func each(t *testing.T, fn func(t *testing.T, e *env)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { fn(t, newEnv(t, db)) })
}

func newEnv(t testing.TB, db *store.DB) *env {
	t.Helper()
	e := &env{t: t, db: db, live: &live{}, more: map[string]string{}}
	log := slog.New(slog.DiscardHandler)
	e.devices = device.New(device.Options{DB: db, Live: e.live, Log: log})
	e.svc = task.New(task.Options{DB: db, Devices: e.devices, Live: e.live, Software: software{e.more}, Log: log})
	e.devices.Subscribe(e.svc.DeviceChanged)
	return e
}

func (e *env) ctx() context.Context { return e.t.Context() }

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// enroll makes a device and returns its id and credential.
func (e *env) enroll(approval bool) (id, credential string) {
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

func (e *env) device() string {
	e.t.Helper()
	id, _ := e.enroll(false)
	return id
}

// uninstall asks and returns the tasks, one per device.
func (e *env) uninstall(keys []string, devices ...string) []task.Task {
	e.t.Helper()
	batch, err := e.svc.Uninstall(e.ctx(), task.UninstallRequest{DeviceIDs: devices, Software: keys, By: "ann"})
	require.NoError(e.t, err)
	made, err := e.svc.List(e.ctx(), task.Filter{BatchID: batch, Limit: 100})
	require.NoError(e.t, err)
	require.Len(e.t, made, len(devices))
	return made
}

func (e *env) get(id string) task.Task {
	e.t.Helper()
	t, err := e.svc.Get(e.ctx(), id)
	require.NoError(e.t, err)
	return t
}

// open is what the device's row says.
func (e *env) open(deviceID string) int {
	e.t.Helper()
	d, err := e.devices.Get(e.ctx(), deviceID)
	require.NoError(e.t, err)
	return d.OpenTasks
}

// offered lists the ids of a check-in's tasks.
func (e *env) offered(deviceID, state string) []string {
	e.t.Helper()
	list, err := e.svc.Offer(e.ctx(), deviceID, state)
	require.NoError(e.t, err)
	ids := []string{}
	for _, t := range list {
		ids = append(ids, t.ID)
	}
	return ids
}

func reportID() string {
	id, err := uuid.NewV7()
	if err != nil {
		return ""
	}
	return id.String()
}

func report(t task.Task, state protocol.State, reason protocol.Reason, items ...protocol.TaskItem) protocol.Report {
	return protocol.Report{ID: reportID(), Kind: protocol.ReportTask, Time: time.Now(), Task: &protocol.TaskReport{
		TaskID: t.ID, Kind: t.Kind, State: state, Reason: reason, Items: items,
	}}
}

// say sends one report that must be acknowledged, and tells whether the device has left with it.
func (e *env) say(deviceID string, r protocol.Report) (gone bool) {
	e.t.Helper()
	ack, gone, err := e.svc.Ingest(e.ctx(), deviceID, []protocol.Report{r})
	require.NoError(e.t, err)
	require.Empty(e.t, ack.Refused)
	require.Equal(e.t, []string{r.ID}, ack.IDs)
	return gone
}

// steps is a timeline as "source state/reason".
func steps(t task.Task) []string {
	var out []string
	for _, entry := range t.Timeline {
		s := entry.Source + " " + string(entry.State)
		if entry.Reason != "" {
			s += "/" + string(entry.Reason)
		}
		out = append(out, s)
	}
	return out
}
