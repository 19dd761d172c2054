package update_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/agent/internal/fragments"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/packages/trust"
)

// device is an enrolled device of a fake server.
type device struct {
	server *agenttest.Server
	data   string
	in     task.Input
	runs   string // the version that runs
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{server: agenttest.New(t), data: t.TempDir(), runs: "1.0.0"}
	store := identity.Open(d.data, "test")
	id, _, err := identity.Enroll(t.Context(), store, d.server.Enrollment(), facts.Read(nil))
	require.NoError(t, err)
	_, err = store.AcceptTrust(id.RootKeyID, d.server.Trust())
	require.NoError(t, err)
	d.in = task.Input{
		DataDir: d.data, Server: "test", ChangeLock: filepath.Join(d.data, "change.lock"),
		Program: launch.Program{Installed: os.Args[0], Version: "1.0.0"},
	}
	return d
}

// program is one that says which version it is.
func program(version string) string {
	return "#!/bin/sh\necho muster-agent " + version + " '(go, any/any)'\n"
}

// result is what a task process told.
type result struct {
	reports []protocol.TaskReport
	end     task.End
}

func (r result) states() string {
	var out []string
	for _, report := range r.reports {
		out = append(out, string(report.State))
	}
	return strings.Join(out, " ")
}

func (r result) last() protocol.TaskReport { return r.reports[len(r.reports)-1] }

// run is a task process, which kills itself after its crash-th new record (0: never).
func (d *device) run(t *testing.T, tk protocol.Task, crash int) (result, error) {
	t.Helper()
	in := d.in
	in.Task = tk
	input, err := json.Marshal(in)
	require.NoError(t, err)
	var r result
	p, err := proc.StartTask(t.Context(), proc.TaskOptions{
		Name: "update", Input: input, Log: os.Stderr,
		Env: []string{"GORACE=atexit_sleep_ms=0", runVersion + "=" + d.runs, fmt.Sprintf("%s=%d", crashAt, crash)},
		Event: func(data json.RawMessage) error {
			var e task.Event
			if err := json.Unmarshal(data, &e); err != nil {
				return err
			}
			if e.Report != nil {
				if err := e.Report.Validate(); err != nil {
					return err
				}
				r.reports = append(r.reports, *e.Report.Task)
			}
			if e.End != nil {
				r.end = *e.End
			}
			return nil
		},
	})
	require.NoError(t, err)
	err = p.Wait()
	return r, err
}

func (d *device) finish(t *testing.T, tk protocol.Task) result {
	t.Helper()
	r, err := d.run(t, tk, 0)
	require.NoError(t, err)
	return r
}

