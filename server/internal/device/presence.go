package device

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/text"
)

// pastKept is how many earlier instances of a device's agent are remembered.
const pastKept = 8

// sighting is a last-seen time that is not in the database yet.
type sighting struct {
	at    time.Time
	trust int
	agent string
	// changed says that more than the time differs from the row.
	changed   bool
	footprint *Footprint // nil when none was told
}

// Footprint is what the agent has cost its computer, as of the check-in that told it.
type Footprint struct {
	ReportedAt time.Time `json:"reported_at"`
	protocol.Footprint
}

// cleanFootprint bounds what a device claims.
func cleanFootprint(f *protocol.Footprint, now time.Time) *Footprint {
	if f == nil {
		return nil
	}
	return &Footprint{ReportedAt: now, Footprint: protocol.Footprint{
		Since: cleanTime(f.Since, now), CPUMS: max(0, f.CPUMS), RSSBytes: max(0, f.RSSBytes), RSSHighBytes: max(0, f.RSSHighBytes),
		TaskHighBytes: max(0, f.TaskHighBytes), SentBytes: max(0, f.SentBytes), ReceivedBytes: max(0, f.ReceivedBytes),
	}}
}

// CheckIn takes note of a check-in and returns the device as it stands afterwards. The usual one
// writes nothing: the time and the agent's footprint go to memory. A restarted agent, new facts or an identity seen twice
// are written at once.
func (s *Service) CheckIn(ctx context.Context, d Device, req protocol.CheckInRequest) (Device, error) {
	now := store.Now()
	agent := text.Clean(req.AgentVersion, 64)
	seen := sighting{
		at: now, trust: max(0, req.TrustVersion), agent: agent,
		changed:   req.TrustVersion != d.TrustVersion || agent != d.AgentVersion,
		footprint: cleanFootprint(req.Footprint, now),
	}
	s.mu.Lock()
	if seen.footprint == nil {
		seen.footprint = s.seen[d.ID].footprint
	}
	s.seen[d.ID] = seen
	s.mu.Unlock()
	if req.Facts != nil {
		f := *req.Facts
		f.ChangedAt = now // they were read just now, whatever the device's clock says
		if err := s.UpdateFacts(ctx, d.ID, f); err != nil {
			return d, err
		}
	}
	return s.identify(ctx, d, text.Clean(req.InstanceID, 64), text.Clean(req.MachineID, 128))
}

// identify compares who checks in with who did before. A new instance id is a restart; an instance
// that was already replaced by another is a second living copy.
func (s *Service) identify(ctx context.Context, d Device, instance, machine string) (Device, error) {
	if d.State != protocol.DeviceActive && d.State != protocol.DevicePending {
		return d, nil
	}
	switch {
	case machine != "" && d.machineID != "" && machine != d.machineID:
		return s.quarantine(ctx, d, evidence{machine: machine}, fmt.Sprintf("enrolled on machine %s, now used on machine %s", d.machineID, machine))
	case instance != "" && slices.Contains(d.pastInstances, instance):
		return s.quarantine(ctx, d, evidence{machine: machine}, "two running agents use this identity at the same time")
	case instance != "" && instance != d.instanceID:
		past := d.pastInstances
		if d.instanceID != "" {
			past = append([]string{d.instanceID}, past...)
		}
		past = past[:min(len(past), pastKept)]
		if err := s.instances.Do(ctx, instanceNote{d.ID, instance, past}); err != nil {
			return d, err
		}
		d.instanceID, d.pastInstances = instance, past
	}
	if machine != "" && d.machineID == "" {
		if err := s.store.setMachine(ctx, d.ID, machine); err != nil {
			return d, err
		}
		d.machineID = machine
	}
	return d, nil
}

func (s *Service) quarantine(ctx context.Context, d Device, seen evidence, reason string) (Device, error) {
	changed, err := s.store.quarantine(ctx, d.ID, seen, reason)
	if err != nil {
		return d, err
	}
	d.State, d.QuarantineReason = protocol.DeviceQuarantined, reason
	if changed {
		s.log.Warn("device quarantined", "device", d.ID, "reason", reason)
		s.changed(ctx, d.ID, d.State)
	}
	return d, nil
}

// overlay puts what memory knows over what the database says.
func (s *Service) overlay(d *Device) {
	s.mu.Lock()
	seen, ok := s.seen[d.ID]
	s.mu.Unlock()
	if !ok || (d.LastSeenAt != nil && d.LastSeenAt.After(seen.at)) {
		return
	}
	d.LastSeenAt, d.TrustVersion = &seen.at, seen.trust
	if seen.agent != "" {
		d.AgentVersion = seen.agent
	}
	if seen.footprint != nil {
		d.Footprint = seen.footprint
	}
}

// Run writes last-seen times and footprints every few seconds until ctx ends, and once more then.
func (s *Service) Run(ctx context.Context) {
	ticker := time.NewTicker(s.flush)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.Flush(ctx); err != nil {
				s.log.Warn("write last-seen times", "err", err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			if err := s.Flush(last); err != nil {
				s.log.Warn("write last-seen times", "err", err)
			}
			return
		}
	}
}

// Flush writes the last-seen times and footprints gathered in memory. What could not be written is kept.
func (s *Service) Flush(ctx context.Context) error {
	s.mu.Lock()
	batch := s.seen
	s.seen = make(map[string]sighting, len(batch))
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	if err := s.store.writeSeen(ctx, batch); err != nil {
		s.mu.Lock()
		for id, old := range batch {
			if newer, ok := s.seen[id]; !ok {
				s.seen[id] = old
			} else if newer.footprint == nil {
				newer.footprint = old.footprint
				s.seen[id] = newer
			}
		}
		s.mu.Unlock()
		return err
	}
	var changed []string
	for id, seen := range batch {
		if seen.changed {
			changed = append(changed, id)
		}
	}
	s.observed(changed...)
	return nil
}
