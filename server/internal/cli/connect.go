package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/agentapi"
	"github.com/muster/muster/server/internal/catalog"
	"github.com/muster/muster/server/internal/deploy"
	"github.com/muster/muster/server/internal/group"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/trust"
)

// connect lets features hear of each other's changes.
func (p *parts) connect() {
	p.catalog.Subscribe(func(ctx context.Context, e catalog.Event) { p.deploy.PackageChanged(ctx, e.ID) })
	p.devices.Subscribe(p.deploy.DeviceChanged)
	p.devices.Subscribe(p.tasks.DeviceChanged)
	p.devices.Subscribe(p.events.DeviceChanged)
	p.devices.Subscribe(p.software.DeviceChanged)
	p.devices.SubscribeFacts(p.inventory.DeviceFacts)
	p.devices.Subscribe(p.groups.DeviceChanged)
	p.devices.Observe(p.groups.Touched)
	p.release.GroupsFrom(p.groups)
	p.trust.Subscribe(func(context.Context) {
		p.hub.Notify(hub.Event{Type: "trust"})
		p.hub.WakeMany(p.hub.ConnectedIDs()) // a revocation ought not to wait for the next check-in
	})
	p.catalog.CountWith(func(ctx context.Context, ids []string) (map[string]catalog.DeploymentCounts, error) {
		counts, err := p.deploy.Counts(ctx, ids)
		if err != nil {
			return nil, err
		}
		out := make(map[string]catalog.DeploymentCounts, len(counts))
		for id, c := range counts {
			out[id] = catalog.DeploymentCounts(c)
		}
		return out, nil
	})
}

// inventoried hears of a device's inventory.
func (p *parts) inventoried(e hub.Event) {
	p.hub.Notify(e)
	p.groups.Touched(e.DeviceID)
}

// applyGroups is what follows from being in a group.
func (p *parts) applyGroups() group.Apply {
	return group.Apply{
		Wake: func(ids []string) {
			p.hub.WakeMany(ids)
			for _, id := range ids {
				p.hub.Notify(hub.Event{Type: "device", ID: id, DeviceID: id})
			}
		},
		Release: func(ctx context.Context, id string) (string, error) { return p.release.Usable(ctx, id) },
		EnsureUpdate: func(ctx context.Context, id string, deviceIDs []string) error {
			return p.release.EnsureUpdate(ctx, id, deviceIDs)
		},
	}
}

// followers says how far devices have followed the trust documents.
func (p *parts) followers(ctx context.Context, version int) (trust.Devices, error) {
	counts, err := p.devices.TrustVersions(ctx)
	if err != nil {
		return trust.Devices{}, err
	}
	var d trust.Devices
	for confirmed, n := range counts {
		d.Total += n
		switch {
		case confirmed < version:
			d.Behind += n
		case confirmed > version:
			d.Ahead += n
		}
	}
	return d, nil
}

// deployable is a package as deployments see it.
func (p *parts) deployable(ctx context.Context, id string) (deploy.Package, error) {
	c, err := p.catalog.Package(ctx, id)
	if err != nil {
		return deploy.Package{}, err
	}
	out := deploy.Package{
		ID: c.ID, Name: c.Spec.Name, Version: c.Spec.Version, Priority: c.Priority(), State: string(c.State),
		InstructionDigest: c.InstructionDigest, RerunSafe: c.Spec.Rerun == instruction.RerunSafe,
	}
	if r := c.Spec.Retry; r != nil {
		out.RetryAttempts, out.RetryDelay = r.Attempts, time.Duration(r.DelaySeconds)*time.Second
	}
	return out, nil
}

// agentAPI is the agents' side over the features.
func (p *parts) agentAPI(log *slog.Logger, reg prometheus.Registerer) *agentapi.API {
	return agentapi.New(agentapi.Options{
		Devices: p.devices, Deployments: p.deploy, Tasks: p.tasks, Inventories: p.inventory, Reports: p.reports, Live: p.hub, Log: log, Registerer: reg,
		Trust: func(_ context.Context, after int) ([]json.RawMessage, error) { return p.trust.ChainSince(after), nil },
		Instruction: func(ctx context.Context, sha256 string) ([]byte, error) {
			f, err := p.open(ctx, sha256)
			if err != nil {
				return nil, err
			}
			data, err := io.ReadAll(io.LimitReader(f, instruction.MaxEnvelope+1))
			if err = errors.Join(err, f.Close()); err != nil {
				return nil, fmt.Errorf("read instruction: %w", err)
			}
			if len(data) > instruction.MaxEnvelope {
				return nil, fault.New(fault.NotFound, "there is no instruction %s", sha256)
			}
			return data, nil
		},
		Release: p.release.Signed,
		Fragment: func(ctx context.Context, sha256 string) (agentapi.Fragment, error) {
			shared, err := p.catalog.FragmentShared(ctx, sha256)
			if err == nil && !shared {
				shared, err = p.release.FragmentShared(ctx, sha256)
			}
			if err != nil {
				return agentapi.Fragment{}, err
			}
			f, err := p.open(ctx, sha256)
			if err != nil {
				return agentapi.Fragment{}, err
			}
			return agentapi.Fragment{Content: f, Private: !shared}, nil
		},
	})
}

func (p *parts) open(ctx context.Context, sha256 string) (io.ReadSeekCloser, error) {
	f, _, err := p.blobs.Store().Open(ctx, sha256)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "there is nothing of the digest %s", sha256)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// enrollment is the string with which agents join this server.
func (s *Server) enrollment(_ context.Context, token string) (string, error) {
	return protocol.Enrollment{
		URLs: s.cfg.URLs(s.public.Addr()), Token: token, CA: s.CA.Fingerprint(), Root: s.parts.trust.RootFingerprint(),
	}.String(), nil
}