// TestRun_refuses what is not signed for this device, does not run on it, or is not what it says. Nothing of it is
// tried, and the report says that the agent before runs.
func TestRun_refuses(t *testing.T) {
	t.Parallel()
	stranger, err := trust.GenerateKey()
	require.NoError(t, err)
	good := program("1.1.0")
	for name, c := range map[string]struct {
		task   func(d *device) protocol.Task
		before func(d *device)
		state  protocol.State
		reason protocol.Reason
		out    protocol.UpdateOutcome
		says   string
	}{
		"by an author's key": {
			task:  func(d *device) protocol.Task { return d.server.Release(t, "1.1.0", good, nil, d.server.Key) },
			state: protocol.StateRefused, reason: protocol.ReasonRole},
		"by an unknown key": {
			task:  func(d *device) protocol.Task { return d.server.Release(t, "1.1.0", good, nil, stranger) },
			state: protocol.StateRefused, reason: protocol.ReasonSignature},
		"another release than the task names": {
			task: func(d *device) protocol.Task {
				tk := d.server.Release(t, "1.1.0", good, nil)
				tk.Update.Version = "1.2.0"
				return tk
			}, state: protocol.StateRefused, reason: protocol.ReasonMismatch},
		"for other computers": {
			task: func(d *device) protocol.Task {
				return d.server.Release(t, "1.1.0", good, func(r *release.Release) { r.Builds[0].Arch = "riscv64" })
			}, state: protocol.StateNotApplicable, reason: protocol.ReasonRequirements, says: "riscv64"},
		"the version that runs": {
			task:  func(d *device) protocol.Task { return d.server.Release(t, "1.0.0", program("1.0.0"), nil) },
			state: protocol.StateSucceeded, reason: protocol.ReasonDone, out: protocol.UpdateNotNeeded},
		"an older version": {
			task:  func(d *device) protocol.Task { return d.server.Release(t, "0.9.0", program("0.9.0"), nil) },
			state: protocol.StateRefused, reason: protocol.ReasonOlderVersion},
		"an older version, signed to replace another": {
			task: func(d *device) protocol.Task {
				return d.server.Release(t, "0.9.0", program("0.9.0"), func(r *release.Release) { r.DowngradeFrom = []string{"0.9.9"} })
			}, state: protocol.StateRefused, reason: protocol.ReasonOlderVersion},
		"older than the installed one, though not than the one that runs": {
			task: func(d *device) protocol.Task { return d.server.Release(t, "1.1.0", good, nil) },
			before: func(d *device) {
				d.in.Program.Version, d.in.Program.Slot = "1.2.0", "a"
			}, state: protocol.StateRefused, reason: protocol.ReasonOlderVersion, says: "1.2.0"},
		"expired": {
			task: func(d *device) protocol.Task {
				return d.server.Release(t, "1.1.0", good, func(r *release.Release) { r.Stamp(time.Now().Add(-48*time.Hour), 24*time.Hour) })
			}, state: protocol.StateExpired, reason: protocol.ReasonSignAgain},
		"an archive with more in it": {
			task: func(d *device) protocol.Task {
				return d.server.ReleaseOf(t, "1.1.0", good, agenttest.TarGz(t, map[string]string{"muster-agent": good, "more": "x"}), nil)
			}, state: protocol.StateRefused, reason: protocol.ReasonArchive},
		"an archive with something else in it": {
			task: func(d *device) protocol.Task {
				return d.server.ReleaseOf(t, "1.1.0", good, agenttest.TarGz(t, map[string]string{"agent": good}), nil)
			}, state: protocol.StateRefused, reason: protocol.ReasonArchive},
		"another program than is signed": {
			task: func(d *device) protocol.Task {
				other := strings.Replace(good, "any/any", "ANY/ANY", 1)
				return d.server.ReleaseOf(t, "1.1.0", good, agenttest.TarGz(t, map[string]string{"muster-agent": other}), nil)
			}, state: protocol.StateRefused, reason: protocol.ReasonDigest},
		"a longer program than is signed": {
			task: func(d *device) protocol.Task {
				return d.server.ReleaseOf(t, "1.1.0", good, agenttest.TarGz(t, map[string]string{"muster-agent": good + good}), nil)
			}, state: protocol.StateRefused, reason: protocol.ReasonArchive},
		"no program": {
			task:  func(d *device) protocol.Task { return d.server.Release(t, "1.1.0", "\x7fELF, mislabelled", nil) },
			state: protocol.StateFailed, reason: protocol.ReasonCannotStart},
		"a program that fails": {
			task:  func(d *device) protocol.Task { return d.server.Release(t, "1.1.0", "#!/bin/sh\nexit 7\n", nil) },
			state: protocol.StateFailed, reason: protocol.ReasonCannotStart, says: "exit code 7"},
		"a program of another version": {
			task:  func(d *device) protocol.Task { return d.server.Release(t, "1.1.0", program("1.2.0"), nil) },
			state: protocol.StateRefused, reason: protocol.ReasonMismatch},
		"the installed program has gone": {
			task:   func(d *device) protocol.Task { return d.server.Release(t, "1.1.0", good, nil) },
			before: func(d *device) { d.in.Program.Installed += ".gone" },
			state:  protocol.StateFailed, reason: protocol.ReasonDeviceError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			tk := c.task(d)
			if c.before != nil {
				c.before(d)
			}
			r := d.finish(t, tk)
			last := r.last()
			require.Equal(t, c.state, last.State, last.Message)
			require.Equal(t, c.reason, last.Reason, last.Message)
			require.Equal(t, c.state, r.end.State)
			require.False(t, r.end.Restart)
			require.Contains(t, last.Message, c.says)
			if c.out == "" {
				c.out = protocol.UpdateKept
			}
			require.Equal(t, &protocol.UpdateResult{From: "1.0.0", To: tk.Update.Version, Outcome: c.out}, last.Update)
			s, err := launch.Load(d.data)
			require.NoError(t, err)
			require.Zero(t, s, "the launcher knows nothing of it")
			require.NoFileExists(t, launch.Staging(d.data))
			require.Equal(t, r.reports, d.finish(t, tk).reports, "asked again, it says the same")
		})
	}
}

