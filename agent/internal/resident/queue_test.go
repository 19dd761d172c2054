package resident

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/protocol"
)

func taskOf(kind string) protocol.Task {
	t := protocol.Task{ID: uuid.NewString(), Kind: kind}
	switch kind {
	case protocol.TaskUninstall:
		t.Uninstall = &protocol.UninstallTask{Software: []string{"pkg:deb/debian/curl@1"}}
	case protocol.TaskRemove:
		t.Remove = &protocol.RemoveTask{}
	case protocol.TaskUpdate:
		t.Update = &protocol.UpdateTask{ReleaseID: uuid.NewString(), Version: "1.1.0", Release: strings.Repeat("0", 64)}
	}
	return t
}

// kinds lists the kinds of task in the order in which the resident runs the changes.
func kinds(r *Resident) (out []string) {
	for {
		u, it, _ := pick(changing, r.servers(), time.Now())
		if u == nil {
			return out
		}
		out = append(out, it.task.Kind)
		u.done(it)
	}
}

func TestPick_changesGoInOrderOverAllServers(t *testing.T) {
	t.Parallel()
	a, b := testUnit(t), testUnit(t)
	r := &Resident{units: []*unit{a, b}}
	a.offer([]protocol.Task{deployTask(1), taskOf(protocol.TaskInventory), taskOf(protocol.TaskUninstall), taskOf(protocol.TaskUpdate)}, nil)
	b.offer([]protocol.Task{deployTask(0), taskOf(protocol.TaskUninstall), taskOf(protocol.TaskRemove)}, nil)
	begun := deployTask(9)
	a.postpone(item{task: begun}, time.Time{}, true)
	require.Equal(t, []string{"deploy", "remove", "update", "uninstall", "uninstall", "deploy", "deploy"}, kinds(r), "what was begun goes first")

	u, it, _ := pick(looking, r.servers(), time.Now())
	require.Same(t, a, u)
	require.Equal(t, protocol.TaskInventory, it.task.Kind)
	u.done(it)
	u, _, _ = pick(looking, r.servers(), time.Now())
	require.Nil(t, u)
}

func TestUnit_priorityZeroHoldsPackagesAlone(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	zero := deployTask(0)
	u.offer([]protocol.Task{zero, deployTask(4), taskOf(protocol.TaskUninstall), taskOf(protocol.TaskInventory)}, nil)
	u.postpone(item{task: zero}, time.Now().Add(time.Hour), false)
	it, ok, _ := u.next(changing, time.Now())
	require.True(t, ok)
	require.Equal(t, protocol.TaskUninstall, it.task.Kind)
	_, ok, _ = u.next(looking, time.Now())
	require.True(t, ok)
	require.Equal(t, 2, u.drop())
	_, ok, _ = u.next(changing, time.Now())
	require.True(t, ok, "uninstalling does not wait for the next check-in")
}

func TestUnit_goesOnWithTasksOfEveryKind(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	write := func(task protocol.Task, states ...protocol.State) *attempt.Attempt {
		a, err := attempt.Open(u.store.Dir(), task.ID)
		require.NoError(t, err)
		require.NoError(t, a.Begin(task))
		j, _, err := a.Journal()
		require.NoError(t, err)
		for _, state := range states {
			r, err := attempt.NewTaskReport(time.Now(), protocol.TaskReport{TaskID: task.ID, Kind: task.Kind, State: state})
			require.NoError(t, err)
			require.NoError(t, j.Append(attempt.Record{Report: r}))
		}
		require.NoError(t, j.Close())
		return a
	}
	begun := write(taskOf(protocol.TaskUninstall), protocol.StateAccepted, protocol.StateStarted)
	accepted := write(taskOf(protocol.TaskUninstall), protocol.StateAccepted)
	over := write(taskOf(protocol.TaskRemove), protocol.StateStarted, protocol.StateSucceeded)
	require.NoError(t, over.Settle())
	require.NoError(t, u.store.SaveState(identity.State{Offered: []string{accepted.ID()}}))
	require.Empty(t, u.unfinished(), "a check-in names attempts of deployments")
	u.goOnStarted()
	require.Len(t, u.queue, 1)
	require.Equal(t, begun.ID(), u.queue[0].id())
	require.True(t, u.queue[0].started)
	u.goOn()
	require.Len(t, u.queue, 2)
	require.Equal(t, accepted.ID(), u.queue[1].id())
}

