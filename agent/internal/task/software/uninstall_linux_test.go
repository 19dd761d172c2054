package software

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/protocol"
)

// computer is a folder that looks like a Debian system, with a dpkg of shell that works on it.
type computer struct {
	t              *testing.T
	root, programs string
	data           string
}

// fakeDpkg takes stanzas out of the status file, as dpkg does, and writes into the ledger what it was asked.
// A file fail/NAME makes it fail and keep the package, half/NAME makes it fail though the package is gone,
// lie/NAME makes it say that all is well, gate/NAME lets it wait for that file to go. With a file locked it
// does not get to work.
const fakeDpkg = `#!/bin/sh
root="${1#--root=}"
name="${4%%:*}"
[ "$2 $3" = "--remove --" ] || { echo "asked for: $*" >&2; exit 9; }
[ -e "$root/locked" ] && { echo "dpkg: error: dpkg frontend lock was locked by another process" >&2; exit 2; }
echo "$name" >>"$root/ledger"
while [ -e "$root/gate/$name" ]; do sleep 0.02; done
[ -e "$root/fail/$name" ] && { echo "Removing $name ..."; echo "prerm returned error exit status 1" >&2; exit 1; }
[ -e "$root/lie/$name" ] && exit 0
status="$root/var/lib/dpkg/status"
awk -v name="$name" 'BEGIN { RS=""; ORS="\n\n" } $0 !~ "^Package: " name "\n" { print }' "$status" >"$status.new"
mv "$status.new" "$status"
[ -e "$root/half/$name" ] && exit 1
exit 0
`

func newComputer(t *testing.T, packages ...string) *computer {
	t.Helper()
	base := t.TempDir()
	c := &computer{t: t, root: filepath.Join(base, "root"), programs: filepath.Join(base, "bin"), data: filepath.Join(base, "data")}
	for _, dir := range []string{"etc", "var/lib/dpkg/info", "fail", "lie", "gate", "half"} {
		require.NoError(t, os.MkdirAll(filepath.Join(c.root, dir), 0o755))
	}
	require.NoError(t, os.MkdirAll(c.programs, 0o755))
	require.NoError(t, os.MkdirAll(c.data, 0o700))
	c.program("dpkg", fakeDpkg)
	c.program("dpkg-query", "#!/bin/sh\nexit 1\n")
	c.write("etc/os-release", "ID=debian\n")
	c.write("var/lib/dpkg/status", strings.Join(packages, "\n"))
	return c
}

func (c *computer) write(name, text string) {
	c.t.Helper()
	require.NoError(c.t, os.WriteFile(filepath.Join(c.root, name), []byte(text), 0o600))
}

// program makes a program, by another process: one that this process held open for writing could not be
// started while some other test forks.
func (c *computer) program(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.programs, name)
	require.NoError(c.t, os.WriteFile(path+".text", []byte(text), 0o600))
	_, code, err := proc.Output(c.t.Context(), []string{"install", "-m", "755", path + ".text", path}, "", nil, time.Minute)
	require.NoError(c.t, err)
	require.Zero(c.t, code)
}

// ledger is what the package manager was asked to remove.
func (c *computer) ledger() string {
	data, _ := os.ReadFile(filepath.Join(c.root, "ledger"))
	return strings.Join(strings.Fields(string(data)), " ")
}

// stanza is a package; more are further fields.
func stanza(name string, more ...string) string {
	return strings.Join(append([]string{"Package: " + name, "Status: install ok installed", "Version: 1.0", "Architecture: amd64"}, more...), "\n") + "\n"
}

func key(name string) string { return "pkg:deb/debian/" + name + "@1.0?arch=amd64" }

func uninstallTask(names ...string) protocol.Task {
	t := protocol.Task{ID: uuid.NewString(), Kind: protocol.TaskUninstall, Uninstall: &protocol.UninstallTask{}}
	for _, name := range names {
		if !strings.HasPrefix(name, "pkg:") {
			name = key(name)
		}
		t.Uninstall.Software = append(t.Uninstall.Software, name)
	}
	return t
}

func (c *computer) input(tk protocol.Task) task.Input {
	return task.Input{DataDir: c.data, Server: "test", ChangeLock: filepath.Join(c.data, "change.lock"), Task: tk}
}

// told is what a run of the task told.
type told struct {
	reports []protocol.Report
	end     task.End
}

