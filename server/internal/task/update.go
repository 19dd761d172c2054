package task

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/server/internal/event"
)

// UpdateRequest asks to bring the agents of devices to a release.
type UpdateRequest struct {
	DeviceIDs        []string
	Release          release.Release
	Envelope         string // SHA-256 of the signed envelope's bytes
	ProbationSeconds int    // 0 is the standard
	By               string // name of who asks
	// Fitting leaves out the devices that cannot have the update, or need none, instead of refusing it for all.
	Fitting bool
	// Once leaves out, with Fitting, the devices that ever had an update to this release: one that failed is not
	// tried for ever.
	Once bool
}

// Updates is what became of an UpdateRequest.
type Updates struct {
	BatchID string // shared by the tasks; empty when none was made
	Made    int
	Left    []LeftOut
}

// LeftOut is a device that got no update.
type LeftOut struct {
	DeviceID string `json:"device_id"`
	Hostname string `json:"hostname"`
	Why      string `json:"why" doc:"for people"`
}

// Update makes one task per device. Without Fitting, a device that is not active, whose agent has no part for
// updates or is not allowed to follow them, for whose platform there is no build, or that has an open update
// already, is a Conflict, and then nothing is made. Whether the release is lower than what runs is left to
// the device.
func (s *Service) Update(ctx context.Context, req UpdateRequest) (Updates, error) {
	devices := unique(req.DeviceIDs)
	if !req.Fitting && (len(devices) == 0 || len(devices) > mostDevices) {
		return Updates{}, fault.Field("body.device_ids", "%d devices are named; 1 to %d are taken", len(devices), mostDevices)
	}
	input := protocol.UpdateTask{
		ReleaseID: req.Release.ID, Version: req.Release.Version, Release: req.Envelope, ProbationSeconds: req.ProbationSeconds,
	}
	if input.ProbationSeconds == 0 {
		input.ProbationSeconds = protocol.DefaultProbation
	}
	if err := input.Validate(); err != nil {
		return Updates{}, fault.Field("body.probation_seconds", "%s", err)
	}
	batchID, err := newID()
	if err != nil {
		return Updates{}, err
	}
	if req.Fitting { // what runs now decides who needs it
		if err := s.devices.Flush(ctx); err != nil {
			return Updates{}, err
		}
	}
	var out Updates
	for part := range slices.Chunk(devices, mostDevices) {
		var had map[string]bool
		if req.Once {
			if had, err = s.store.hadUpdate(ctx, req.Release.ID, part); err != nil {
				return out, err
			}
		}
		wishes := make([]wish, len(part))
		for i, id := range part {
			wishes[i] = wish{deviceID: id, kind: protocol.TaskUpdate, input: input, fits: func(d deviceRow) error { return updatable(d, req, had[d.ID]) }}
		}
		done, e, err := s.store.ask(ctx, wishes, req.Fitting, batchID, req.By, newID)
		if err != nil {
			return out, err
		}
		s.tell(ctx, e)
		out.Made += len(done.ids)
		out.Left = append(out.Left, done.left...)
	}
	if out.Made > 0 {
		out.BatchID = batchID
	}
	return out, nil
}

// updatable refuses devices that cannot have the update, and with Fitting those that need none.
func updatable(d deviceRow, req UpdateRequest, had bool) error {
	var facts protocol.Facts
	if err := json.Unmarshal([]byte(d.Facts), &facts); err != nil {
		return fmt.Errorf("read facts of device %s: %w", d.ID, err)
	}
	name := fmt.Sprintf("device %s (%s)", d.Hostname, d.ID)
	version := req.Release.Version
	_, built := req.Release.Build(d.OS, d.Arch)
	switch {
	case !slices.Contains(facts.Modules, protocol.TaskUpdate):
		return fault.New(fault.Conflict, "the agent %s of %s cannot update itself: install a newer one there", d.AgentVersion, name)
	case !slices.Contains(facts.TasksAllowed, protocol.TaskUpdate):
		return fault.New(fault.Conflict, "the configuration of %s denies updates by this server", name)
	case !built:
		return fault.New(fault.Conflict, "release %s has no build for %s/%s, which is what %s needs", version, d.OS, d.Arch, name)
	case req.Fitting && !req.Release.Follows(d.AgentVersion):
		return fault.New(fault.Conflict, "the agent of %s is %s already", name, d.AgentVersion)
	case had:
		return fault.New(fault.Conflict, "%s had an update to %s before: start it for this device by itself", name, version)
	}
	return nil
}

// EndUpdates ends the open updates to a release that is retired. What a device has begun is not stopped.
func (s *Service) EndUpdates(ctx context.Context, releaseID, by string) error {
	for {
		devices, err := s.store.updating(ctx, releaseID)
		if err != nil || len(devices) == 0 {
			return err
		}
		e, err := s.store.endUpdates(ctx, releaseID, devices, by)
		if err != nil {
			return err
		}
		s.tell(ctx, e)
	}
}

// updateEnded makes the event of an update after which another agent runs than was to.
func (w *work) updateEnded(t *taskRow, r incoming) error {
	if !r.state.Final() || r.state == protocol.StateSucceeded {
		return nil
	}
	var input protocol.UpdateTask
	if err := unmarshalInput(t, &input); err != nil {
		return err
	}
	e := event.Event{
		DeviceID: t.DeviceID, Hostname: t.Hostname, Kind: event.AgentUpdateFailed, Present: input.Version,
		Message: fmt.Sprintf("The agent was to become %s: %s.", input.Version, summary(t.Kind, r.state, r.reason, "")),
	}
	if u := r.update; u != nil {
		e.Former = u.From
		if u.Outcome == protocol.UpdateRolledBack {
			e.Message += fmt.Sprintf(" It was rolled back to %s.", u.From)
		}
	}
	made, err := event.Add(w.tx, w.now, []event.Event{e})
	w.effects.events = append(w.effects.events, made...)
	return err
}

// unmarshalInput reads what a task asks for.
//
//fuzz:none the server wrote the row itself
func unmarshalInput(t *taskRow, v any) error {
	if err := json.Unmarshal([]byte(t.Input), v); err != nil {
		return fmt.Errorf("read input of task %s: %w", t.ID, err)
	}
	return nil
}