// conclude is the launcher's judgement.
func (d *device) conclude(t *testing.T, tk protocol.Task, outcome protocol.UpdateOutcome, reason protocol.Reason) {
	t.Helper()
	require.NoError(t, launch.Conclude(d.data, launch.Outcome{
		Task: tk.ID, From: "1.0.0", To: tk.Update.Version, Outcome: outcome, Reason: reason, Message: "judged",
	}))
}

// TestRun_crashAtEveryRecord kills the task process after each record in turn. The next one goes on; the program is
// staged and armed once, and the launcher's judgement is reported once.
func TestRun_crashAtEveryRecord(t *testing.T) {
	t.Parallel()
	for n, record := range strings.Fields("none accepted started succeeded") {
		t.Run(record, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			tk := d.server.Release(t, "1.1.0", program("1.1.0"), nil)
			tk.Update.ProbationSeconds = 77
			if n > 0 && n < 3 {
				_, err := d.run(t, tk, n)
				require.Error(t, err, "the process was killed")
				s, err := launch.Load(d.data)
				require.NoError(t, err)
				require.True(t, s.Trial == nil || !s.Trial.Armed, "not before it is journalled")
			}
			r := d.finish(t, tk)
			require.Equal(t, "accepted started", r.states())
			require.True(t, r.end.Restart)
			s, err := launch.Load(d.data)
			require.NoError(t, err)
			require.True(t, s.Trial.Armed)
			require.Equal(t, launch.Trial{
				Slot: launch.Slot{Name: "a", Version: "1.1.0", SHA256: s.Trial.SHA256, Size: s.Trial.Size},
				Task: tk.ID, Server: "test", From: "1.0.0", Armed: true, ProbationMS: 77_000,
			}, *s.Trial)
			require.NoError(t, s.Trial.Check(d.data))
			left, err := os.ReadDir(fragments.Dir(d.data, false))
			require.NoError(t, err)
			require.Empty(t, left, "fragments that nobody needs")
			require.True(t, d.finish(t, tk).end.Restart, "until the launcher has judged, it is to judge")

			d.conclude(t, tk, protocol.UpdateInstalled, protocol.ReasonDone)
			d.runs, d.in.Program.Slot = "1.1.0", "a"
			if record == "succeeded" {
				_, err := d.run(t, tk, 1)
				require.Error(t, err, "the process was killed")
			}
			r = d.finish(t, tk)
			require.Equal(t, "accepted started succeeded", r.states())
			require.Equal(t, &protocol.UpdateResult{From: "1.0.0", To: "1.1.0", Outcome: protocol.UpdateInstalled}, r.last().Update)
			require.False(t, r.end.Restart)
		})
	}
}