// told is what the spool holds.
func told(s *spool.Spool) (out []protocol.TaskReport) {
	for _, r := range s.Next(protocol.MaxReports, protocol.MaxReportsBytes) {
		if r.Task != nil {
			out = append(out, *r.Task)
		}
	}
	return out
}

func testResident(units ...*unit) *Resident {
	return &Resident{units: units, changed: make(chan struct{}, 1), burst: time.NewTimer(time.Hour)}
}

func TestRunTask_saysWhyATaskIsNotBegun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		task   protocol.Task
		reason protocol.Reason
		state  protocol.State
	}{
		"unknown kind":      {protocol.Task{ID: uuid.NewString(), Kind: "brew"}, protocol.ReasonUnknownTask, protocol.StateRefused},
		"id that is a path": {protocol.Task{ID: "../..", Kind: protocol.TaskInventory}, protocol.ReasonMalformed, protocol.StateRefused},
		"without its body":  {protocol.Task{ID: uuid.NewString(), Kind: protocol.TaskRemove}, protocol.ReasonMalformed, protocol.StateRefused},
		"another's body":    {protocol.Task{ID: uuid.NewString(), Kind: protocol.TaskRemove, Deploy: deployTask(1).Deploy}, protocol.ReasonMalformed, protocol.StateRefused},
		"damaged attempt":   {protocol.Task{ID: uuid.NewString(), Kind: protocol.TaskDeploy, Deploy: &protocol.DeployTask{AttemptID: ".."}}, protocol.ReasonMalformed, ""},
		"not allowed":       {taskOf(protocol.TaskUninstall), protocol.ReasonNotAllowed, protocol.StateRefused},
	} {
		u := testUnit(t)
		r := testResident(u)
		u.offer([]protocol.Task{c.task}, nil)
		r.runTask(t.Context(), u, item{task: c.task})
		reports := told(u.spool)
		require.Len(t, reports, 1, name)
		require.Equal(t, c.task.ID, reports[0].TaskID, name)
		require.Equal(t, c.reason, reports[0].Reason, name)
		require.Equal(t, c.state, reports[0].State, name)
		require.NotEmpty(t, reports[0].Message, name)
		require.Empty(t, u.queue, name)
	}
}

func TestRunTask_aDenialIsSaidOnce(t *testing.T) {
	t.Parallel()
	u, task := testUnit(t), taskOf(protocol.TaskUninstall)
	r := testResident(u)
	for range 2 {
		u.offer([]protocol.Task{task}, nil)
		r.runTask(t.Context(), u, item{task: task})
	}
	ids := map[string]bool{}
	for _, report := range u.spool.Next(protocol.MaxReports, protocol.MaxReportsBytes) {
		ids[report.ID] = true
	}
	require.Len(t, ids, 1, "the same report again, not another one")
}

func TestRunTask_anIdOfAnotherTaskIsRefused(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	u.allowed = []string{protocol.TaskRemove}
	a := journalled(t, u, 3, protocol.StateStarted)
	task := taskOf(protocol.TaskRemove)
	task.ID = a.ID()
	u.offer([]protocol.Task{task}, nil)
	testResident(u).runTask(t.Context(), u, item{task: task})
	require.Equal(t, protocol.ReasonMalformed, told(u.spool)[0].Reason)
	records, err := a.Peek()
	require.NoError(t, err)
	require.Len(t, records, 1)
}

func TestRunTask_nothingIsChangedForAServerWhoseTrustDocumentIsRefused(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	u.allowed = []string{protocol.TaskUninstall}
	task := taskOf(protocol.TaskUninstall)
	u.offer([]protocol.Task{task}, errors.New("the trust document is refused"))
	testResident(u).runTask(t.Context(), u, item{task: task})
	require.Equal(t, protocol.StateWaiting, told(u.spool)[0].State)
	require.Equal(t, protocol.ReasonTrust, told(u.spool)[0].Reason)
	_, ok, again := u.next(changing, time.Now())
	require.False(t, ok)
	require.False(t, again.IsZero())
	u.offer([]protocol.Task{task}, nil)
	_, ok, _ = u.next(changing, time.Now())
	require.True(t, ok)
}