func (r *told) take(e task.Event) error {
	if e.Report != nil {
		r.reports = append(r.reports, *e.Report)
	}
	if e.End != nil {
		r.end = *e.End
	}
	return nil
}

func (r *told) last() *protocol.TaskReport { return r.reports[len(r.reports)-1].Task }

func (r *told) states() string {
	var out []string
	for _, report := range r.reports {
		out = append(out, string(report.Task.State))
	}
	return strings.Join(out, " ")
}

// statuses are the items of the last report, as "name=status".
func (r *told) statuses() string {
	var out []string
	for _, item := range r.last().Items {
		name := item.ID
		if ref, err := Parse(item.ID); err == nil {
			name = ref.Name
		}
		out = append(out, name+"="+string(item.Status))
	}
	return strings.Join(out, " ")
}

func (r *told) item(name string) protocol.TaskItem {
	for _, item := range r.last().Items {
		if ref, err := Parse(item.ID); err == nil && ref.Name == name {
			return item
		}
	}
	return protocol.TaskItem{}
}

// run runs the task within this process; its commands have runners of their own all the same.
func (c *computer) run(tk protocol.Task) *told {
	c.t.Helper()
	r := &told{}
	p := &Uninstaller{Root: c.root, Programs: c.programs}
	require.NoError(c.t, p.Run(c.t.Context(), c.input(tk), r.take, slog.New(slog.DiscardHandler)))
	for _, report := range r.reports {
		require.NoError(c.t, report.Validate())
	}
	require.Equal(c.t, r.last().State, r.end.State)
	return r
}

// process runs the task as a process of its own, which kills itself after its crash-th new record (0: never).
func (c *computer) process(tk protocol.Task, crash int) (*told, error) {
	c.t.Helper()
	p, r := c.start(tk, crash)
	err := p.Wait()
	return r, err
}

func (c *computer) start(tk protocol.Task, crash int) (*proc.Task, *told) {
	c.t.Helper()
	input, err := json.Marshal(c.input(tk))
	require.NoError(c.t, err)
	r := &told{}
	p, err := proc.StartTask(c.t.Context(), proc.TaskOptions{
		Name: "uninstall", Input: input, Log: os.Stderr,
		Env: []string{testRoot + "=" + c.root, testPrograms + "=" + c.programs, testCrashAt + "=" + strconv.Itoa(crash), endAtOnce},
		Event: func(data json.RawMessage) error {
			var e task.Event
			if err := json.Unmarshal(data, &e); err != nil {
				return err
			}
			return r.take(e)
		},
	})
	require.NoError(c.t, err)
	return p, r
}

func TestUninstall_statuses(t *testing.T) {
	t.Parallel()
	c := newComputer(t,
		stanza("good"), stanza("fails"), stanza("gone-anyway"), stanza("liar"),
		stanza("library", "Provides: virtual (= 1)"), stanza("tool", "Depends: nothing | virtual"), stanza("suite", "Pre-Depends: tool (>= 1)"),
		stanza("base", "Essential: yes"), stanza("kept-by-admin"), stanza("muster-agent"), stanza("ours-under-another-name"),
		strings.Replace(stanza("broken"), "ok installed", "ok half-configured", 1),
		strings.Replace(stanza("newer"), "1.0", "2.0", 1),
		strings.Replace(stanza("left-its-settings"), "install ok installed", "deinstall ok config-files", 1),
	)
	self, err := os.Executable()
	require.NoError(t, err)
	c.program("dpkg-query", "#!/bin/sh\necho \"other, ours-under-another-name:amd64: "+self+"\"\n")
	require.NoError(t, os.WriteFile(filepath.Join(c.data, "agent.json"), []byte(`{"uninstall": {"protected": ["*-by-admin"]}}`), 0o600))
	c.write("fail/fails", "")
	c.write("half/gone-anyway", "")
	c.write("lie/liar", "")

	r := c.run(uninstallTask("good", "fails", "gone-anyway", "liar", "library", "base", "kept-by-admin", "muster-agent", "ours-under-another-name",
		"broken", "newer", "left-its-settings", "never-there", "good", "pkg:generic/firmware@1?source=unheard-of"))
	require.Equal(t, strings.Fields(`good=removed fails=failed gone-anyway=removed liar=failed library=needed base=protected
		kept-by-admin=protected muster-agent=protected ours-under-another-name=protected broken=removed newer=not_installed
		left-its-settings=not_installed never-there=not_installed firmware=unsupported`), strings.Fields(r.statuses()), "each once, in the order asked for")
	require.Equal(t, "good fails gone-anyway liar broken", c.ledger(), "nothing was asked of dpkg for the others")
	require.Equal(t, protocol.StateFailed, r.last().State)
	require.Equal(t, protocol.ReasonItems, r.last().Reason)
	require.Equal(t, "3 of 14 programs removed, 3 not installed, 2 failed, 1 needed by others, 4 protected, "+
		"1 of a source that this agent cannot uninstall from", r.last().Message)

	require.Equal(t, []string{"suite", "tool"}, r.item("library").Others, "also who needs those that need it")
	require.Contains(t, r.item("library").Message, "needed by suite, tool")
	require.Equal(t, 1, *r.item("fails").ExitCode)
	require.Contains(t, r.item("fails").Output, "prerm returned error exit status 1")
	require.Positive(t, r.item("fails").DurationMS)
	require.Contains(t, r.item("gone-anyway").Message, "is gone, though the command ended with exit code 1")
	require.Contains(t, r.item("liar").Message, "ended well, but liar 1.0 is still there")
	require.Contains(t, r.item("newer").Message, "newer 1.0 is not installed; there is 2.0")
	require.Contains(t, r.item("kept-by-admin").Message, `"*-by-admin"`)
	require.Empty(t, r.item("good").Output)

	started := 0
	for n, report := range r.reports[1:] {
		require.Len(t, report.Task.Items, n, "each report has what is done so far, the last all")
		if report.Task.State == protocol.StateStarted {
			started++
		}
	}
	require.Equal(t, 14, started)
	require.Equal(t, "accepted", string(r.reports[0].Task.State))
}