// TestRun_tellsWhatTheLauncherDecided, also where the launcher could not keep it, or its state is lost.
func TestRun_tellsWhatTheLauncherDecided(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then   func(d *device, tk protocol.Task, s launch.State)
		state  protocol.State
		reason protocol.Reason
		out    protocol.UpdateOutcome
	}{
		"rolled back": {
			then: func(d *device, tk protocol.Task, _ launch.State) {
				d.conclude(t, tk, protocol.UpdateRolledBack, protocol.ReasonProbation)
			}, state: protocol.StateFailed, reason: protocol.ReasonProbation, out: protocol.UpdateRolledBack},
		"a higher one was installed": {
			then: func(d *device, tk protocol.Task, _ launch.State) {
				d.conclude(t, tk, protocol.UpdateKept, protocol.ReasonOlderVersion)
			}, state: protocol.StateRefused, reason: protocol.ReasonOlderVersion, out: protocol.UpdateKept},
		"given up on a full disk": {
			then:  func(d *device, _ protocol.Task, s launch.State) { require.NoError(t, os.Remove(s.Trial.Path(d.data))) },
			state: protocol.StateFailed, reason: protocol.ReasonDeviceError, out: protocol.UpdateKept},
		"it runs, but that could not be kept": {
			then:  func(d *device, _ protocol.Task, s launch.State) { d.runs, d.in.Program.Slot = "1.1.0", s.Trial.Name },
			state: protocol.StateSucceeded, reason: protocol.ReasonDone, out: protocol.UpdateInstalled},
		"the state is lost": {
			then: func(d *device, _ protocol.Task, _ launch.State) {
				require.NoError(t, os.RemoveAll(filepath.Join(d.data, launch.Folder)))
			}, state: protocol.StateInterrupted, reason: protocol.ReasonNoStatus, out: protocol.UpdateKept},
		"the state is lost, and it runs": {
			then: func(d *device, _ protocol.Task, _ launch.State) {
				require.NoError(t, os.WriteFile(filepath.Join(d.data, launch.Folder, "state.json"), []byte("damaged"), 0o600))
				d.runs = "1.1.0"
			}, state: protocol.StateSucceeded, reason: protocol.ReasonDone, out: protocol.UpdateInstalled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			tk := d.server.Release(t, "1.1.0", program("1.1.0"), nil)
			require.True(t, d.finish(t, tk).end.Restart)
			s, err := launch.Load(d.data)
			require.NoError(t, err)
			c.then(d, tk, s)
			r := d.finish(t, tk)
			last := r.last()
			require.Equal(t, c.state, last.State, last.Message)
			require.Equal(t, c.reason, last.Reason, last.Message)
			require.Equal(t, c.out, last.Update.Outcome)
			require.Equal(t, c.state, r.end.State)
			if s, err := launch.Load(d.data); err == nil {
				require.Nil(t, s.Trial, "nothing is left to be tried")
			}
		})
	}
}

// TestRun_waits for the line, for a change of the computer that goes on, and for a sound trust document; then it goes on.
func TestRun_waits(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	tk := d.server.Release(t, "0.9.0", program("0.9.0"), func(r *release.Release) { r.DowngradeFrom = []string{"1.0.0"} })
	waits := func(reason protocol.Reason) {
		t.Helper()
		r := d.finish(t, tk)
		require.Equal(t, protocol.StateWaiting, r.end.State)
		require.Equal(t, reason, r.last().Reason, r.last().Message)
		require.NotNil(t, r.last().NextTry)
		require.Nil(t, r.last().Update)
	}
	d.in.Untrusted = "a trust document was refused"
	waits(protocol.ReasonTrust)
	d.in.Untrusted = ""
	d.server.Lock()
	d.server.Fail = func(_ http.ResponseWriter, r *http.Request) int {
		if strings.HasPrefix(r.URL.Path, protocol.PathRelease) {
			return http.StatusNotFound
		}
		return 0
	}
	d.server.Unlock()
	waits(protocol.ReasonStalled)
	d.server.Lock()
	d.server.Fail = nil
	d.server.Unlock()
	lock, _, err := proc.TryLock(d.in.ChangeLock, "test")
	require.NoError(t, err)
	waits(protocol.ReasonBusy)
	require.NoError(t, lock.Unlock())
	r := d.finish(t, tk)
	require.True(t, r.end.Restart, "%+v", r)
	s, err := launch.Load(d.data)
	require.NoError(t, err)
	require.Equal(t, "1.0.0", s.Trial.Over, "the launcher knows over which installed agent it may run")
}

// TestRun_asksAProgramAgain that something has killed: a computer that runs out of memory says nothing of a release.
func TestRun_asksAProgramAgain(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	asked := filepath.Join(d.data, "asked")
	killed := "#!/bin/sh\n[ -e '" + asked + "' ] || { : >'" + asked + "'; kill -9 $$; }\n" + strings.TrimPrefix(program("1.1.0"), "#!/bin/sh\n")
	r := d.finish(t, d.server.Release(t, "1.1.0", killed, nil))
	require.True(t, r.end.Restart, "%+v", r)
	require.FileExists(t, asked)
}

// TestRun_archiveLimits: the archive is as hostile as any; nothing of it is written outside the staging folder.
func TestRun_archiveLimits(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	good := program("1.1.0")
	tk := d.server.ReleaseOf(t, "1.1.0", good, agenttest.TarGz(t, map[string]string{"../../muster-agent": good}), nil)
	r := d.finish(t, tk)
	require.Equal(t, protocol.ReasonArchive, r.last().Reason)
	require.NoFileExists(t, filepath.Join(d.data, release.ProgramName(runtime.GOOS)))
}
