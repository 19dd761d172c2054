// Package device knows the computers: how they are admitted, how they prove who they are, whether
// they may be given work, and when they were last seen.
//
// The server keeps only SHA-256 of secrets. A device enrolls with a token and its own nonce, and the
// same nonce always gets the same device, so an enrollment that was cut off is simply repeated. What
// a method has returned without error is committed; last-seen times are the exception, they are kept
// in memory for a few seconds and the newest ones are lost in a crash. agentapi calls it for agents,
// the admin API for people.
package device

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
)

// Device is one computer with an agent.
type Device struct {
	ID               string
	State            string // protocol.Device…
	Hostname         string
	OS               string
	OSName           string
	OSVersion        string
	Arch             string
	AgentVersion     string
	TrustVersion     int
	QuarantineReason string
	EnrolledAt       time.Time
	LastSeenAt       *time.Time
	OpenTasks        int                  // that are not deployments
	Log              *protocol.LogSetting // as it holds now; nil when the device is to forward no log lines
	LogSetBy         string
	LogOwn           string         // level set on the device itself for good; empty: its groups say
	Facts            protocol.Facts // not filled by Authenticate
	Footprint        *Footprint     // filled by Get; nil when the agent has told none

	machineID     string
	instanceID    string
	pastInstances []string
}

// Live is what the package needs of the live connections.
type Live interface {
	Connected(deviceID string) bool
	ConnectedIDs() []string
	Disconnect(deviceID string)
	Wake(deviceID string)
	Notify(hub.Event)
}

// Options configure a Service.
type Options struct {
	DB         *store.DB     // required
	Live       Live          // required
	Log        *slog.Logger  // required
	Groups     Groups        // nil: enrollment tokens name none
	FlushEvery time.Duration // of last-seen times; 5 s when zero
}

// Service is the feature. Make it with New and keep Run running.
type Service struct {
	store *deviceStore
	live  Live
	log   *slog.Logger
	flush time.Duration

	instances *store.Group[instanceNote]

	mu           sync.Mutex
	seen         map[string]sighting
	watchers     []func(context.Context, Change)
	factWatchers []func(context.Context, string, protocol.Facts) error
	observers    []func(ids ...string)
}

// Change tells that a device entered another state.
type Change struct {
	DeviceID string
	State    string
}

// New makes the service.
func New(opt Options) *Service {
	if opt.FlushEvery <= 0 {
		opt.FlushEvery = 5 * time.Second
	}
	rows := &deviceStore{db: opt.DB, groups: opt.Groups}
	return &Service{
		store: rows, live: opt.Live, log: opt.Log, flush: opt.FlushEvery, seen: map[string]sighting{},
		instances: store.NewGroup(chunk, rows.setInstances),
	}
}

// Subscribe adds fn to those who are told, after the commit, that a device entered another state. It
// is for wiring, before the service is used.
func (s *Service) Subscribe(fn func(context.Context, Change)) {
	s.watchers = append(s.watchers, fn)
}

// SubscribeFacts adds fn to those who are told, after the commit, of what a device now says about itself. An
// error makes the device say it again. It is for wiring, before the service is used.
func (s *Service) SubscribeFacts(fn func(ctx context.Context, deviceID string, f protocol.Facts) error) {
	s.factWatchers = append(s.factWatchers, fn)
}

// Observe adds fn to those who are told, after the commit, that what the server knows of devices changed, other
// than when they were last seen: state, facts, versions. fn only takes note. It is for wiring, as Subscribe.
func (s *Service) Observe(fn func(ids ...string)) { s.observers = append(s.observers, fn) }

func (s *Service) observed(ids ...string) {
	if len(ids) == 0 {
		return
	}
	for _, fn := range s.observers {
		fn(ids...)
	}
}

// changed spreads what is committed, also when the request that did it ends early.
func (s *Service) changed(ctx context.Context, id, state string) {
	ctx = context.WithoutCancel(ctx)
	for _, fn := range s.watchers {
		fn(ctx, Change{DeviceID: id, State: state})
	}
	s.observed(id)
	s.live.Notify(hub.Event{Type: "device", ID: id, DeviceID: id})
}

