package task_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/task"
)

func TestUninstall_fromRequestToResult(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		e.live.take()
		made := e.uninstall([]string{curl, nano, curl}, dev)[0]
		require.Equal(t, []string{curl, nano}, made.Software, "each once")
		require.Equal(t, "not yet picked up by the device", made.Summary)
		require.Equal(t, 1, e.open(dev))
		woken, types := e.live.take()
		require.Equal(t, []string{dev}, woken)
		require.Equal(t, []string{"task"}, types)

		list, err := e.svc.Offer(t.Context(), dev, protocol.DeviceActive)
		require.NoError(t, err)
		require.Equal(t, []protocol.Task{{ID: made.ID, Kind: protocol.TaskUninstall, Uninstall: &protocol.UninstallTask{Software: []string{curl, nano}}}}, list)

		e.say(dev, report(made, protocol.StateAccepted, ""))
		first := protocol.TaskItem{ID: curl, Status: protocol.ItemRemoved, Output: "bye\x1b[2J\n"}
		e.say(dev, report(made, protocol.StateStarted, "", first))
		now := e.get(made.ID)
		require.Equal(t, "under way, 1 of 1 removed", now.Summary)
		require.Equal(t, []string{made.ID}, e.offered(dev, protocol.DeviceActive), "it is offered until it is over")
		e.say(dev, report(made, protocol.StateFailed, protocol.ReasonItems, first,
			protocol.TaskItem{ID: nano, Status: protocol.ItemNeeded, Message: "mc needs it", Others: []string{"mc"}}))
		now = e.get(made.ID)
		require.Equal(t, "failed: 1 of 2 removed", now.Summary)
		require.Equal(t, "bye[2J\n", now.Items[0].Output, "a device cannot steer a terminal")
		require.Equal(t, []string{"mc"}, now.Items[1].Others)
		require.NotNil(t, now.FinishedAt)
		listed, err := e.svc.List(t.Context(), task.Filter{DeviceID: dev, Limit: 1})
		require.NoError(t, err)
		require.Equal(t, now.Summary, listed[0].Summary)
		require.Empty(t, listed[0].Items, "a list does not read what a device may have made long")
		require.Equal(t, []string{"admin assigned", "device accepted", "device started", "device failed/items"}, steps(now))
		require.Empty(t, e.offered(dev, protocol.DeviceActive))
		require.Zero(t, e.open(dev))
	})
}

func TestUninstall_eachDeviceGetsWhatItHas(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		one, two := e.device(), e.device()
		e.more["only-one"] = one
		for _, made := range e.uninstall([]string{"only-one", nano}, one, two) {
			want := []string{nano}
			if made.DeviceID == one {
				want = []string{"only-one", nano}
			}
			require.Equal(t, want, made.Software)
		}
		for name, tc := range map[string]struct {
			req  task.UninstallRequest
			code fault.Code
			text string
		}{
			"no device":            {task.UninstallRequest{Software: []string{curl}}, fault.Invalid, "0 devices"},
			"no program":           {task.UninstallRequest{DeviceIDs: []string{one}}, fault.Invalid, "0 programs"},
			"too long a limit":     {task.UninstallRequest{DeviceIDs: []string{one}, Software: []string{curl}, LimitSeconds: 1e6}, fault.Invalid, "1000000 seconds"},
			"an unknown device":    {task.UninstallRequest{DeviceIDs: []string{"x"}, Software: []string{curl}}, fault.NotFound, `"x"`},
			"not reported":         {task.UninstallRequest{DeviceIDs: []string{one, two}, Software: []string{curl, "rm -rf"}}, fault.Invalid, "rm -rf"},
			"none of them":         {task.UninstallRequest{DeviceIDs: []string{one, two}, Software: []string{"only-one"}}, fault.Invalid, two},
			"asked for already":    {task.UninstallRequest{DeviceIDs: []string{two}, Software: []string{curl, nano}}, fault.Conflict, "uninstalls " + nano + " already"},
			"asked of one of them": {task.UninstallRequest{DeviceIDs: []string{e.device(), two}, Software: []string{nano}}, fault.Conflict, "already"},
		} {
			tc.req.By = "ann"
			_, err := e.svc.Uninstall(t.Context(), tc.req)
			require.Equal(t, tc.code, fault.CodeOf(err), "%s: %v", name, err)
			require.ErrorContains(t, err, tc.text, name)
		}
		all, err := e.svc.List(t.Context(), task.Filter{Limit: 100})
		require.NoError(t, err)
		require.Len(t, all, 2, "what was refused made nothing")
	})
}

