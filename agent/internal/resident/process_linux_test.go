package resident

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/protocol"
)

// TestMain makes the test binary what the agent's main function is to the resident: started again as
// `task NAME` it is a task that writes its beginning and its end down, and waits in between while there is a
// file that says so. It ends without the second that a program built with the race detector otherwise takes.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == proc.ArgTask {
		syscall.Exit(task.Main(os.Args[2], map[string]task.Func{
			protocol.TaskUninstall: marking, protocol.TaskRemove: marking, protocol.TaskDeploy: marking, protocol.TaskInventory: marking,
			protocol.TaskUpdate: marking,
		}, os.Stderr))
	}
	os.Exit(m.Run())
}

// marking is the task of these tests.
func marking(ctx context.Context, in task.Input, emit task.Emit, _ *slog.Logger) error {
	t := in.Task
	mark := func(what string) error {
		f, err := os.OpenFile(filepath.Join(in.DataDir, "ledger"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(f, "%s %s %s\n", what, t.Kind, in.Server)
		return err
	}
	if err := mark("begin"); err != nil {
		return err
	}
	holds := func(name string) bool {
		_, err := os.Stat(filepath.Join(in.DataDir, "hold-"+name))
		return err == nil
	}
	for holds(t.Kind) || holds(t.Kind+"-"+in.Server) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := mark("end"); err != nil {
		return err
	}
	if t.Kind == protocol.TaskUpdate {
		return emit(task.Event{End: &task.End{State: protocol.StateWaiting, Restart: true}})
	}
	if holds("result-" + t.Kind) {
		return emit(task.Event{End: &task.End{State: protocol.StateWaiting}})
	}
	if t.Work() == "" {
		return emit(task.Event{End: &task.End{State: protocol.StateSucceeded, Sent: 1000}})
	}
	a, err := attempt.Open(identity.Open(in.DataDir, in.Server).Dir(), t.Work())
	if err != nil {
		return err
	}
	if err := a.Begin(t); err != nil {
		return err
	}
	r, err := attempt.NewTaskReport(time.Now(), protocol.TaskReport{TaskID: t.ID, Kind: t.Kind, State: protocol.StateSucceeded, Reason: protocol.ReasonDone})
	if d := t.Deploy; d != nil {
		r, err = attempt.NewReport(time.Now(), protocol.DeploymentReport{DeploymentID: d.DeploymentID, AttemptID: d.AttemptID, State: protocol.StateSucceeded, Reason: protocol.ReasonExitCode})
	}
	if err != nil {
		return err
	}
	if err := emit(task.Event{Report: &r}); err != nil {
		return err
	}
	return emit(task.Event{End: &task.End{State: protocol.StateSucceeded}})
}

// bench is a resident with servers, in this process; its tasks are processes of their own.
type bench struct {
	t       *testing.T
	data    string
	config  config.Config
	servers map[string]*agenttest.Server
	log     lockedLog
	r       *Resident
}

type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newBench(t *testing.T, servers ...string) *bench {
	t.Helper()
	b := &bench{t: t, data: t.TempDir(), config: config.Default(), servers: map[string]*agenttest.Server{}}
	b.config.Listener.Enabled = false
	for _, name := range servers {
		b.enroll(name)
	}
	return b
}

// enroll makes this device one of a new server.
func (b *bench) enroll(name string) *agenttest.Server {
	b.t.Helper()
	s := agenttest.New(b.t)
	b.servers[name] = s
	_, _, err := identity.Enroll(b.t.Context(), identity.Open(b.data, name), s.Enrollment(), protocol.Facts{})
	require.NoError(b.t, err)
	return s
}

// run starts the resident; it is stopped at the end of the test, or by stop.
func (b *bench) run() (stop func()) {
	b.t.Helper()
	var err error
	b.r, err = New(Options{DataDir: b.data, Config: b.config, Log: slog.New(slog.NewTextHandler(&b.log, nil))})
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.r.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(b.t, <-done)
			require.NoError(b.t, b.r.Close())
		})
	}
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) hold(kind string) (release func()) {
	path := filepath.Join(b.data, "hold-"+kind)
	require.NoError(b.t, os.WriteFile(path, nil, 0o600))
	return func() { require.NoError(b.t, os.Remove(path)) }
}

