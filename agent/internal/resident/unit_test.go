package resident

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/protocol"
)

func testUnit(t *testing.T) *unit {
	t.Helper()
	store := identity.Open(t.TempDir(), "test")
	s, err := spool.Open(filepath.Join(store.Dir(), spoolDir), spool.Limits{})
	if err != nil { // the spool may want its parent to be there
		require.NoError(t, os.MkdirAll(store.Dir(), 0o700))
		s, err = spool.Open(filepath.Join(store.Dir(), spoolDir), spool.Limits{})
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return &unit{name: "test", store: store, spool: s, later: map[string]time.Time{}, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func deployTask(priority int) protocol.Task {
	return protocol.Task{ID: uuid.NewString(), Kind: protocol.TaskDeploy, Deploy: &protocol.DeployTask{
		DeploymentID: uuid.NewString(), AttemptID: uuid.NewString(), PackageID: uuid.NewString(), Priority: priority,
		Instruction: strings.Repeat("0f", 32),
	}}
}

// drain lists the priorities in the order in which the unit runs its queue.
func drain(u *unit) []int {
	var out []int
	for {
		it, ok, _ := u.next(changing, time.Now())
		if !ok {
			return out
		}
		out = append(out, it.priority())
		u.done(it)
	}
}

func TestUnit_keepsTheServersOrder(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	u.offer([]protocol.Task{deployTask(3), deployTask(1), deployTask(5)}, nil)
	require.Equal(t, []int{3, 1, 5}, drain(u))
}

func TestUnit_priorityZeroGoesFirstAndHoldsTheRest(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	first, zero := deployTask(3), deployTask(0)
	u.offer([]protocol.Task{first, zero}, nil)
	it, ok, _ := u.next(changing, time.Now())
	require.True(t, ok)
	require.Equal(t, zero.ID, it.task.ID)

	until := time.Now().Add(time.Hour)
	u.postpone(it, until, false)
	_, ok, again := u.next(changing, time.Now())
	require.False(t, ok, "while a priority-0 package waits, nothing runs")
	require.Equal(t, until, again)
	require.Equal(t, 2, u.drop())
}

func TestUnit_waitsForNoYearsOfAClockThatWasWrong(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	u.offer([]protocol.Task{deployTask(4)}, nil)
	now := time.Now()
	it, _, _ := u.next(changing, now)
	u.postpone(it, now.Add(taskRetryMax), false)
	_, ok, _ := u.next(changing, now)
	require.False(t, ok)
	_, ok, _ = u.next(changing, now.AddDate(-10, 0, 0)) // the clock was ten years ahead, and has been set right
	require.True(t, ok)
}

func TestUnit_anOfferReplacesTheOneBefore(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	kept, cancelled := deployTask(4), deployTask(5)
	u.offer([]protocol.Task{kept, cancelled}, nil)
	u.postpone(item{task: kept}, time.Now().Add(time.Hour), false)
	kept.ID = uuid.NewString() // the server may call the task anew
	u.offer([]protocol.Task{kept}, nil)
	_, ok, again := u.next(changing, time.Now())
	require.False(t, ok, "the cancelled one is gone, the other still waits")
	require.False(t, again.IsZero())
}

func TestUnit_begunCommandsAreFollowedWhateverIsOffered(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	running := deployTask(5)
	u.offer([]protocol.Task{running}, nil)
	it, _, _ := u.next(changing, time.Now())
	u.offer(nil, nil)
	u.postpone(it, time.Time{}, true)
	u.offer([]protocol.Task{deployTask(0)}, nil)
	require.Equal(t, []int{5, 0}, drain(u))
}

// TestUnit_begunTasksThatWaitAreFollowed: a task can have to wait after it has begun to change the computer.
func TestUnit_begunTasksThatWaitAreFollowed(t *testing.T) {
	t.Parallel()
	for name, takenBack := range map[string]bool{"before its command began": true, "after": false} {
		u := testUnit(t)
		running := taskOf(protocol.TaskUninstall)
		u.offer([]protocol.Task{running}, nil)
		it, _, _ := u.next(changing, time.Now())
		p := u.begin(it, func() {})
		if takenBack {
			u.offer(nil, nil)
		}
		u.commandBegins(p)
		u.offer(nil, nil)
		u.ended(p)
		u.postpone(it, time.Now().Add(-time.Second), false)
		u.offer(nil, nil)
		again, ok, _ := u.next(changing, time.Now())
		require.True(t, ok, name)
		require.True(t, again.started, name)
		u.done(again)
		require.Empty(t, u.queue, name)
	}
}

// TestUnit_forgetsWhatIsOfferedNoMore: what is kept of tasks does not grow with them.
func TestUnit_forgetsWhatIsOfferedNoMore(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	task := deployTask(4)
	u.offer([]protocol.Task{task}, nil)
	u.broke(item{task: task}, time.Now(), false)
	u.offer([]protocol.Task{task}, nil)
	require.Len(t, u.broken, 1)
	u.offer(nil, nil)
	require.Empty(t, u.broken)
	require.Empty(t, u.later)
}

func journalled(t *testing.T, u *unit, priority int, states ...protocol.State) *attempt.Attempt {
	t.Helper()
	task := deployTask(priority)
	a, err := attempt.Open(u.store.Dir(), task.Deploy.AttemptID)
	require.NoError(t, err)
	require.NoError(t, a.Begin(task))
	j, _, err := a.Journal()
	require.NoError(t, err)
	for _, state := range states {
		r, err := attempt.NewReport(time.Now(), protocol.DeploymentReport{State: state})
		require.NoError(t, err)
		require.NoError(t, j.Append(attempt.Record{Report: r}))
	}
	require.NoError(t, j.Close())
	return a
}

func TestUnit_goesOnWithWhatTheDiskHolds(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	seven := journalled(t, u, 7, protocol.StateAccepted)
	two := journalled(t, u, 2, protocol.StateAccepted, protocol.StateFetching)
	journalled(t, u, 9, protocol.StateAccepted) // taken back before the agent ended
	require.NoError(t, u.store.SaveState(identity.State{Offered: []string{seven.ID(), two.ID()}}))
	journalled(t, u, 5, protocol.StateAccepted, protocol.StateStarted)
	over := journalled(t, u, 1, protocol.StateAccepted, protocol.StateStarted, protocol.StateFailed)
	require.NoError(t, over.Settle())
	require.Len(t, u.unfinished(), 4)
	u.goOnStarted()
	require.Len(t, u.queue, 1)
	require.Equal(t, 5, u.queue[0].priority())
	u.goOn()
	u.goOn() // may be repeated
	require.Equal(t, []int{5, 2, 7}, drain(u), "begun first, then by priority")
}

// TestUnit_stopsWhatIsTakenBack: as long as its command has not begun.
func TestUnit_stopsWhatIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		offer   bool // the task is offered again
		started bool // by an earlier process
		begins  bool // its command, before the offer
		stopped bool
	}{
		"taken back":                     {stopped: true},
		"still offered":                  {offer: true},
		"taken back after its beginning": {begins: true},
		"begun by an earlier process":    {started: true},
	} {
		u, task, stopped := testUnit(t), deployTask(5), false
		u.offer([]protocol.Task{task}, nil)
		p := u.begin(item{task: task, started: c.started}, func() { stopped = true })
		if c.begins {
			u.commandBegins(p)
		}
		if c.offer {
			u.offer([]protocol.Task{deployTask(3), task}, nil)
		} else {
			u.offer([]protocol.Task{deployTask(3)}, nil)
		}
		require.Equal(t, c.stopped, stopped, name)
		u.ended(p)
		u.offer(nil, nil)
	}
	u, task, stopped := testUnit(t), deployTask(5), false
	u.offer(nil, nil) // came after the task was chosen
	u.begin(item{task: task}, func() { stopped = true })
	require.True(t, stopped)
}

func TestUnit_prunesWhatNobodyNeeds(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	settled := journalled(t, u, 1, protocol.StateAccepted, protocol.StateFailed)
	require.NoError(t, settled.Settle())
	journalled(t, u, 2, protocol.StateAccepted)
	begun := journalled(t, u, 3, protocol.StateStarted)

	require.NoError(t, u.prune(time.Now().Add(-time.Hour)))
	list, err := attempt.List(u.store.Dir())
	require.NoError(t, err)
	require.Len(t, list, 3, "nothing is old enough")

	r, err := attempt.NewReport(time.Now(), protocol.DeploymentReport{DeploymentID: uuid.NewString(), AttemptID: settled.ID(), State: protocol.StateFailed})
	require.NoError(t, err)
	require.NoError(t, u.spool.Add(t.Context(), r))
	require.NoError(t, u.prune(time.Now().Add(time.Hour)))
	list, err = attempt.List(u.store.Dir())
	require.NoError(t, err)
	require.Len(t, list, 3, "reports are not acknowledged yet")

	require.NoError(t, u.spool.Ack(r.ID))
	require.NoError(t, u.prune(time.Now().Add(time.Hour)))
	list, err = attempt.List(u.store.Dir())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, begun.ID(), list[0].ID(), "a begun command is never forgotten")
}