func TestInventory_isAskedOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		some, err := e.svc.Inventory(t.Context(), dev, []string{"software", "cpus"}, "ann")
		require.NoError(t, err)
		again, err := e.svc.Inventory(t.Context(), dev, []string{"software"}, "bob")
		require.NoError(t, err)
		require.Equal(t, some, again)
		all, err := e.svc.Inventory(t.Context(), dev, nil, "ann")
		require.NoError(t, err)
		require.NotEqual(t, some, all, "more is asked for than the open one brings")
		require.Equal(t, 2, e.open(dev))
		_, err = e.svc.Inventory(t.Context(), dev, []string{"../x"}, "ann")
		require.True(t, fault.Is(err, fault.Invalid))
		e.say(dev, report(e.get(all), protocol.StateSucceeded, protocol.ReasonDone))
		require.Equal(t, "succeeded: the inventory is here", e.get(all).Summary)
		next, err := e.svc.Inventory(t.Context(), dev, nil, "ann")
		require.NoError(t, err)
		require.NotEqual(t, all, next, "a new one when the old one is over")
	})
}

func TestOffer_orderAndWhoMayHaveWhat(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.computer(nil)
		inventory, err := e.svc.Inventory(t.Context(), dev, nil, "ann")
		require.NoError(t, err)
		uninstall := e.uninstall([]string{curl}, dev)[0].ID
		updates, _ := e.update(task.UpdateRequest{DeviceIDs: []string{dev}, Release: release11()})
		update := updates[dev].ID
		remove, err := e.svc.Remove(t.Context(), dev, "ann")
		require.NoError(t, err)
		for state, want := range map[string][]string{
			protocol.DeviceActive:      {remove, update, uninstall, inventory},
			protocol.DevicePending:     {remove, inventory},
			protocol.DeviceQuarantined: {remove, inventory},
			protocol.DeviceRevoked:     {},
			protocol.DeviceRemoved:     {},
		} {
			require.Equal(t, want, e.offered(dev, state), state)
		}
		pending, _ := e.enroll(true)
		_, err = e.svc.Uninstall(t.Context(), task.UninstallRequest{DeviceIDs: []string{pending}, Software: []string{curl}})
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		_, err = e.svc.Inventory(t.Context(), pending, nil, "ann")
		require.NoError(t, err)

		_, err = e.devices.Revoke(t.Context(), dev)
		require.NoError(t, err)
		require.Equal(t, "cancelled: ended by an administrator", e.get(uninstall).Summary)
		require.Zero(t, e.open(dev))
		_, err = e.svc.Remove(t.Context(), dev, "ann")
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
	})
}

func TestModule_fromRequestToResult(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		tcp := map[string]any{"protocol": "tcp", "ports": []any{22, 80}}
		id, err := e.svc.Module(t.Context(), dev, "ports", tcp, "ann")
		require.NoError(t, err)
		same, err := e.svc.Module(t.Context(), dev, "ports", tcp, "bob")
		require.NoError(t, err)
		require.Equal(t, id, same, "the same run is asked for once")
		plain, err := e.svc.Module(t.Context(), dev, "ports", nil, "ann")
		require.NoError(t, err)
		require.NotEqual(t, id, plain)
		inventory, err := e.svc.Inventory(t.Context(), dev, nil, "ann")
		require.NoError(t, err)
		require.Equal(t, []string{inventory, id, plain}, e.offered(dev, protocol.DeviceActive))
		require.Equal(t, []string{inventory}, e.offered(dev, protocol.DeviceQuarantined))

		list, err := e.svc.Offer(t.Context(), dev, protocol.DeviceActive)
		require.NoError(t, err)
		require.Equal(t, "ports", list[1].Module.Name)
		require.JSONEq(t, `{"protocol":"tcp","ports":[22,80]}`, string(list[1].Module.Parameters))
		require.NoError(t, list[1].Validate())
		shown := e.get(id)
		require.Equal(t, "ports", shown.Module)
		require.Equal(t, "tcp", shown.Parameters["protocol"])
		require.Nil(t, e.get(plain).Parameters)

		e.say(dev, report(shown, protocol.StateStarted, ""))
		e.say(dev, report(shown, protocol.StateFailed, protocol.ReasonMemory))
		require.Equal(t, "failed: over its memory limit", e.get(id).Summary)
		e.say(dev, report(e.get(plain), protocol.StateSucceeded, protocol.ReasonDone))
		require.Equal(t, "succeeded: the module has run", e.get(plain).Summary)
		for _, name := range []string{"", "../x", "Ports"} {
			_, err = e.svc.Module(t.Context(), dev, name, nil, "ann")
			require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		}
		_, err = e.svc.Module(t.Context(), dev, "ports", map[string]any{"x": strings.Repeat("x", 64<<10)}, "ann")
		require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	})
}