func TestUninstall_whatWasNotReportedIsRefused(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("good"))
	for _, bad := range []string{
		"good", "pkg:deb/debian/good@1.0?arch=amd64;reboot", "pkg:deb/debian/good@1.0%3brm?arch=amd64", "pkg:deb/Debian/good@1.0?arch=amd64",
		"pkg:unknown/good@1.0", "--force", "pkg:deb/debian/@1.0", "pkg:" + strings.Repeat("x", 500),
	} {
		tk := uninstallTask("good")
		tk.Uninstall.Software = append(tk.Uninstall.Software, bad)
		r := c.run(tk)
		require.Equal(t, "refused", r.states(), bad)
		require.Equal(t, protocol.ReasonNotReported, r.last().Reason)
	}
	// A well-formed key of a name that no package has is nothing that is there.
	for _, odd := range []string{"pkg:deb/debian/--force-all@1.0?arch=amd64", "pkg:deb/debian/a%20b@1.0?arch=amd64", "pkg:deb/debian/..%2F..@1"} {
		r := c.run(uninstallTask(odd))
		require.Equal(t, protocol.ItemNotInstalled, r.last().Items[0].Status, odd)
	}
	require.Empty(t, c.ledger())
}

// TestUninstall_namesThatNoPackageHasReachNoCommand plants a database that says otherwise.
func TestUninstall_namesThatNoPackageHasReachNoCommand(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("--admindir=x"), stanza("two words"), stanza("good"))
	r := c.run(uninstallTask("pkg:deb/debian/--admindir%3Dx@1.0?arch=amd64", "pkg:deb/debian/two%20words@1.0?arch=amd64", "good"))
	require.Equal(t, "--admindir=x=failed two words=failed good=removed", r.statuses())
	require.Contains(t, r.last().Items[0].Message, "no name that a program of dpkg could have")
	require.Equal(t, "good", c.ledger())
}

func TestUninstall_dependantsOfTheSameTaskGoFirst(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("library"), stanza("tool", "Depends: library"), stanza("suite", "Depends: tool"), stanza("ring-a", "Depends: ring-b"), stanza("ring-b", "Depends: ring-a"))
	r := c.run(uninstallTask("library", "ring-a", "tool", "suite", "ring-b"))
	require.Equal(t, "library=removed ring-a=needed tool=removed suite=removed ring-b=needed", r.statuses())
	require.Equal(t, "suite tool library", c.ledger())
}

func TestUninstall_stopsAtTheFirstFailureOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	for stop, want := range map[bool]string{
		false: "absent=not_installed fails=failed good=removed", true: "absent=not_installed fails=failed good=skipped",
	} {
		c := newComputer(t, stanza("fails"), stanza("good"))
		c.write("fail/fails", "")
		tk := uninstallTask("absent", "fails", "good")
		tk.Uninstall.StopAtFailure = stop
		require.Equal(t, want, c.run(tk).statuses())
	}
}