func (b *bench) ledger() []string {
	data, err := os.ReadFile(filepath.Join(b.data, "ledger"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func (b *bench) await(what string, is func() bool) {
	b.t.Helper()
	defer func() {
		if b.t.Failed() {
			b.t.Logf("ledger %q, log:\n%s", b.ledger(), &b.log)
		}
	}()
	require.Eventually(b.t, is, 2*agenttest.Deadline, 10*time.Millisecond, what)
}

func (b *bench) awaitLedger(lines ...string) {
	b.t.Helper()
	b.await(fmt.Sprintf("%q is written down", lines), func() bool {
		have := b.ledger()
		return !slices.ContainsFunc(lines, func(line string) bool { return !slices.Contains(have, line) })
	})
}

// changes leaves out what changes nothing.
func changes(ledger []string) []string {
	return slices.DeleteFunc(ledger, func(line string) bool { return strings.Contains(line, protocol.TaskInventory) })
}

func TestRun_changesOfTwoServersGoOneAfterAnotherWhileInventoriesRunBeside(t *testing.T) {
	t.Parallel()
	b := newBench(t, "a", "b")
	free := b.hold(protocol.TaskUninstall)
	one, two := taskOf(protocol.TaskUninstall), taskOf(protocol.TaskUninstall)
	b.servers["a"].Offer(one, deployTask(3))
	b.servers["b"].Offer(two, deployTask(1))
	b.run()
	b.await("an uninstall begins", func() bool { return len(changes(b.ledger())) == 1 })
	b.awaitLedger("end inventory a", "end inventory b") // beside the change that waits
	asked := taskOf(protocol.TaskInventory)
	b.servers["b"].Offer(two, asked)
	b.servers["b"].Wakeup()
	b.await("an inventory that was asked for", func() bool {
		return slices.Contains(b.servers["b"].TaskStates(asked.ID), "succeeded/done")
	})
	require.Len(t, changes(b.ledger()), 1, "one change at a time")
	b.servers["b"].Offer(two, deployTask(1))
	free()
	b.awaitLedger("end deploy a", "end deploy b")
	ledger := changes(b.ledger())
	for n := 0; n < len(ledger); n += 2 {
		require.Equal(t, strings.TrimPrefix(ledger[n], "begin "), strings.TrimPrefix(ledger[n+1], "end "), "one after another: %q", ledger)
	}
	require.Contains(t, ledger[2], "uninstall", "uninstalling goes before packages, over all servers: %q", ledger)
	for _, name := range []string{"a", "b"} {
		require.Equal(t, 1, strings.Count(strings.Join(ledger, "\n"), "end uninstall "+name), "%q", ledger)
	}
}

func TestRun_makesInventoriesWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	b := newBench(t, "denied", "open")
	b.config.Servers = []config.Server{{Name: "denied", TasksAllowed: &[]string{protocol.TaskDeploy}}}
	count := func() int { return strings.Count(strings.Join(b.ledger(), "\n"), "end inventory open") }
	stop := b.run()
	b.await("one right after enrollment", func() bool { return count() >= 1 })
	b.servers["open"].Offer(deployTask(5))
	b.servers["open"].Wakeup()
	b.await("another after a change", func() bool { return count() >= 2 })
	b.await("the next is planned", func() bool { return identity.Open(b.data, "open").LoadPlan().Next.After(time.Now().Add(5 * time.Hour)) })
	stop()

	// A restart makes none before its time, and a start of the computer one.
	store := identity.Open(b.data, "open")
	plan := store.LoadPlan()
	require.NotZero(t, plan.Last)
	u := &unit{store: store, allowed: config.Kinds()}
	sched, err := b.config.ScheduleOf("open")
	require.NoError(t, err)
	now := time.Now()
	require.NoError(t, store.SavePlan(identity.Plan{Next: now.Add(10 * time.Minute), Last: now, BootID: "one"}))
	u.planInventories(sched, 0, "one", now)
	at, wanted := u.inventoryAt()
	require.True(t, wanted)
	require.WithinDuration(t, now.Add(10*time.Minute), at, time.Second)
	u.planInventories(sched, 0, "another", now)
	at, _ = u.inventoryAt()
	require.WithinDuration(t, now, at, time.Minute+time.Second)
	require.NoError(t, store.SavePlan(identity.Plan{Next: now.AddDate(10, 0, 0), Last: now, BootID: "one"}))
	u.planInventories(sched, 0, "one", now)
	at, _ = u.inventoryAt()
	require.WithinDuration(t, now, at, time.Hour, "nobody waits for the years of a clock that was wrong")
	require.NotContains(t, strings.Join(b.ledger(), "\n"), "inventory denied")
}

// With each inventory a server is told again of what modules found, but for one that may not have it.
func TestTakeInventory_namesModulesWhereTheyMayBeHad(t *testing.T) {
	t.Parallel()
	b := newBench(t, "denied", "open")
	b.config.Servers = []config.Server{{Name: "denied", TasksAllowed: &[]string{protocol.TaskInventory}}}
	r, err := New(Options{DataDir: b.data, Config: b.config, Log: slog.New(slog.NewTextHandler(&b.log, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	r.outside.found = []modules.State{{Name: "ports"}}
	for _, u := range r.servers() {
		r.takeInventory(t.Context(), u)
		require.Contains(t, b.ledger(), "end inventory "+u.name)
		require.Equal(t, u.name == "open", !u.parcel.due.IsZero(), u.name)
		require.Equal(t, u.name == "open", u.parcel.again, u.name)
	}
}

func TestRun_measuresItself(t *testing.T) {
	t.Parallel()
	b := newBench(t, "a")
	stop := b.run()
	b.awaitLedger("end inventory a")
	server := b.servers["a"]
	b.await("the octets of a task are told", func() bool {
		server.Wakeup()
		list := server.CheckIns()
		if len(list) == 0 {
			return false
		}
		f := list[len(list)-1].Footprint
		return f != nil && f.SentBytes > 1000 && f.ReceivedBytes > 0
	})
	list := server.CheckIns()
	f := list[len(list)-1].Footprint
	require.Positive(t, f.RSSBytes)
	require.GreaterOrEqual(t, f.RSSHighBytes, f.RSSBytes)
	require.Positive(t, f.TaskHighBytes)
	require.Positive(t, f.CPUMS)
	facts := 0
	for _, in := range list {
		if in.Facts != nil {
			facts++
			require.Equal(t, config.Kinds(), in.Facts.Modules)
		}
	}
	require.LessOrEqual(t, facts, 1, "what it costs is no fact that changed")
	b.await("it is planned", func() bool { return !identity.Open(b.data, "a").LoadPlan().Last.IsZero() })
	stop()
	s, err := ReadStatus(b.data)
	require.NoError(t, err)
	require.Positive(t, s.Footprint.SentBytes)
	require.Equal(t, s.Footprint.SentBytes, s.Servers[0].SentBytes)
	require.NotZero(t, s.Servers[0].LastInventory)
	data, err := json.Marshal(s)
	require.NoError(t, err)
	require.Contains(t, string(data), `"tasks_allowed":["deploy","inventory",`)
}