func TestOpenTasks_areBounded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		for i := range 50 {
			_, err := e.svc.Inventory(t.Context(), dev, []string{fmt.Sprint("s", i)}, "ann")
			require.NoError(t, err)
		}
		_, err := e.svc.Inventory(t.Context(), dev, []string{"more"}, "ann")
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
	})
}

func TestCancel_ofABegunTaskStillTakesItsResult(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		made := e.uninstall([]string{curl}, dev)[0]
		e.say(dev, report(made, protocol.StateStarted, ""))
		e.live.take()
		require.NoError(t, e.svc.Cancel(t.Context(), made.ID, "ann"))
		woken, _ := e.live.take()
		require.Equal(t, []string{dev}, woken, "so that it drops what it holds")
		require.Empty(t, e.offered(dev, protocol.DeviceActive))
		e.say(dev, report(made, protocol.StateSucceeded, protocol.ReasonDone, protocol.TaskItem{ID: curl, Status: protocol.ItemRemoved}))
		now := e.get(made.ID)
		require.Equal(t, protocol.StateCancelled, now.State)
		require.Equal(t, protocol.ItemRemoved, now.Items[0].Status, "what became of the computer is kept")
		require.Equal(t, []string{"admin assigned", "device started", "admin cancelled/by_admin", "device succeeded/done"}, steps(now))
		require.Contains(t, now.Timeline[2].Message, "is not stopped")
		require.True(t, fault.Is(e.svc.Cancel(t.Context(), made.ID, "ann"), fault.Conflict))
	})
}

func TestRemove_endsTheDevice(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, credential := e.enroll(false)
		other := e.uninstall([]string{curl}, dev)[0]
		id, err := e.svc.Remove(t.Context(), dev, "ann")
		require.NoError(t, err)
		again, err := e.svc.Remove(t.Context(), dev, "bob")
		require.NoError(t, err)
		require.Equal(t, id, again)
		made := e.get(id)
		require.False(t, e.say(dev, report(made, protocol.StateStarted, "")))
		_, err = e.devices.Authenticate(t.Context(), credential)
		require.NoError(t, err, "not before its last report")
		last := report(made, protocol.StateSucceeded, protocol.ReasonDone)
		require.True(t, e.say(dev, last))
		require.True(t, e.say(dev, last), "a lost answer over a connection that lives a moment longer")

		_, err = e.devices.Authenticate(t.Context(), credential)
		require.True(t, fault.Is(err, fault.Unauthenticated), "%v", err)
		_, err = e.devices.Admit(t.Context(), credential)
		require.True(t, fault.Is(err, fault.Unauthenticated), "%v", err)
		d, err := e.devices.Get(t.Context(), dev)
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceRemoved, d.State)
		require.Zero(t, d.OpenTasks)
		require.Equal(t, "succeeded: the agent has left", e.get(id).Summary)
		require.Equal(t, []string{"admin assigned", "server cancelled/device_removed"}, steps(e.get(other.ID)))
		_, err = e.devices.Approve(t.Context(), dev)
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		d, err = e.devices.Revoke(t.Context(), dev)
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceRemoved, d.State, "it stays what it is")
	})
}

// An agent that had begun to leave when somebody cancelled it is gone all the same.
func TestRemove_cancelledTooLate(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		id, err := e.svc.Remove(t.Context(), dev, "ann")
		require.NoError(t, err)
		e.say(dev, report(e.get(id), protocol.StateStarted, ""))
		require.NoError(t, e.svc.Cancel(t.Context(), id, "ann"))
		require.True(t, e.say(dev, report(e.get(id), protocol.StateSucceeded, protocol.ReasonDone)))
		d, err := e.devices.Get(t.Context(), dev)
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceRemoved, d.State)
	})
}