func TestUninstall_succeedsWhenAllIsGone(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("good"))
	r := c.run(uninstallTask("good", "absent"))
	require.Equal(t, protocol.StateSucceeded, r.last().State)
	require.Equal(t, protocol.ReasonDone, r.last().Reason)
	require.Equal(t, "1 of 2 programs removed, 1 not installed", r.last().Message)
}

// TestUninstall_offeredAgainTellsTheSame offers a settled task again: the same reports, nothing runs.
func TestUninstall_offeredAgainTellsTheSame(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("good"), stanza("fails"))
	c.write("fail/fails", "")
	tk := uninstallTask("good", "fails")
	first := c.run(tk)
	require.NoDirExists(t, filepath.Join(c.data, "servers", "test", "attempts", tk.ID, itemsDir), "what only the running task needed is gone")
	c.write("var/lib/dpkg/status", stanza("good"))
	again := c.run(tk)
	a, err := json.Marshal(first.reports)
	require.NoError(t, err)
	b, err := json.Marshal(again.reports)
	require.NoError(t, err)
	require.JSONEq(t, string(a), string(b))
	require.Equal(t, "good fails", c.ledger())
}

func TestUninstall_timeLimit(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("slow"))
	c.write("gate/slow", "")
	tk := uninstallTask("slow")
	tk.Uninstall.LimitSeconds = 1
	r := c.run(tk)
	require.Equal(t, "slow=failed", r.statuses())
	require.Contains(t, r.item("slow").Message, "ended at its time limit of 1s")
}

// TestUninstall_waitsForDpkg has dpkg's lock held by another process: the task waits, loses nothing, and goes
// on when the lock is free.
func TestUninstall_waitsForDpkg(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("good"), stanza("later"))
	tk := uninstallTask("absent", "good", "later")
	lock := filepath.Join(c.root, "var/lib/dpkg/lock-frontend")
	free := c.holdLock(lock)
	before := time.Now()
	r := c.run(tk)
	require.Equal(t, "accepted started started waiting", r.states())
	require.Equal(t, protocol.ReasonBusy, r.last().Reason)
	require.Contains(t, r.last().Message, "dpkg is at work (process ")
	require.Equal(t, "absent=not_installed", r.statuses(), "what is done stays done")
	require.WithinRange(t, *r.last().NextTry, before.Add(minRetry-time.Second), time.Now().Add(minRetry))
	require.Equal(t, *r.last().NextTry, r.end.NextTry)

	free()
	r = c.run(tk)
	require.Equal(t, "absent=not_installed good=removed later=removed", r.statuses())
	require.Equal(t, "good later", c.ledger())
}

// TestUninstall_waitsLongerEachTime: for as long again as it has waited, and in the end it says so once an hour only.
func TestUninstall_waitsLongerEachTime(t *testing.T) {
	t.Parallel()
	type entry struct {
		state protocol.State
		ago   time.Duration
	}
	const waiting, started = protocol.StateWaiting, protocol.StateStarted
	for name, c := range map[string]struct {
		records []entry
		pause   time.Duration
		quiet   bool
	}{
		"the first time":       {[]entry{{started, time.Hour}}, minRetry, false},
		"soon again":           {[]entry{{waiting, 50 * time.Second}}, 50 * time.Second, false},
		"for some minutes":     {[]entry{{waiting, 5 * time.Minute}, {waiting, 2 * time.Minute}}, 5 * time.Minute, false},
		"for hours":            {[]entry{{waiting, 3 * time.Hour}, {waiting, 10 * time.Minute}}, maxRetry, true},
		"for hours, say so":    {[]entry{{waiting, 3 * time.Hour}, {waiting, 61 * time.Minute}}, maxRetry, false},
		"it went on meanwhile": {[]entry{{waiting, 3 * time.Hour}, {started, 2 * time.Hour}}, minRetry, false},
	} {
		u := &uninstalling{}
		for _, e := range c.records {
			u.records = append(u.records, attempt.Record{Report: protocol.Report{Time: time.Now().Add(-e.ago), Task: &protocol.TaskReport{State: e.state, Reason: protocol.ReasonBusy}}})
		}
		v := u.wait(protocol.ReasonBusy, "busy")
		require.WithinDuration(t, time.Now().Add(c.pause), *v.next, 20*time.Second, name)
		require.Equal(t, c.quiet, v.quiet, name)
		require.False(t, u.wait(protocol.ReasonDiskSpace, "full").quiet, name)
	}
}

