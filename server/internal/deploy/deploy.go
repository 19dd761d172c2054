// Package deploy carries packages to devices: assignments, one deployment per device, its attempts and
// its timeline.
//
// Every change of state is one transaction together with its timeline row, so after a crash a
// deployment and its history agree. A device's report is acknowledged only after the commit that holds
// it, and counts once however often it is sent. What is decided is in pure functions: transition.go
// says what a report does, gate.go who waits for a priority-0 package, retry.go when another attempt
// follows. agentapi calls Offer and Ingest for agents, the admin API the rest for people; catalog and
// device tell about retired, signed packages and approved, revoked devices through PackageChanged and
// DeviceChanged.
package deploy

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
)

// States of a package, as the catalog names them.
const (
	PackageActive  = "active"
	PackageRetired = "retired"
)

// Package is what deployments need to know of a package.
type Package struct {
	ID                string
	Name              string
	Version           string
	Priority          int
	State             string // draft, active, retired
	InstructionDigest string // SHA-256 of the signed envelope, hex
	RetryAttempts     int    // attempts in all; 0 when the package names none
	RetryDelay        time.Duration
	RerunSafe         bool
}

// Devices is what the package needs of the devices.
type Devices interface {
	Targets(ctx context.Context, ids []string, all bool) ([]device.Target, error)
}

// Live is what the package needs of the live connections.
type Live interface {
	Wake(deviceID string)
	WakeMany(deviceIDs []string)
	Notify(hub.Event)
}

// Options configure a Service.
type Options struct {
	DB         *store.DB                                             // required
	Package    func(ctx context.Context, id string) (Package, error) // required; fault NotFound when there is none
	Devices    Devices                                               // required
	Live       Live                                                  // required
	Log        *slog.Logger                                          // required
	Registerer prometheus.Registerer                                 // nil: no metrics
}

// Service is the feature. Make it with New and keep Run running: it commits reports and wakes devices.
type Service struct {
	store    *deployStore
	pkg      func(ctx context.Context, id string) (Package, error)
	devices  Devices
	live     Live
	log      *slog.Logger
	metrics  *metrics
	progress *progressBoard

	queue   chan *batch
	stopped chan struct{}
	due     chan struct{} // a not_before has been set
}

// New makes the service.
func New(opt Options) *Service {
	return &Service{
		store: &deployStore{db: opt.DB, random: rand.Float64}, pkg: opt.Package, devices: opt.Devices,
		live: opt.Live, log: opt.Log, metrics: newMetrics(opt.Registerer, opt.Log), progress: newProgressBoard(),
		queue: make(chan *batch, queueLength), stopped: make(chan struct{}), due: make(chan struct{}, 1),
	}
}

// Run brings open deployments in line with their packages, then commits reports and wakes devices
// until ctx ends. It is called once.
func (s *Service) Run(ctx context.Context) {
	defer close(s.stopped)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.reconcile(ctx)
		s.wakeDue(ctx)
	}()
	s.commitLoop(ctx)
	<-done
}

// tell spreads what a committed change means: browsers refetch, devices check in.
func (s *Service) tell(e effects) {
	for _, c := range e.changed {
		s.live.Notify(hub.Event{Type: "deployment", ID: c.id, DeviceID: c.deviceID, PackageID: c.packageID})
	}
	if len(e.wake) > 0 {
		s.live.WakeMany(e.wakeIDs())
	}
	if e.delayed {
		select {
		case s.due <- struct{}{}:
		default:
		}
	}
}