// An agent that is removed on its device tells so with a task that it made itself.
func TestRemove_onTheDeviceItself(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, other := e.device(), e.device()
		own := task.Task{ID: reportID(), Kind: protocol.TaskRemove}
		for _, state := range []protocol.State{protocol.StateStarted, protocol.StateRefused} {
			ack, gone, err := e.svc.Ingest(t.Context(), dev, []protocol.Report{report(own, state, "")})
			require.NoError(t, err)
			require.False(t, gone)
			require.Len(t, ack.Refused, 1, "a device makes no other tasks")
		}
		last := report(own, protocol.StateSucceeded, protocol.ReasonDone)
		twice := report(task.Task{ID: reportID(), Kind: protocol.TaskRemove}, protocol.StateSucceeded, protocol.ReasonDone)
		ack, gone, err := e.svc.Ingest(t.Context(), dev, []protocol.Report{last, twice})
		require.NoError(t, err)
		require.True(t, gone)
		require.Equal(t, []string{last.ID}, ack.IDs)
		require.Len(t, ack.Refused, 1, "it leaves once")
		require.True(t, e.say(dev, last))
		d, err := e.devices.Get(t.Context(), dev)
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceRemoved, d.State)
		made := e.get(own.ID)
		require.Equal(t, "the device itself", made.CreatedBy)
		require.Equal(t, []string{"device succeeded/done"}, steps(made))
		ack, _, err = e.svc.Ingest(t.Context(), other, []protocol.Report{report(own, protocol.StateSucceeded, protocol.ReasonDone)})
		require.NoError(t, err)
		require.Len(t, ack.Refused, 1, "it is another device's")
		d, err = e.devices.Get(t.Context(), other)
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceActive, d.State)
	})
}

func TestRemove_deniedByTheDevice(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		id, err := e.svc.Remove(t.Context(), dev, "ann")
		require.NoError(t, err)
		r := report(e.get(id), "", protocol.ReasonNotAllowed)
		require.False(t, e.say(dev, r))
		require.Equal(t, "refused: the device's own configuration denies it", e.get(id).Summary)
		d, err := e.devices.Get(t.Context(), dev)
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceActive, d.State)
	})
}

func TestList_filtersAndPages(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		one, two := e.device(), e.device()
		e.uninstall([]string{curl}, one, two)
		id, err := e.svc.Inventory(t.Context(), one, nil, "ann")
		require.NoError(t, err)
		require.NoError(t, e.svc.Cancel(t.Context(), id, "ann"))
		open, over := true, false
		for name, tc := range map[string]struct {
			filter task.Filter
			want   int
		}{
			"all": {task.Filter{}, 3}, "of one": {task.Filter{DeviceID: one}, 2}, "kind": {task.Filter{Kind: protocol.TaskUninstall}, 2},
			"state": {task.Filter{State: "cancelled"}, 1}, "open": {task.Filter{Open: &open}, 2}, "over": {task.Filter{Open: &over}, 1},
			"both": {task.Filter{DeviceID: two, Kind: protocol.TaskInventory}, 0},
		} {
			tc.filter.Limit = 1
			seen := map[string]bool{}
			for {
				page, err := e.svc.List(t.Context(), tc.filter)
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				require.False(t, seen[page[0].ID])
				seen[page[0].ID] = true
				tc.filter.Before = page[0].ID
			}
			require.Len(t, seen, tc.want, name)
		}
		_, err = e.svc.OfDevice(t.Context(), task.Filter{DeviceID: "x", Limit: 1})
		require.True(t, fault.Is(err, fault.NotFound))
	})
}

// A crash between a revocation and the end of the device's tasks is made good at the next start.
func TestRun_afterACrash(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		made := e.uninstall([]string{curl}, dev)[0]
		require.NoError(t, e.db.Exec("UPDATE devices SET state = ? WHERE id = ?", protocol.DeviceRevoked, dev).Error)
		e.svc.DeviceChanged(t.Context(), device.Change{DeviceID: dev, State: protocol.DeviceActive})
		require.Equal(t, 1, e.open(dev), "only what is gone loses its tasks")
		e.svc.Run(t.Context())
		require.Equal(t, protocol.StateCancelled, e.get(made.ID).State)
		require.WithinDuration(t, time.Now(), *e.get(made.ID).FinishedAt, time.Minute)
	})
}
