package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
)

// mostDevices bounds the devices that one request names.
const mostDevices = 1000

// UninstallRequest asks to uninstall programs from devices.
type UninstallRequest struct {
	DeviceIDs     []string
	Software      []string // keys
	StopAtFailure bool
	LimitSeconds  int    // for each program; 0 is ten minutes
	By            string // name of who asks
}

// Uninstall makes one task per device, with those of the programs that the device has reported, and returns
// the id that they share. A key that none of the devices has reported is Invalid, and so is a device that has
// reported none of the keys; a device that is not active, or has an open task for one of the programs, is a
// Conflict. Then nothing is made.
func (s *Service) Uninstall(ctx context.Context, req UninstallRequest) (batchID string, err error) {
	devices := unique(req.DeviceIDs)
	if len(devices) == 0 || len(devices) > mostDevices {
		return "", fault.Field("body.device_ids", "%d devices are named; 1 to %d are taken", len(devices), mostDevices)
	}
	all := protocol.UninstallTask{Software: unique(req.Software), StopAtFailure: req.StopAtFailure, LimitSeconds: req.LimitSeconds}
	if err := all.Validate(); err != nil {
		return "", asInput(err)
	}
	reported := map[string]bool{}
	wishes := make([]wish, len(devices))
	for i, id := range devices {
		if err := s.store.known(ctx, id); err != nil {
			return "", err
		}
		missing, err := s.software.Reported(ctx, id, all.Software)
		if err != nil {
			return "", err
		}
		one := all
		one.Software = slices.DeleteFunc(slices.Clone(all.Software), func(key string) bool { return slices.Contains(missing, key) })
		if len(one.Software) == 0 {
			return "", fault.Field("body.software", "device %s has reported none of these programs; ask it for an inventory if its list is old", id)
		}
		for _, key := range one.Software {
			reported[key] = true
		}
		wishes[i] = wish{deviceID: id, kind: protocol.TaskUninstall, input: one}
	}
	for _, key := range all.Software {
		if !reported[key] {
			return "", fault.Field("body.software", "%s is a program that none of these devices has reported", key)
		}
	}
	batchID, err = newID()
	if err != nil {
		return "", err
	}
	_, err = s.ask(ctx, wishes, batchID, req.By)
	return batchID, err
}

// asInput names the field as the request has it.
func asInput(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return fault.Field("body.software", "%s", f.Msg)
	}
	return err
}

// Inventory asks a device for an inventory of the named sections, of all without names. An open task that
// covers them is taken.
func (s *Service) Inventory(ctx context.Context, deviceID string, sections []string, by string) (id string, err error) {
	sections = unique(sections)
	for _, name := range sections {
		if !protocol.ValidSection(name) {
			return "", fault.Field("body.sections", "%.60q is not the name of a section", name)
		}
	}
	return s.askOne(ctx, wish{deviceID: deviceID, kind: protocol.TaskInventory, input: protocol.InventoryTask{Sections: sections}}, by)
}

// Module asks a device to run a module from outside, with parameters that its schema is to allow; nil for its
// own. Whether the device has such a module, and allows the parameters, it says itself. An open task with the
// same parameters is taken.
func (s *Service) Module(ctx context.Context, deviceID, name string, parameters map[string]any, by string) (id string, err error) {
	input := protocol.ModuleTask{Name: name}
	if len(parameters) > 0 {
		if input.Parameters, err = json.Marshal(parameters); err != nil {
			return "", fault.Field("body.parameters", "the parameters cannot be told to a device: %v", err)
		}
	}
	if err := input.Validate(); err != nil {
		if protocol.ValidModule(name) {
			return "", fault.Field("body.parameters", "%s", err.Error())
		}
		return "", fault.New(fault.NotFound, "%.60q is not the name of a module", name)
	}
	return s.askOne(ctx, wish{deviceID: deviceID, kind: protocol.TaskModule, input: input}, by)
}

// Remove asks a device's agent to leave this server. An open task that does is taken.
func (s *Service) Remove(ctx context.Context, deviceID, by string) (id string, err error) {
	return s.askOne(ctx, wish{deviceID: deviceID, kind: protocol.TaskRemove, input: protocol.RemoveTask{}}, by)
}

func (s *Service) askOne(ctx context.Context, wanted wish, by string) (string, error) {
	batchID, err := newID()
	if err != nil {
		return "", err
	}
	ids, err := s.ask(ctx, []wish{wanted}, batchID, by)
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

func (s *Service) ask(ctx context.Context, wishes []wish, batchID, by string) ([]string, error) {
	out, e, err := s.store.ask(ctx, wishes, false, batchID, by, newID)
	if err != nil {
		return nil, err
	}
	s.tell(ctx, e)
	return out.ids, nil
}

// Cancel ends an open task. What the device has begun of it is not stopped, and how it went still enters the
// timeline. One that is over is a Conflict.
func (s *Service) Cancel(ctx context.Context, id, by string) error {
	e, err := s.store.cancel(ctx, id, by)
	if err != nil {
		return err
	}
	s.tell(ctx, e)
	return nil
}

// DeviceChanged ends the open tasks of a device that is revoked or removed.
func (s *Service) DeviceChanged(ctx context.Context, c device.Change) {
	if c.State == protocol.DeviceRevoked || c.State == protocol.DeviceRemoved {
		s.endAll(context.WithoutCancel(ctx), c.DeviceID) // the device's change is committed
	}
}

func (s *Service) endAll(ctx context.Context, deviceID string) {
	e, err := s.store.endAll(ctx, deviceID)
	if err != nil {
		s.log.Error("bring tasks in line with their device", "device", deviceID, "err", err)
		return
	}
	s.tell(ctx, e)
}

func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make id: %w", err)
	}
	return id.String(), nil
}

// unique keeps each once, in the order of their first places.
func unique(list []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
