// Package task keeps the tasks of devices that are not deployments: an inventory now, programs to
// uninstall, modules from outside to run, another release of the agent, and the agent's own removal.
//
// Every change of state is one transaction together with its timeline row. A device's report is
// acknowledged only after the commit that holds it, and counts once however often it is sent; states never
// move backwards. The last report of a removed agent ends its device in the same commit. agentapi calls
// Offer and, through package ingest, Ingest for agents, the admin API the rest for people; device tells
// about revoked devices through DeviceChanged, and what a crash left undone of that Run makes good.
package task

import (
	"context"
	"log/slog"
	"time"

	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
)

// Software is what the package needs of the lists of installed software.
type Software interface {
	// Reported returns those of the keys that the device has not reported in its newest list.
	Reported(ctx context.Context, deviceID string, keys []string) (missing []string, err error)
}

// Devices is what the package needs of the devices.
type Devices interface {
	// Removed tells whoever wants to know that a device is removed; it is committed.
	Removed(ctx context.Context, id string)
	// Flush writes what is known in memory only: which agents checked in a moment ago.
	Flush(ctx context.Context) error
}

// Live is what the package needs of the live connections.
type Live interface {
	WakeMany(deviceIDs []string)
	Notify(hub.Event)
}

// Options configure a Service.
type Options struct {
	DB       *store.DB // required
	Devices  Devices   // required
	Live     Live      // required
	Software Software  // required
	Log      *slog.Logger

	KeepFinished time.Duration // of tasks that are over; 180 days when zero
	KeepOfGone   time.Duration // of tasks of devices that are removed or revoked; 90 days when zero
}

// Service is the feature. Make it with New and run Run once.
type Service struct {
	store    *taskStore
	devices  Devices
	live     Live
	software Software
	log      *slog.Logger
	group    *store.Group[*batch]

	keepFinished, keepOfGone time.Duration
}

// New makes the service.
func New(opt Options) *Service {
	if opt.KeepFinished <= 0 {
		opt.KeepFinished = 180 * 24 * time.Hour
	}
	if opt.KeepOfGone <= 0 {
		opt.KeepOfGone = 90 * 24 * time.Hour
	}
	s := &Service{
		store: &taskStore{db: opt.DB}, devices: opt.Devices, live: opt.Live, software: opt.Software, log: opt.Log,
	}
	s.keepFinished, s.keepOfGone = opt.KeepFinished, opt.KeepOfGone
	s.group = store.NewGroup(commitBatches, s.commit)
	return s
}

// Run ends the tasks of devices that were revoked right before a crash. It is called once.
func (s *Service) Run(ctx context.Context) {
	ids, err := s.store.ofGoneDevices(ctx)
	if err != nil {
		s.log.Warn("bring tasks in line with their devices", "err", err)
		return
	}
	for _, id := range ids {
		s.endAll(ctx, id)
	}
}

// cleanEvery is how often old tasks are looked for.
const cleanEvery = 6 * time.Hour

// RunCleanup removes tasks that are older than they are kept, with their timelines, until ctx ends.
func (s *Service) RunCleanup(ctx context.Context) {
	ticker := time.NewTicker(cleanEvery)
	defer ticker.Stop()
	for {
		if err := s.Clean(ctx, store.Now()); err != nil && ctx.Err() == nil {
			s.log.Warn("remove old tasks", "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Clean does once what RunCleanup does.
func (s *Service) Clean(ctx context.Context, now time.Time) error {
	if err := s.store.deleteOfGone(ctx, now.Add(-s.keepOfGone)); err != nil {
		return err
	}
	return s.store.deleteFinished(ctx, now.Add(-s.keepFinished))
}

// tell spreads what a committed change means: browsers refetch, devices check in.
func (s *Service) tell(ctx context.Context, e effects) {
	for _, happened := range e.events {
		s.live.Notify(hub.Event{Type: "event", ID: happened.ID, DeviceID: happened.DeviceID})
	}
	for _, c := range e.changed {
		s.live.Notify(hub.Event{Type: "task", ID: c.id, DeviceID: c.deviceID})
	}
	for _, id := range e.removed {
		s.log.Info("device removed", "device", id)
		s.devices.Removed(context.WithoutCancel(ctx), id)
	}
	if len(e.wake) > 0 {
		s.live.WakeMany(e.wake)
	}
}