// holdLock lets another process hold a lock of fcntl(2), as package managers do.
func (c *computer) holdLock(path string) (free func()) {
	c.t.Helper()
	gate := path + ".held"
	require.NoError(c.t, os.WriteFile(path, nil, 0o600))
	require.NoError(c.t, os.WriteFile(gate, nil, 0o600))
	run := filepath.Join(c.t.TempDir(), "run")
	require.NoError(c.t, os.MkdirAll(run, 0o700))
	script := `import fcntl, os, sys, time
f = open(sys.argv[1], "w"); fcntl.lockf(f, fcntl.LOCK_EX); open(sys.argv[2] + ".ready", "w").close()
while os.path.exists(sys.argv[2]): time.sleep(0.02)`
	_, err := proc.StartRunner(run, proc.Command{Argv: []string{"python3", "-c", script, path, gate}, TimeLimit: 10 * time.Minute})
	require.NoError(c.t, err)
	free = sync.OnceFunc(func() {
		_ = os.Remove(gate)
		_, err := proc.Await(c.t.Context(), run)
		require.NoError(c.t, err)
	})
	c.t.Cleanup(func() { _ = os.Remove(gate) })
	require.Eventually(c.t, func() bool { return lockHolder(path) != "" }, agenttest.Deadline, 10*time.Millisecond)
	return free
}

// TestUninstall_lockedOutInTheLastMoment has dpkg find the lock taken, though it was free when we looked.
func TestUninstall_lockedOutInTheLastMoment(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("good"))
	c.write("locked", "")
	c.program("dpkg", strings.Replace(fakeDpkg, `[ -e "$root/locked" ] &&`, `[ -e "$root/locked" ] && rm "$root/locked" &&`, 1))
	require.Equal(t, "good=removed", c.run(uninstallTask("good")).statuses(), "it is tried again")

	c = newComputer(t, stanza("good"))
	c.write("locked", "")
	r := c.run(uninstallTask("good"))
	require.Equal(t, "good=failed", r.statuses(), "not for ever")
	require.Contains(t, r.item("good").Output, "locked by another process")
	require.Equal(t, 2, *r.item("good").ExitCode)
}

func TestUninstall_waitsForAnotherChange(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("good"))
	lock, _, err := proc.TryLock(filepath.Join(c.data, "change.lock"), "deploy something")
	require.NoError(t, err)
	tk := uninstallTask("good")
	r := c.run(tk)
	require.Equal(t, "accepted waiting", r.states())
	require.Contains(t, r.last().Message, "deploy something")
	require.NoError(t, lock.Unlock())
	require.Equal(t, "good=removed", c.run(tk).statuses())
}

func TestUninstall_waitsForTrust(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("good"))
	in := c.input(uninstallTask("good"))
	in.Untrusted = "the trust document does not verify"
	r := &told{}
	require.NoError(t, (&Uninstaller{Root: c.root, Programs: c.programs}).Run(t.Context(), in, r.take, slog.New(slog.DiscardHandler)))
	require.Equal(t, "waiting", r.states())
	require.Equal(t, protocol.ReasonTrust, r.last().Reason)
	require.Empty(t, c.ledger())
}

// TestUninstall_killedAtEveryRecord kills the task process after each record in turn and lets a new one go on:
// each program is asked for once, and the reports are those of a task that was never killed.
func TestUninstall_killedAtEveryRecord(t *testing.T) {
	t.Parallel()
	want := "accepted started started started failed"
	for n := range strings.Fields(want) {
		t.Run(strconv.Itoa(n+1), func(t *testing.T) {
			t.Parallel()
			c := newComputer(t, stanza("one"), stanza("fails"), stanza("two"))
			c.write("fail/fails", "")
			tk := uninstallTask("one", "fails", "two")
			_, err := c.process(tk, n+1)
			require.Error(t, err, "the process was killed")
			r, err := c.process(tk, 0)
			require.NoError(t, err)
			require.Equal(t, want, r.states())
			require.Equal(t, "one=removed fails=failed two=removed", r.statuses())
			require.Contains(t, r.item("fails").Output, "prerm returned error")
			require.Equal(t, "one fails two", c.ledger())
		})
	}
}

