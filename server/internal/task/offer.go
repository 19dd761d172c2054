package task

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/muster/muster/packages/protocol"
)

// mostOpen bounds the open tasks of one device: they are all in each answer to its check-ins.
const mostOpen = 50

// Offer lists the tasks of a device that are not over, in the order in which they are to run. What changes
// the computer is for active devices only, but for the agent's own removal; a device that is revoked or
// removed is offered nothing. It is asked when the device's row says that there are any.
func (s *Service) Offer(ctx context.Context, deviceID, deviceState string) ([]protocol.Task, error) {
	rows, err := s.store.live(ctx, deviceID)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b taskRow) int {
		return cmp.Or(cmp.Compare(order(a.Kind), order(b.Kind)), cmp.Compare(a.ID, b.ID))
	})
	tasks := make([]protocol.Task, 0, len(rows))
	for _, r := range rows {
		if !mayHave(deviceState, r.Kind) {
			continue
		}
		t, err := r.task()
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

// mayHave reports whether a device in this state is given tasks of the kind.
func mayHave(deviceState, kind string) bool {
	switch deviceState {
	case protocol.DeviceActive:
		return true
	case protocol.DevicePending, protocol.DeviceQuarantined:
		return kind == protocol.TaskInventory || kind == protocol.TaskRemove
	default:
		return false
	}
}

// order is when tasks of a kind have their turn.
func order(kind string) int {
	return slices.Index([]string{protocol.TaskRemove, protocol.TaskUpdate, protocol.TaskUninstall, protocol.TaskInventory, protocol.TaskModule}, kind)
}

// task is the row as the device gets it.
func (r *taskRow) task() (protocol.Task, error) {
	t := protocol.Task{ID: r.ID, Kind: r.Kind}
	var input any
	switch r.Kind {
	case protocol.TaskInventory:
		t.Inventory = &protocol.InventoryTask{}
		input = t.Inventory
	case protocol.TaskUninstall:
		t.Uninstall = &protocol.UninstallTask{}
		input = t.Uninstall
	case protocol.TaskModule:
		t.Module = &protocol.ModuleTask{}
		input = t.Module
	case protocol.TaskUpdate:
		t.Update = &protocol.UpdateTask{}
		input = t.Update
	default:
		t.Remove = &protocol.RemoveTask{}
		input = t.Remove
	}
	if err := json.Unmarshal([]byte(r.Input), input); err != nil {
		return t, fmt.Errorf("read input of task %s: %w", r.ID, err)
	}
	return t, nil
}
