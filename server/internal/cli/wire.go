package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/server/internal/about"
	"github.com/muster/muster/server/internal/audit"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/bus"
	"github.com/muster/muster/server/internal/catalog"
	"github.com/muster/muster/server/internal/deploy"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/devicelog"
	"github.com/muster/muster/server/internal/event"
	"github.com/muster/muster/server/internal/group"
	"github.com/muster/muster/server/internal/httpapi"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/ingest"
	"github.com/muster/muster/server/internal/inventory"
	"github.com/muster/muster/server/internal/release"
	"github.com/muster/muster/server/internal/software"
	"github.com/muster/muster/server/internal/task"
	"github.com/muster/muster/server/internal/trust"
	"github.com/muster/muster/server/internal/user"
	"github.com/muster/muster/web"
)

// lockFile marks the data directory as in use.
const lockFile = "lock"

// parts are the features of a server.
type parts struct {
	bus   *bus.Memory
	hub   *hub.Hub
	users *user.Service
	audit *audit.Service
	trust *trust.Service
	blobs *blob.Service

	catalog *catalog.Service
	devices *device.Service
	groups  *group.Service
	deploy  *deploy.Service
	tasks   *task.Service
	release *release.Service
	reports *ingest.Service

	events    *event.Service
	software  *software.Service
	inventory *inventory.Service
	logs      *devicelog.Service
}

// wire makes every feature with what it needs, and the HTTP side over them.
func (s *Server) wire(ctx context.Context) (*httpapi.Server, error) {
	p := &s.parts
	if err := s.observe(); err != nil {
		return nil, err
	}
	p.bus = bus.NewMemory()
	p.hub = hub.New(hub.Options{Bus: p.bus, Log: s.log, Registerer: s.reg})
	p.users = user.New(user.Options{DB: s.DB, Log: s.log})
	p.audit = audit.New(audit.Options{DB: s.DB, Log: s.log})
	p.trust = trust.New(trust.Options{DB: s.DB, Log: s.log, Keys: filepath.Join(s.cfg.Data, "keys")})
	if err := p.trust.Start(ctx); err != nil {
		return nil, err
	}
	dir, err := blob.OpenDir(filepath.Join(s.cfg.Data, "blobs"))
	if err != nil {
		return nil, err
	}
	p.blobs = blob.New(blob.Options{DB: s.DB, Store: dir, Log: s.log, Actor: actorName, Notify: func(id string) {
		p.hub.Notify(hub.Event{Type: "upload", ID: id})
	}})

	p.catalog = catalog.New(catalog.Options{DB: s.DB, Blobs: p.blobs, Trust: p.trust, Log: s.log, Actor: actorName, Notify: func(id string) {
		p.hub.Notify(hub.Event{Type: "package", ID: id, PackageID: id})
	}})
	p.devices = device.New(device.Options{DB: s.DB, Live: p.hub, Groups: group.Tokens{}, Log: s.log})
	p.groups = group.New(group.Options{DB: s.DB, Live: p.hub, Log: s.log, Apply: p.applyGroups()})
	p.deploy = deploy.New(deploy.Options{DB: s.DB, Package: p.deployable, Devices: p.devices, Live: p.hub, Log: s.log, Registerer: s.reg})
	silentAfter, keep := s.cfg.Events.Times()
	p.events = event.New(event.Options{DB: s.DB, SilentAfter: silentAfter, Keep: keep, Log: s.log, Notify: p.hub.Notify})
	keepOfGone, keepFinished := s.cfg.Retention.Times()
	p.software = software.New(software.Options{DB: s.DB, Log: s.log, KeepOfGone: keepOfGone})
	p.inventory = inventory.New(inventory.Options{
		DB: s.DB, Software: p.software, Notify: p.inventoried, Spread: p.events.Spread,
		DiskLowPercent: s.cfg.Events.DiskLowPercent, KeepOfGone: keepOfGone, Log: s.log,
	})
	p.tasks = task.New(task.Options{
		DB: s.DB, Devices: p.devices, Live: p.hub, Software: p.software, Log: s.log, KeepFinished: keepFinished, KeepOfGone: keepOfGone,
	})
	p.logs = devicelog.New(devicelog.Options{
		DB: s.DB, Devices: p.devices, Live: p.hub, Log: s.log, Registerer: s.reg, Keep: s.cfg.Logs.Time(), MaxLines: s.cfg.Logs.LinesPerDevice,
	})
	p.release = release.New(release.Options{DB: s.DB, Blobs: p.blobs, Trust: p.trust, Tasks: p.tasks, Log: s.log, Actor: actorName, Notify: func(id string) {
		p.hub.Notify(hub.Event{Type: "release", ID: id})
	}})
	p.reports = ingest.New(ingest.Options{Deployments: p.deploy, Tasks: p.tasks, Logs: p.logs, Devices: p.devices, Log: s.log, Registerer: s.reg})
	p.connect()

	return httpapi.New(httpapi.Options{
		Log: s.log, Version: buildinfo.Version, Users: p.users, Audit: p.audit, Ready: s.DB.Ping,
		Registerer: s.reg, Proxies: s.cfg.Proxies(), UI: web.Dist(), Features: s.features(),
		Agent: p.agentAPI(s.log, s.reg).Register, Events: p.hub.AcceptBrowser,
	}), nil
}