// Get returns a device, whatever its state.
//
//fuzz:none the server wrote the row itself, after CleanFacts
func (s *Service) Get(ctx context.Context, id string) (Device, error) {
	row, err := s.store.get(ctx, id)
	if err != nil {
		return Device{}, err
	}
	d := row.device()
	if err := json.Unmarshal([]byte(row.Facts), &d.Facts); err != nil {
		return Device{}, fmt.Errorf("read facts of device %s: %w", id, err)
	}
	if d.Footprint, err = s.store.footprint(ctx, id); err != nil {
		return Device{}, err
	}
	s.overlay(&d)
	return d, nil
}

// Approve lets a device that waits for approval, or is quarantined, do work. After a quarantine it
// belongs to the machine, or to the retired secret, that led to it; its other copy is quarantined again.
func (s *Service) Approve(ctx context.Context, id string) (Device, error) {
	changed, err := s.store.approve(ctx, id)
	if err != nil {
		return Device{}, err
	}
	if changed {
		s.log.Info("device approved", "device", id)
		s.changed(ctx, id, protocol.DeviceActive)
		s.live.Wake(id)
	}
	return s.Get(ctx, id)
}

// Revoke ends the device's right to talk to this server, for good, and cuts its connection.
func (s *Service) Revoke(ctx context.Context, id string) (Device, error) {
	changed, err := s.store.revoke(ctx, id)
	if err != nil {
		return Device{}, err
	}
	s.live.Disconnect(id) // also when nothing changed: a cut that was lost is repeated
	if changed {
		s.log.Info("device revoked", "device", id)
		s.changed(ctx, id, protocol.DeviceRevoked)
	}
	return s.Get(ctx, id)
}

// Removed tells everybody that a device's agent has left; whoever took its last report has committed it.
func (s *Service) Removed(ctx context.Context, id string) { s.changed(ctx, id, protocol.DeviceRemoved) }

// gone reports whether a device in this state will never come again.
func gone(state string) bool { return slices.Contains(goneStates(), state) }

func goneStates() []string { return []string{protocol.DeviceRevoked, protocol.DeviceRemoved} }

// Wakeup tells the device to check in now and reports whether it has a live connection.
func (s *Service) Wakeup(ctx context.Context, id string) (connected bool, err error) {
	row, err := s.store.credentials(ctx, id)
	if err != nil {
		return false, err
	}
	if gone(row.State) {
		return false, fault.New(fault.Conflict, "device %s is %s and does not listen", id, row.State)
	}
	s.live.Wake(id)
	return s.live.Connected(id), nil
}

// UpdateFacts stores what a device says about itself, unless newer facts are stored already.
func (s *Service) UpdateFacts(ctx context.Context, id string, facts protocol.Facts) error {
	f := cleanFacts(facts, store.Now())
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode facts: %w", err)
	}
	changed, err := s.store.updateFacts(ctx, id, f, string(text))
	if err != nil {
		return err
	}
	if !changed {
		return nil
	}
	s.observed(id)
	for _, fn := range s.factWatchers {
		if err := fn(ctx, id, f); err != nil {
			return err
		}
	}
	s.live.Notify(hub.Event{Type: "device", ID: id, DeviceID: id})
	return nil
}

// Target is what a deployment needs to know of a device.
type Target struct {
	ID       string
	Hostname string
	State    string
}

// Targets finds the named devices; an unknown id is NotFound. With all, it lists every device that may
// be given work: those that are revoked or wait for approval are left out.
func (s *Service) Targets(ctx context.Context, ids []string, all bool) ([]Target, error) {
	if all {
		return s.store.allTargets(ctx)
	}
	found, err := s.store.targets(ctx, ids)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, t := range found {
		known[t.ID] = true
	}
	for _, id := range ids {
		if !known[id] {
			return nil, fault.New(fault.NotFound, "there is no device %q", id)
		}
	}
	return found, nil
}
