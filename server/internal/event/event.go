// Package event keeps what happened to devices, for people: software and hardware that came and went,
// file systems that ran full, devices that fell silent. Nothing in the server acts on an event.
//
// An event is written in the transaction of the change that it tells of, so after a crash both are there
// or neither. A condition, such as a full disk, makes one event when it begins and one when it ends: that
// it lasts is remembered in the database. inventory reports changes, cli connects what devices do, and
// the admin API reads.
package event

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
)

// Kinds of event. They are part of the API: added, never renamed.
const (
	FirstInventory    = "first_inventory"
	SoftwareAdded     = "software_added"
	SoftwareRemoved   = "software_removed"
	SoftwareUpdated   = "software_updated"
	HardwareAdded     = "hardware_added"
	HardwareRemoved   = "hardware_removed"
	HardwareChanged   = "hardware_changed"
	SystemChanged     = "system_changed"
	AgentUpdated      = "agent_updated"
	AgentUpdateFailed = "agent_update_failed"
	DiskLow           = "disk_low"
	DiskRecovered     = "disk_recovered"
	DeviceSilent      = "device_silent"
	DeviceBack        = "device_back"
	DeviceApproved    = "device_approved"
	DeviceQuarantined = "device_quarantined"
	DeviceRevoked     = "device_revoked"
	DeviceRemoved     = "device_removed"
)

// Event is one thing that happened.
type Event struct {
	ID       string // UUIDv7
	Time     time.Time
	DeviceID string
	Hostname string // at that time
	Kind     string
	Section  string // of the inventory; empty for what is not in it
	Subject  string // the program, the part, the file system; may be empty
	Former   string
	Present  string
	Message  string // a sentence for people
}

// Options are what New needs.
type Options struct {
	DB     *store.DB       // required
	Log    *slog.Logger    // required
	Notify func(hub.Event) // required
	// SilentAfter is how long a device may say nothing before that is an event; 24 h when zero.
	SilentAfter time.Duration
	// Keep is how long events are kept; 180 days when zero.
	Keep time.Duration
}

// Service is the feature. Make it with New and keep Run running.
type Service struct {
	store  *eventStore
	silent time.Duration
	keep   time.Duration
	log    *slog.Logger
	notify func(hub.Event)
}

// New makes the service.
func New(o Options) *Service {
	if o.SilentAfter <= 0 {
		o.SilentAfter = 24 * time.Hour
	}
	if o.Keep <= 0 {
		o.Keep = 180 * 24 * time.Hour
	}
	return &Service{store: &eventStore{o.DB}, silent: o.SilentAfter, keep: o.Keep, log: o.Log, notify: o.Notify}
}

// Spread tells browsers of events that are committed.
func (s *Service) Spread(events []Event) {
	for _, e := range events {
		s.notify(hub.Event{Type: "event", ID: e.ID, DeviceID: e.DeviceID})
	}
}

// DeviceChanged tells that a device entered another state. The change is committed already: should the
// server die right now, this event is missing and nothing else.
func (s *Service) DeviceChanged(ctx context.Context, c device.Change) {
	e := Event{DeviceID: c.DeviceID}
	switch c.State {
	case protocol.DeviceActive:
		e.Kind, e.Message = DeviceApproved, "The device was approved."
	case protocol.DeviceQuarantined:
		e.Kind, e.Message = DeviceQuarantined, "The device was quarantined: it may only send inventories until an admin decides."
	case protocol.DeviceRevoked:
		e.Kind, e.Message = DeviceRevoked, "The device was revoked."
	case protocol.DeviceRemoved:
		e.Kind, e.Message = DeviceRemoved, "The device was removed: its agent has left."
	default:
		return
	}
	made, err := s.store.addNamed(ctx, e)
	if err != nil {
		s.log.Warn("keep event", "device", c.DeviceID, "kind", e.Kind, "err", err)
		return
	}
	s.Spread(made)
}

// checkEvery is how often silent devices and old events are looked for.
const checkEvery = 5 * time.Minute

// grace is how long a server that was down itself waits for devices before it calls them silent.
const grace = time.Hour

// Run finds silent devices and removes what is older than it is kept, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	started := store.Now()
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		now := store.Now()
		if now.Sub(started) >= min(grace, s.silent) {
			if err := s.Watch(ctx, now); err != nil && ctx.Err() == nil {
				s.log.Warn("look for silent devices", "err", err)
			}
		}
		if err := s.Clean(ctx, now); err != nil && ctx.Err() == nil {
			s.log.Warn("remove old events", "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Watch makes the events of devices that have been silent for too long, and of those that are back.
func (s *Service) Watch(ctx context.Context, now time.Time) error {
	back, err := s.store.back(ctx)
	s.Spread(back)
	if err != nil {
		return err
	}
	for {
		silent, more, err := s.store.silent(ctx, now, s.silent)
		s.Spread(silent)
		if err != nil || !more {
			return err
		}
	}
}

// Clean removes the events that are older than they are kept.
func (s *Service) Clean(ctx context.Context, now time.Time) error {
	return s.store.deleteBefore(ctx, now.Add(-s.keep))
}

// Filter narrows List; empty fields do not. Before is the id of the last event seen.
type Filter struct {
	Query    string
	DeviceID string
	Kinds    []string
	Since    time.Time
	Until    time.Time
	Before   string
	Limit    int
}

// List returns events, the newest first.
func (s *Service) List(ctx context.Context, f Filter) ([]Event, error) { return s.store.list(ctx, f) }

// complete gives an event its id and bounds its texts.
func complete(e Event, now time.Time) (Event, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return e, fmt.Errorf("make event id: %w", err)
	}
	if e.DeviceID == "" || e.Kind == "" {
		return e, fault.New(fault.Internal, "an event without device or kind")
	}
	e.ID, e.Time = id.String(), now
	e.Subject, e.Hostname = cut(e.Subject, 255), cut(e.Hostname, 255)
	e.Former, e.Present, e.Message = cut(e.Former, 500), cut(e.Present, 500), cut(e.Message, 1000)
	return e, nil
}

// cut keeps the first n characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}