// TestUninstall_killedWhileTheCommandRuns kills the task while dpkg works: the next process waits for it.
func TestUninstall_killedWhileTheCommandRuns(t *testing.T) {
	t.Parallel()
	c := newComputer(t, stanza("slow"), stanza("good"))
	c.write("gate/slow", "")
	tk := uninstallTask("slow", "good")
	p, _ := c.start(tk, 0)
	require.Eventually(t, func() bool { return c.ledger() == "slow" }, agenttest.Deadline, 10*time.Millisecond)
	child, err := os.FindProcess(p.PID())
	require.NoError(t, err)
	require.NoError(t, child.Kill())
	require.Error(t, p.Wait())
	held, err := proc.Held(filepath.Join(c.data, "change.lock"))
	require.NoError(t, err)
	require.True(t, held, "the computer is still being changed")

	p, r := c.start(tk, 0)
	require.NoError(t, os.Remove(filepath.Join(c.root, "gate/slow")))
	require.NoError(t, p.Wait())
	require.Equal(t, "slow=removed good=removed", r.statuses())
	require.Equal(t, "slow good", c.ledger(), "it was not begun a second time")
}

// TestUninstall_powerCut leaves commands that were begun and whose end nobody knows: what is gone was removed,
// what is there is tried again, but not for ever.
func TestUninstall_powerCut(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		packages  []string
		begun     int
		want, ran string
	}{
		"it is gone":        {nil, 1, "one=removed", ""},
		"it is there":       {[]string{stanza("one")}, 1, "one=removed", "one"},
		"for the last time": {[]string{stanza("one")}, maxRuns, "one=failed", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newComputer(t, tc.packages...)
			tk := uninstallTask("one")
			_, err := c.process(tk, 2) // `started` is journalled
			require.Error(t, err)
			a, err := attempt.Open(identity.Open(c.data, "test").Dir(), tk.ID)
			require.NoError(t, err)
			for n := range tc.begun {
				dir := filepath.Join(a.Dir(), itemsDir, "000", strconv.Itoa(n+1))
				require.NoError(t, os.MkdirAll(dir, 0o700))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "command.json"), []byte(`{"argv":["dpkg"]}`), 0o600))
			}
			r, err := c.process(tk, 0)
			require.NoError(t, err)
			require.Equal(t, tc.want, r.statuses())
			require.Equal(t, tc.ran, c.ledger())
		})
	}
}

// TestUninstall_theAgentsDeathIsNoFailure breaks the pipe to the agent at each report in turn.
func TestUninstall_theAgentsDeathIsNoFailure(t *testing.T) {
	t.Parallel()
	for n := range 4 {
		c := newComputer(t, stanza("one"), stanza("two"))
		tk := uninstallTask("one", "two")
		reports := 0
		err := (&Uninstaller{Root: c.root, Programs: c.programs}).Run(t.Context(), c.input(tk), func(e task.Event) error {
			if e.Report != nil {
				reports++
			}
			if reports > n {
				return syscall.EPIPE
			}
			return nil
		}, slog.New(slog.DiscardHandler))
		require.ErrorIs(t, err, syscall.EPIPE)
		r := c.run(tk)
		require.Equal(t, "accepted started started succeeded", r.states())
		require.Equal(t, "one two", c.ledger())
	}
}

// TestUninstall_asManyAsATaskTakes has as many programs as a task takes fail with as much output as they like:
// the report stays within what a task process may tell.
func TestUninstall_asManyAsATaskTakes(t *testing.T) {
	t.Parallel()
	for n, kept := range map[int]int{1: protocol.MaxItemOutput, protocol.MaxUninstall: maxOutputs / protocol.MaxUninstall} {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("package-%d", i)
		}
		tk := uninstallTask(names...)
		u := &uninstalling{task: *tk.Uninstall, log: slog.New(slog.DiscardHandler)}
		status := &proc.Status{ExitCode: 1, Output: strings.Repeat("\x01", 20_000) + strings.Repeat("\"", 20_000) + "\n\u20ac"}
		for _, key := range tk.Uninstall.Software {
			u.done = append(u.done, *u.item(key, protocol.ItemFailed, status, "%s", strings.Repeat("\"", 5000)))
		}
		require.Len(t, u.done[0].Output, kept)
		require.True(t, strings.HasSuffix(u.done[0].Output, "\"\n\u20ac"), "it is the end that is kept")
		data, err := json.Marshal(task.Event{Report: &protocol.Report{Task: &protocol.TaskReport{Items: u.done}}})
		require.NoError(t, err)
		require.Less(t, len(data), proc.MaxEvent/2)
	}
}