func TestPick_overAllServers(t *testing.T) {
	t.Parallel()
	a, b := testUnit(t), testUnit(t)
	r := &Resident{units: []*unit{a, b}}
	a.offer([]protocol.Task{deployTask(6)}, nil)
	b.offer([]protocol.Task{deployTask(4)}, nil)
	from, it, _ := pick(changing, r.servers(), time.Now())
	require.Same(t, b, from)
	require.Equal(t, 4, it.priority())
	begun := deployTask(9)
	a.postpone(item{task: begun}, time.Time{}, true)
	a.done(item{task: a.queue[0].task})
	from, it, _ = pick(changing, r.servers(), time.Now())
	require.Same(t, a, from)
	require.True(t, it.started, "a begun command goes before everything")
}

func TestProxyEnv_passesNothingElse(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"HTTPS_PROXY=http://p", "no_proxy=x"}, proxyEnv([]string{"SECRET=1", "HTTPS_PROXY=http://p", "no_proxy=x", "PATH=/bin"}))
}

func TestUnit_aTaskThatBreaksDownIsTriedMoreAndMoreSeldom(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	task := deployTask(3)
	u.offer([]protocol.Task{task}, nil)
	now := time.Now()
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		require.Equal(t, want, u.broke(item{task: task}, now, false).Sub(now))
		u.offer([]protocol.Task{task}, nil) // a check-in does not shorten it
		_, ok, again := u.next(changing, now)
		require.False(t, ok)
		require.Equal(t, want, again.Sub(now))
	}
	for range 20 {
		require.LessOrEqual(t, u.broke(item{task: task}, now, false).Sub(now), time.Hour)
	}
	u.done(item{task: task})
	require.Equal(t, time.Minute, u.broke(item{task: task}, now, false).Sub(now))

	// Nor does it when the command has begun, whether the server still names the task or not.
	until := u.broke(item{task: task}, now, true)
	for _, offered := range [][]protocol.Task{{task}, nil} {
		u.offer(offered, nil)
		_, ok, again := u.next(changing, now)
		require.False(t, ok)
		require.Equal(t, until, again)
	}
}

