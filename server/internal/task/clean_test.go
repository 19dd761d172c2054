package task_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/task"
)

const day = 24 * time.Hour

func TestClean_tasksThatAreOver(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, other := e.device(), e.device()
		open := e.uninstall([]string{curl}, dev)[0]
		for range 45 { // more than two steps take
			id, err := e.svc.Inventory(t.Context(), other, nil, "ann")
			require.NoError(t, err)
			e.say(other, report(e.get(id), protocol.StateSucceeded, protocol.ReasonDone))
		}
		over, err := e.svc.List(t.Context(), task.Filter{DeviceID: other, Limit: 100})
		require.NoError(t, err)
		now := store.Now()
		// One of them ended late.
		require.NoError(t, e.db.Exec("UPDATE tasks SET finished_at = ? WHERE id = ?", now.Add(10*day), over[20].ID).Error)
		require.NoError(t, e.svc.Clean(t.Context(), now.Add(179*day)))
		require.Len(t, e.list(task.Filter{}), 46)
		require.NoError(t, e.svc.Clean(t.Context(), now.Add(181*day)))
		require.ElementsMatch(t, []string{open.ID, over[20].ID}, e.list(task.Filter{}))
		require.NoError(t, e.svc.Clean(t.Context(), now.Add(191*day)))
		require.Equal(t, []string{open.ID}, e.list(task.Filter{}), "what is open stays")
		var left int64
		require.NoError(t, e.db.Table("task_timeline").Where("task_id <> ?", open.ID).Count(&left).Error)
		require.Zero(t, left)
		e.say(dev, report(open, protocol.StateSucceeded, protocol.ReasonDone))

		late := report(over[0], protocol.StateSucceeded, protocol.ReasonDone)
		ack, _, err := e.svc.Ingest(t.Context(), other, []protocol.Report{late})
		require.NoError(t, err)
		require.Equal(t, string(fault.NotFound), ack.Refused[0].Code)
	})
}

func TestClean_tasksOfDevicesThatAreGone(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		stays, revoked, removed := e.device(), e.device(), e.device()
		for _, id := range []string{stays, revoked} {
			task, err := e.svc.Inventory(t.Context(), id, nil, "ann")
			require.NoError(t, err)
			e.say(id, report(e.get(task), protocol.StateSucceeded, protocol.ReasonDone))
		}
		_, err := e.devices.Revoke(t.Context(), revoked)
		require.NoError(t, err)
		// Its agent has left by itself, with a task whose id the device has made.
		require.True(t, e.say(removed, report(task.Task{ID: uuid.NewString(), Kind: protocol.TaskRemove}, protocol.StateSucceeded, protocol.ReasonDone)))
		now := store.Now()
		require.NoError(t, e.svc.Clean(t.Context(), now.Add(89*day)))
		require.Len(t, e.list(task.Filter{}), 3)
		require.NoError(t, e.svc.Clean(t.Context(), now.Add(91*day)))
		require.Equal(t, e.list(task.Filter{DeviceID: stays}), e.list(task.Filter{}))
		require.Len(t, e.list(task.Filter{}), 1)
		var left int64
		require.NoError(t, e.db.Table("task_timeline").Where("device_id <> ?", stays).Count(&left).Error)
		require.Zero(t, left)
	})
}

// list is the ids of tasks.
func (e *env) list(f task.Filter) (ids []string) {
	e.t.Helper()
	f.Limit = 1000
	found, err := e.svc.List(e.ctx(), f)
	require.NoError(e.t, err)
	for _, f := range found {
		ids = append(ids, f.ID)
	}
	return ids
}
