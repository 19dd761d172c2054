package task

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/text"
)

// wish is one task to make.
type wish struct {
	deviceID string
	kind     string
	input    any // of protocol.Task
	// fits refuses devices that cannot have the task; nil takes all.
	fits func(d deviceRow) error
}

// asked is what became of wishes.
type asked struct {
	ids  []string // of the tasks, in the order of the wishes
	left []LeftOut
}

// ask makes the tasks in one transaction, or none of them. A device that is asked twice for an inventory, for
// its removal or for the same run of a module keeps the task that it has. What a device cannot have is the
// error; when only the fitting ones are wanted, it is left out instead.
func (s *taskStore) ask(ctx context.Context, wishes []wish, fitting bool, batchID, who string, newID func() (string, error)) (asked, effects, error) {
	deviceIDs := make([]string, len(wishes))
	for i, wanted := range wishes {
		deviceIDs[i] = wanted.deviceID
	}
	var out asked
	e, err := s.do(ctx, deviceIDs, func(w *work) error {
		out = asked{}
		devices, err := w.devices(deviceIDs)
		if err != nil {
			return err
		}
		open := map[string][]*taskRow{}
		for part := range slices.Chunk(deviceIDs, chunk) {
			found, err := w.load("device_id IN ? AND live = ?", part, true)
			if err != nil {
				return err
			}
			for _, t := range found {
				open[t.DeviceID] = append(open[t.DeviceID], t)
			}
		}
		for _, wanted := range wishes {
			d := devices[wanted.deviceID]
			same, err := w.allow(wanted, d, open[d.ID])
			if fitting && err != nil && fault.CodeOf(err) != fault.Internal {
				out.left = append(out.left, LeftOut{wanted.deviceID, d.Hostname, err.Error()})
				continue
			}
			if err != nil {
				return err
			}
			if same != "" {
				out.ids = append(out.ids, same)
				continue
			}
			t, err := w.create(wanted, d, batchID, who, newID)
			if err != nil {
				return err
			}
			w.note(t, timelineRow{Source: sourceAdmin, State: t.State, Message: "asked for by " + t.CreatedBy})
			w.effects.wake = append(w.effects.wake, d.ID)
			open[d.ID] = append(open[d.ID], t)
			out.ids = append(out.ids, t.ID)
		}
		return nil
	})
	return out, e, err
}

// allow refuses what a device cannot have, and finds the open task that does what is wanted already.
func (w *work) allow(wanted wish, d deviceRow, open []*taskRow) (same string, err error) {
	if d.ID == "" {
		return "", fault.New(fault.NotFound, "there is no device %q", wanted.deviceID)
	}
	if !mayHave(d.State, wanted.kind) {
		return "", fault.New(fault.Conflict, "device %s (%s) is %s and takes no such task", d.Hostname, d.ID, d.State)
	}
	if wanted.fits != nil {
		if err := wanted.fits(d); err != nil {
			return "", err
		}
	}
	if same, err = standing(wanted, open); err != nil || same != "" {
		return same, err
	}
	if len(open) >= mostOpen {
		return "", fault.New(fault.Conflict, "device %s (%s) has %d open tasks already; wait, or cancel some", d.Hostname, d.ID, mostOpen)
	}
	return "", nil
}

