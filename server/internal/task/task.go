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
}

// Service is the feature. Make it with New and run Run once.
type Service struct {
	store    *taskStore
	devices  Devices
	live     Live
	software Software
	log      *slog.Logger
	group    *store.Group[*batch]
}

// New makes the service.
func New(opt Options) *Service {
	s := &Service{
		store: &taskStore{db: opt.DB}, devices: opt.Devices, live: opt.Live, software: opt.Software, log: opt.Log,
	}
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
