// Package devicelog keeps the log lines that agents forward, and says from which level on each is to.
//
// A device's report of lines is acknowledged after the commit that holds them, and its lines are kept once
// however often it comes, for as long as any of them is kept. Lines are ordered by the device's clock where that
// can be true, and never behind lines that the same device forwarded before. Of each device so many lines are
// kept, for so many days, and so many are taken in an hour; what is not kept is counted, and a line in its place
// says how many are missing. After a crash the counts are those of the lines.
//
// The setting of a device stands in its row, which every check-in reads, beside the level that its groups want.
// package ingest calls Ingest, the admin API the rest; Run removes what is old.
package devicelog

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
)

// Devices is what the package needs of the devices.
type Devices interface {
	Get(ctx context.Context, id string) (device.Device, error)
}

// Live is what the package needs of the live connections.
type Live interface {
	WakeMany(deviceIDs []string)
	Notify(hub.Event)
}

// Options configure a Service.
type Options struct {
	DB         *store.DB             // required
	Devices    Devices               // required
	Live       Live                  // required
	Log        *slog.Logger          // required
	Registerer prometheus.Registerer // nil: no metrics
	Keep       time.Duration         // of lines; 30 days when zero
	MaxLines   int                   // kept of one device; 20,000 when zero
	MaxHourly  int                   // taken of one device in an hour; 60,000 when zero
	Window     int                   // rows that one search looks at; 20,000 when zero
	Now        func() time.Time      // store.Now when nil
}

// Service is the feature. Make it with New and keep Run running.
type Service struct {
	store   *lineStore
	devices Devices
	live    Live
	log     *slog.Logger
	metrics *metrics
	group   *store.Group[*batch]
	bounds  bounds
	window  int
	now     func() time.Time
}

// bounds of what is kept of one device.
type bounds struct {
	keep   time.Duration
	lines  int64
	hourly int64
}

// New makes the service.
func New(opt Options) *Service {
	or := func(n, standard int) int {
		if n > 0 {
			return n
		}
		return standard
	}
	if opt.Keep <= 0 {
		opt.Keep = 30 * 24 * time.Hour
	}
	if opt.Now == nil {
		opt.Now = store.Now
	}
	s := &Service{
		store: &lineStore{opt.DB}, devices: opt.Devices, live: opt.Live, log: opt.Log, metrics: newMetrics(opt.Registerer, opt.Log),
		bounds: bounds{keep: opt.Keep, lines: int64(or(opt.MaxLines, 20_000)), hourly: int64(or(opt.MaxHourly, 60_000))},
		window: or(opt.Window, 20_000), now: opt.Now,
	}
	s.group = store.NewGroup(commitBatches, s.commit)
	return s
}

// Times between two looks at what is to be removed.
const (
	cleanEvery = time.Minute   // of devices with too many lines
	oldEvery   = 3 * time.Hour // of lines that are too old: each look costs a transaction per device
)

// Run removes lines that are too many or too old, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	ticker := time.NewTicker(cleanEvery)
	defer ticker.Stop()
	var looked time.Time
	for {
		now := s.now()
		old := now.Sub(looked) >= oldEvery
		if err := s.clean(ctx, now, old); err == nil {
			if old {
				looked = now
			}
		} else if ctx.Err() == nil {
			s.log.Warn("remove log lines of devices", "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Clean removes lines that are too many or, at this time, too old.
func (s *Service) Clean(ctx context.Context, now time.Time) error { return s.clean(ctx, now, true) }

func (s *Service) clean(ctx context.Context, now time.Time, old bool) error {
	cutoff := int64(0)
	if old {
		cutoff = keyAt(now.Add(-s.bounds.keep))
	}
	return s.store.clean(ctx, cutoff, s.bounds.lines)
}