// features are the admin API's parts, in the order of the document.
func (s *Server) features() []httpapi.Feature {
	return []httpapi.Feature{
		&user.API{Service: s.parts.users},
		&about.API{Describe: s.describe},
		&trust.API{Service: s.parts.trust, Devices: s.parts.followers},
		&blob.API{Service: s.parts.blobs},
		&catalog.API{Service: s.parts.catalog},
		device.NewAPI(device.APIOptions{
			Service: s.parts.devices, OpenDeployments: s.parts.deploy.OpenCounts, Enrollment: s.enrollment,
			Groups: s.parts.groups.Of, TokenGroups: s.parts.groups.TokenGroups,
		}),
		&group.API{Service: s.parts.groups},
		deploy.NewAPI(s.parts.deploy),
		task.NewAPI(s.parts.tasks),
		&release.API{Service: s.parts.release},
		&inventory.API{Service: s.parts.inventory},
		&software.API{Service: s.parts.software},
		&event.API{Service: s.parts.events},
		&devicelog.API{Service: s.parts.logs},
		&audit.API{Service: s.parts.audit},
	}
}

func (s *Server) describe(context.Context) (about.Server, error) {
	return about.Server{
		Name: s.cfg.Name, Version: buildinfo.Version, URLs: s.cfg.URLs(s.public.Addr()),
		CAFingerprint: s.CA.Fingerprint(), RootFingerprint: s.parts.trust.RootFingerprint(),
		ServerCanSign: s.parts.trust.CanSign(), StartedAt: s.started,
	}, nil
}

// background runs what works by itself until the server stops.
func (s *Server) background(ctx context.Context) {
	p := &s.parts
	for _, run := range []func(context.Context){
		s.CA.Run, p.users.RunCleanup, p.audit.RunCleanup, p.blobs.Run, p.devices.Run, p.groups.Run, p.deploy.Run, p.tasks.Run, p.release.Run,
		p.tasks.RunCleanup, p.events.Run, p.inventory.Run, p.software.Run, p.logs.Run, giveBackMemory,
	} {
		s.running.Go(func() { run(ctx) })
	}
}

// actorName is who asks for something, for rows that name their maker.
func actorName(ctx context.Context) string { return user.FromContext(ctx).Name }

// observe registers figures about the process and its database.
func (s *Server) observe() error {
	pool, err := s.DB.DB.DB()
	if err != nil {
		return fmt.Errorf("observe database: %w", err)
	}
	s.reg.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewDBStatsCollector(pool, s.DB.Dialect),
	)
	return nil
}

// closeParts ends what features hold open.
func (s *Server) closeParts() error {
	if s.parts.bus == nil {
		return nil
	}
	return s.parts.bus.Close()
}