func TestUnit_whatWaitedForTrustGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	u := testUnit(t)
	task := deployTask(3)
	u.offer([]protocol.Task{task}, errors.New("the trust document is refused"))
	require.Equal(t, "the trust document is refused", u.distrust())
	now := time.Now()
	u.postpone(item{task: task}, now.Add(time.Minute), false)
	u.offer([]protocol.Task{task}, errors.New("the trust document is refused"))
	_, ok, _ := u.next(changing, now)
	require.False(t, ok, "asking again with a refused one shortens nothing")

	u.offer([]protocol.Task{task}, nil)
	require.Empty(t, u.distrust())
	_, ok, _ = u.next(changing, now)
	require.True(t, ok)
}

// A server that may not have what modules find does not hear of them.
func TestFacts_nameModulesWhereTheyMayBeHad(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(data, "modules", "ports"), 0o700))
	c := config.Default()
	c.Servers = []config.Server{{Name: "denied", TasksAllowed: &[]string{protocol.TaskInventory}}}
	require.Contains(t, Facts(c, data, "open").Modules, protocol.ModuleFact("ports"))
	require.Equal(t, config.Kinds(), Facts(c, data, "denied").Modules)
}

// A restart makes no check-in before its time because there are modules; one that comes or goes afterwards does.
func TestOutside_tellsOfModulesThatComeOrGo(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	now := time.Now()
	ports, disks := modules.State{Name: "ports", Version: "1", Schedule: "@every 1h"}, modules.State{Name: "disks"}
	o := newOutside(data, filepath.Join(data, "modules"))
	look := func(found ...modules.State) bool {
		tell, err := o.took(found, fmt.Sprint(found), now)
		require.NoError(t, err)
		return tell
	}
	require.True(t, look(ports), "the first of this device")
	o = newOutside(data, filepath.Join(data, "modules")) // a restart
	require.False(t, look(ports))
	ports.Version = "2"
	require.False(t, look(ports), "the facts name names alone")
	require.True(t, look(disks, ports))
	require.True(t, look(disks))
	require.False(t, look(disks))
}

// What a server could not take waits for growing pauses, but no longer than until the server answers.
func TestUnit_sendsWhatModulesFoundWhenTheServerAnswers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	u := &unit{allowed: []string{protocol.TaskInventory}}
	u.sendSoon(now, false)
	require.Zero(t, u.parcel.due, "the server may not have it")
	u.allowed = append(u.allowed, protocol.TaskModule)
	u.answered(now)
	require.Zero(t, u.parcel.due, "there is nothing to send")
	u.parcel.due, u.parcel.problem = now.Add(time.Hour), "no route to host"
	u.answered(now)
	require.Equal(t, now, u.parcel.due)
	u.sendSoon(now.Add(time.Minute), true)
	require.Equal(t, now, u.parcel.due, "it is due already")
	require.True(t, u.parcel.again)
}