// standing finds the open task that does what is wanted already. Two that would uninstall the same program
// are a Conflict: nobody could tell which of them did it.
func standing(wanted wish, open []*taskRow) (id string, err error) {
	for _, t := range open {
		if t.Kind != wanted.kind {
			continue
		}
		switch input := wanted.input.(type) {
		case protocol.RemoveTask:
			return t.ID, nil
		case protocol.UpdateTask:
			return "", fault.New(fault.Conflict, "device %s (%s) has the open update %s already; wait for its end, or cancel it", t.Hostname, t.DeviceID, t.ID)
		case protocol.InventoryTask:
			var has protocol.InventoryTask
			if err := json.Unmarshal([]byte(t.Input), &has); err != nil {
				return "", fmt.Errorf("read input of task %s: %w", t.ID, err)
			}
			if covers(has.Sections, input.Sections) {
				return t.ID, nil
			}
		case protocol.ModuleTask:
			var has protocol.ModuleTask
			if err := json.Unmarshal([]byte(t.Input), &has); err != nil {
				return "", fmt.Errorf("read input of task %s: %w", t.ID, err)
			}
			if has.Name == input.Name && string(has.Parameters) == string(input.Parameters) { // both as this server writes them
				return t.ID, nil
			}
		case protocol.UninstallTask:
			var has protocol.UninstallTask
			if err := json.Unmarshal([]byte(t.Input), &has); err != nil {
				return "", fmt.Errorf("read input of task %s: %w", t.ID, err)
			}
			for _, key := range input.Software {
				if slices.Contains(has.Software, key) {
					return "", fault.New(fault.Conflict, "task %s of device %s uninstalls %s already; wait for its end, or cancel it", t.ID, t.Hostname, key)
				}
			}
		}
	}
	return "", nil
}

// covers reports whether an inventory of some sections, none for all, holds the others.
func covers(has, wanted []string) bool {
	if len(has) == 0 {
		return true
	}
	if len(wanted) == 0 {
		return false
	}
	for _, name := range wanted {
		if !slices.Contains(has, name) {
			return false
		}
	}
	return true
}

func (w *work) create(wanted wish, d deviceRow, batchID, who string, newID func() (string, error)) (*taskRow, error) {
	id, err := newID()
	if err != nil {
		return nil, err
	}
	input, err := json.Marshal(wanted.input)
	if err != nil {
		return nil, fmt.Errorf("encode input of task: %w", err)
	}
	t := &taskRow{
		ID: id, DeviceID: d.ID, Hostname: d.Hostname, Kind: wanted.kind, BatchID: batchID, Input: string(input),
		State: protocol.StateAssigned, Reached: protocol.StateAssigned, Live: true, CreatedBy: text.Cut(who, 120), CreatedAt: w.now,
	}
	if u, ok := wanted.input.(protocol.UpdateTask); ok {
		t.ReleaseID = &u.ReleaseID
	}
	w.rows[id] = t
	w.fresh = append(w.fresh, t)
	return t, nil
}

// cancel ends one open task.
func (s *taskStore) cancel(ctx context.Context, id, who string) (effects, error) {
	row, err := s.get(ctx, id)
	if err != nil {
		return effects{}, err
	}
	return s.do(ctx, []string{row.DeviceID}, func(w *work) error {
		found, err := w.load("id = ?", id)
		if err != nil {
			return err
		}
		t := found[0]
		if !t.Live {
			return fault.New(fault.Conflict, "the task is over already: %s", summary(t.Kind, t.State, t.Reason, ""))
		}
		w.end(t, sourceAdmin, protocol.ReasonByAdmin, "cancelled by "+text.Cut(who, 120))
		w.effects.wake = []string{t.DeviceID} // so that the device drops what it holds
		return nil
	})
}

// endAll ends all open tasks of a device that is gone.
func (s *taskStore) endAll(ctx context.Context, deviceID string) (effects, error) {
	return s.do(ctx, []string{deviceID}, func(w *work) error {
		devices, err := w.devices([]string{deviceID})
		if err != nil {
			return err
		}
		return w.endAll(deviceID, devices[deviceID].State)
	})
}

func (w *work) endAll(deviceID, deviceState string) error {
	reason, message := protocol.ReasonByAdmin, "the device was revoked"
	if deviceState == protocol.DeviceRemoved {
		reason, message = protocol.ReasonDeviceRemoved, "the device was removed"
	}
	if _, err := w.load("device_id = ? AND live = ?", deviceID, true); err != nil {
		return err
	}
	for _, t := range w.rows {
		if t.DeviceID == deviceID && t.Live {
			w.end(t, sourceServer, reason, message)
		}
	}
	return nil
}
