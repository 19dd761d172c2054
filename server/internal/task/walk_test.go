package task_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/task"
)

// walk does whatever may happen to one device's tasks, in any order, and looks after each step whether what
// must always hold does.
type walk struct {
	*env
	*rand.Rand
	dev  string
	cred string
	over map[string]protocol.State // tasks that were over
	sent []protocol.Report         // so far
	log  []string
}

// TestWalk_invariants: whatever people and the device do, in whatever order.
func TestWalk_invariants(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		dialect := store.SQLite
		if seed >= 4 {
			dialect = store.MySQL
		}
		t.Run(fmt.Sprint(dialect, seed), func(t *testing.T) {
			t.Parallel()
			w := &walk{env: newEnv(t, storetest.Open(t, dialect)), Rand: rand.New(rand.NewPCG(seed, 7)), over: map[string]protocol.State{}}
			w.dev, w.cred = w.enroll(seed%2 == 0)
			for range 80 {
				w.step()
				w.check()
			}
		})
	}
}

func (w *walk) did(err error, format string, args ...any) {
	w.t.Helper()
	if err != nil {
		require.NotEqual(w.t, fault.Internal, fault.CodeOf(err), "%v after %v", err, w.log)
		return
	}
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *walk) all() []task.Task {
	w.t.Helper()
	list, err := w.svc.List(w.ctx(), task.Filter{DeviceID: w.dev, Limit: 500})
	require.NoError(w.t, err)
	return list
}

func (w *walk) step() {
	w.t.Helper()
	list := w.all()
	switch n := w.IntN(100); {
	case n < 15:
		keys := [][]string{{curl}, {nano}, {curl, nano}}[w.IntN(3)]
		_, err := w.svc.Uninstall(w.ctx(), task.UninstallRequest{DeviceIDs: []string{w.dev}, Software: keys, By: "ann"})
		w.did(err, "uninstall %v", keys)
	case n < 25:
		sections := [][]string{nil, {"cpus"}, {"cpus", "bios"}}[w.IntN(3)]
		_, err := w.svc.Inventory(w.ctx(), w.dev, sections, "ann")
		w.did(err, "inventory %v", sections)
	case n < 30:
		_, err := w.devices.Approve(w.ctx(), w.dev)
		w.did(err, "approve")
	case n < 33:
		d, err := w.devices.Authenticate(w.ctx(), w.cred)
		if err == nil {
			_, err = w.devices.CheckIn(w.ctx(), d, protocol.CheckInRequest{MachineID: random()})
		}
		w.did(err, "another machine checks in with the identity")
	case n < 36:
		_, err := w.svc.Remove(w.ctx(), w.dev, "ann")
		w.did(err, "remove")
	case n == 36 && len(w.log) > 60:
		_, err := w.devices.Revoke(w.ctx(), w.dev)
		w.did(err, "revoke")
	case len(list) == 0:
	case n < 42:
		t := list[w.IntN(len(list))]
		w.did(w.svc.Cancel(w.ctx(), t.ID, "ann"), "cancel %s", t.Kind)
	case n < 50 && len(w.sent) > 0:
		w.say(w.dev, w.sent[w.IntN(len(w.sent))]) // sent again
	default:
		t := list[min(w.IntN(len(list)), w.IntN(len(list)))]
		states := []protocol.State{"", "accepted", "started", "started", "waiting", "succeeded", "failed", "refused", "interrupted"}
		r := report(t, states[w.IntN(len(states))], protocol.ReasonItems, protocol.TaskItem{ID: curl, Status: protocol.ItemRemoved})
		if t.Kind == protocol.TaskRemove && r.Task.State == protocol.StateSucceeded && len(w.log) < 60 {
			return // it would be a short walk
		}
		w.say(w.dev, r)
		w.sent = append(w.sent, r)
		w.did(nil, "%s is %s", t.Kind, r.Task.State)
	}
}

func (w *walk) check() {
	w.t.Helper()
	dev, err := w.devices.Get(w.ctx(), w.dev)
	require.NoError(w.t, err)
	gone := dev.State == protocol.DeviceRevoked || dev.State == protocol.DeviceRemoved
	open, removals, keys, mayRun := 0, 0, map[string]bool{}, []string{}
	for _, t := range w.all() {
		if was, ok := w.over[t.ID]; ok {
			require.Equal(w.t, was, t.State, "what is over stays so: %v", w.log)
		}
		if t.State.Final() {
			w.over[t.ID] = t.State
			require.NotNil(w.t, t.FinishedAt, "%v", w.log)
			if t.Kind == protocol.TaskRemove && t.State == protocol.StateSucceeded {
				require.True(w.t, gone, "%v", w.log)
			}
			continue
		}
		require.Nil(w.t, t.FinishedAt, "%v", w.log)
		open++
		if t.Kind == protocol.TaskRemove {
			removals++
		}
		for _, key := range t.Software {
			require.False(w.t, keys[key], "%s is uninstalled twice: %v", key, w.log)
			keys[key] = true
		}
		if dev.State == protocol.DeviceActive || t.Kind != protocol.TaskUninstall {
			mayRun = append(mayRun, t.ID)
		}
	}
	require.LessOrEqual(w.t, removals, 1, "%v", w.log)
	require.Equal(w.t, open, dev.OpenTasks, "the device's row counts wrong: %v", w.log)
	require.False(w.t, gone && open > 0, "a device that is gone has work: %v", w.log)
	require.ElementsMatch(w.t, mayRun, w.offered(w.dev, dev.State), "%v", w.log)
	if w.IntN(10) > 0 {
		return
	}
	for _, t := range w.all() {
		entries := w.get(t.ID).Timeline
		for i, e := range entries {
			require.Equal(w.t, i+1, e.Seq)
			require.NotEmpty(w.t, e.Message)
		}
		require.True(w.t, slices.ContainsFunc(entries, func(e task.HistoryEntry) bool { return e.State == t.State }), "%v", w.log)
	}
}
