package e2e_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/packages/trust"
	"github.com/muster/muster/packages/unabletest"
)

var updateKills = flag.Int("update.kills", 5, "kills in TestUpdate_killed")

// TestUpdate brings one device up, and then offers it what does not work. Each time the agent before comes back by
// itself, says what happened, and works.
func TestUpdate(t *testing.T) {
	t.Parallel()
	a := newUpdatable(t, startServer(t, ""), 0)
	pid := a.cmd.Process.Pid

	id := a.releases.create(t, agentVersion(1), agentProgram(t, 1))
	task := a.update(t, id, 60)
	require.Equal(t, "succeeded/done installed", task.story(), task.Message)
	require.Equal(t, agentVersion(0), task.Update.Result.From)
	require.Equal(t, agentVersion(1), task.Update.Result.To)
	a.works(t, 1)
	require.True(t, a.running(), "one process all along, as a service manager wants it")
	require.Equal(t, pid, a.status(t).PID)
	require.Contains(t, succeed(t, nil, a.installed, "status", "--data", a.data), "program: slot a of the data directory; installed is "+a.installed)
	require.Contains(t, a.output(), "a new agent is on trial")

	task = a.update(t, id, 60)
	require.Equal(t, "succeeded/done not_needed", task.story(), task.Message)
	for n, c := range []struct {
		program string
		want    string
	}{
		{"exit 3", "failed/crashed rolled_back"},
		{"exit 0", "failed/crashed rolled_back"},
		{"[ $1 != version ] || echo muster-agent 9.9.9", "refused/mismatch kept"},
	} {
		version := agentVersion(2 + n)
		task = a.update(t, a.releases.make(t, version, agentScript(version, c.program), nil), 60)
		require.Equal(t, c.want, task.story(), "%s: %s", c.program, task.Message)
		require.Equal(t, agentVersion(1), task.Update.Result.From)
	}
	// Labelled as a build for this computer, and none.
	foreign := agentBytes(t, 5)
	foreign[18] ^= 0xff // the machine in an ELF header
	task = a.update(t, a.releases.make(t, agentVersion(5), foreign, nil), 60)
	require.Equal(t, "failed/cannot_start kept", task.story(), task.Message)
	a.works(t, 1)

	task = a.update(t, a.releases.make(t, agentVersion(0), agentBytes(t, 0), nil), 60)
	require.Equal(t, "refused/older_version kept", task.story(), task.Message)
	a.works(t, 1)

	a.stop(t)
	a.start(t)
	a.works(t, 1)
}

// TestUpdate_refused by the server already: what no device would take is not registered, or not started.
func TestUpdate_refused(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	r := newReleases(t, s)
	a := enroll(t, s, s.enrollment(t))
	a.once(t)
	author := newKey(t)
	s.call(t, "POST", "/trust/keys", map[string]any{"public": []byte(author.PublicKey()), "roles": []string{"author"}}, nil)
	for name, key := range map[string]trust.PrivateKey{"an author": author, "a stranger": newKey(t)} {
		status, body := r.register(t, agentVersion(1), []byte("a program"), nil, key)
		require.GreaterOrEqual(t, status, 400, "%s: %s", name, body)
		require.Less(t, status, 500, "%s: %s", name, body)
	}
	other := r.make(t, agentVersion(1), []byte("a program"), func(d *release.Release) { d.Builds[0].Arch = "riscv64" })
	status, body := s.try(t, "POST", "/updates", map[string]any{"release_id": other, "device_ids": []string{a.device}})
	require.Equal(t, http.StatusConflict, status, string(body))
	require.Contains(t, string(body), "no build for "+runtime.GOOS+"/"+runtime.GOARCH)
}

// TestUpdate_cannotReachTheServer: the new agent runs, holds the data directory, and never checks in. When its
// probation is over the old one returns. To stop the service on the way changes nothing but the time that is left.
func TestUpdate_cannotReachTheServer(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("unshare", "-n", "true").CombinedOutput(); err != nil {
		unabletest.Skip(t, "unshare -n: %v %s", err, out)
	}
	a := newUpdatable(t, startServer(t, ""), 0)
	lost := agentScript(agentVersion(1), "exec unshare -n '"+agentProgram(t, 1)+`' "$@"`)
	id := a.ask(t, a.releases.make(t, agentVersion(1), lost, nil), 15)
	await(t, "the trial", func() (bool, string) {
		s := a.status(t)
		return s.Launch.Trial.Attempts == 1 && s.Version == agentVersion(1) && !s.Stopped, fmt.Sprintf("%+v", s)
	})
	a.stop(t) // a clean end
	a.start(t)
	task := a.awaitUpdate(t, id)
	require.Equal(t, "failed/probation rolled_back", task.story(), task.Message)
	a.works(t, 0)
	require.Contains(t, succeed(t, nil, a.installed, "status", "--data", a.data), "last update: from "+agentVersion(0)+" to "+agentVersion(1)+", rolled back")
}

// TestUpdate_waitsForADeployment: an update that is asked for while a command runs lets it end, and its result is
// reported. `muster-agent once` updates as well.
func TestUpdate_waitsForADeployment(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := newUpdatable(t, s, 0)
	ran := filepath.Join(t.TempDir(), "ran")
	pkg, gate := s.offerGated(t, "gated", "echo began >>"+ran, "echo ended >>"+ran, nil)
	d, _ := s.assign(t, pkg, a.device)
	s.awaitState(t, d, "started")
	id := a.ask(t, a.releases.make(t, agentVersion(1), agentBytes(t, 1), nil), 60)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	s.awaitState(t, d, "succeeded")
	task := a.awaitUpdate(t, id)
	require.Equal(t, "succeeded/done installed", task.story(), task.Message)
	require.Equal(t, []string{"began", "ended"}, readLines(t, ran))
	a.works(t, 1)

	a.stop(t)
	id = a.ask(t, a.releases.make(t, agentVersion(2), agentBytes(t, 2), nil), 60)
	succeed(t, nil, a.installed, "once", "--data", a.data)
	task = a.awaitUpdate(t, id)
	require.Equal(t, "succeeded/done installed", task.story(), task.Message)
	require.Equal(t, agentVersion(2), a.status(t).Version)
}

// TestUpdate_besideAPackageManager: the highest of what is installed and what is in the slot runs; going down takes a
// release that says so.
func TestUpdate_besideAPackageManager(t *testing.T) {
	t.Parallel()
	a := newUpdatable(t, startServer(t, ""), 1)
	install := func(n int) {
		a.stop(t)
		a.install(t, n)
		a.start(t)
	}
	task := a.update(t, a.releases.make(t, agentVersion(3), agentBytes(t, 3), nil), 60)
	require.Equal(t, "succeeded/done installed", task.story(), task.Message)
	install(2)
	a.works(t, 3)
	install(4)
	a.works(t, 4)
	require.Empty(t, a.status(t).Program.Slot)

	down := a.releases.make(t, agentVersion(2), agentBytes(t, 2), func(d *release.Release) { d.DowngradeFrom = []string{agentVersion(4)} })
	task = a.update(t, down, 60)
	require.Equal(t, "succeeded/done installed", task.story(), task.Message)
	a.works(t, 2)
	a.stop(t)
	a.start(t)
	a.works(t, 2)
	install(5)
	a.works(t, 5)
}

// TestUpdate_fullDisk: the agent says that it waits for room, and works.
func TestUpdate_fullDisk(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		unabletest.Skip(t, "a small disk is made with tmpfs")
	}
	small := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=70m", "none", small).CombinedOutput(); err != nil {
		unabletest.Skip(t, "mount a small disk: %v %s", err, out)
	}
	t.Cleanup(func() { // when the agent has ended
		out, err := exec.Command("umount", small).CombinedOutput()
		require.NoError(t, err, string(out))
	})
	s := startServer(t, "")
	a := enrollUpdatable(t, s, 0, filepath.Join(small, "agent"))
	a.start(t)
	id := a.ask(t, a.releases.make(t, agentVersion(1), agentBytes(t, 1), nil), 60)
	await(t, "the update to wait", func() (bool, string) {
		task := a.task(t, id)
		return task.State == "waiting" && task.Reason == "disk_space", task.story()
	})
	a.works(t, 0)
	out, err := exec.Command("mount", "-o", "remount,size=400m", small).CombinedOutput()
	require.NoError(t, err, string(out))
	s.call(t, "POST", "/tasks/"+id+"/cancel", nil, nil)
	task := a.update(t, a.releases.make(t, agentVersion(2), agentBytes(t, 2), nil), 60)
	require.Equal(t, "succeeded/done installed", task.story(), task.Message)
	a.works(t, 2)
	a.stop(t)
}

// TestUpdate_killed kills whatever runs, at random points of one update after another, and starts the installed
// program again, as a service manager does. In the end of each an agent works, and what it reports is true.
func TestUpdate_killed(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0)) // chance, no secret
	a := newUpdatable(t, startServer(t, ""), 0)
	runs, kills, ended := 0, 0, map[string]int{}
	var longest time.Duration
	for next := 1; kills < *updateKills; next++ {
		crashes := rnd.IntN(3) == 0
		program := agentBytes(t, next)
		if crashes {
			program = agentScript(agentVersion(next), "exit 3")
		}
		releaseID := a.releases.make(t, agentVersion(next), program, nil)
		a.awaitRunning(t, runs)
		began := time.Now()
		id := a.ask(t, releaseID, 60)
		for range 1 + rnd.IntN(3) {
			// Up to as long as an update has taken; the first is killed within two seconds.
			pause := time.NewTimer(time.Duration(rnd.Int64N(int64(max(longest, 2*time.Second)))))
			<-pause.C
			if !a.running() {
				a.start(t)
			}
			if a.task(t, id).final() {
				break
			}
			a.killOne(rnd)
			kills++
		}
		if a.running() && kills > 0 { // a task that was killed alone would be begun again in a minute
			a.kill()
			kills++
		}
		task := a.awaitUpdateRestarting(t, id)
		longest = max(longest, min(time.Since(began), 8*time.Second))
		story := task.story()
		ended[story]++
		switch {
		case !crashes && story == "succeeded/done installed":
			require.Equal(t, agentVersion(runs), task.Update.Result.From)
			runs = next
		case crashes && story == "failed/crashed rolled_back":
		case story == "failed/crashed rolled_back": // it was on trial each time that it was killed
		default:
			require.Fail(t, "no true report", "update %d, crashing %v: %s %s", next, crashes, story, task.Message)
		}
		require.Equal(t, agentVersion(next), task.Update.Result.To)
		a.works(t, runs)
	}
	t.Logf("%d kills in updates that ended so: %v", kills, ended)
}

// updatable is a device whose agent is a released one.
type updatable struct {
	*agent
	s         *server
	releases  *releases
	installed string // path of the program that a package manager would replace
	served    int    // deployments that were made to see that it works
}

// newUpdatable enrolls a device, runs its agent of a version and waits for it.
func newUpdatable(t *testing.T, s *server, version int) *updatable {
	t.Helper()
	a := enrollUpdatable(t, s, version, filepath.Join(t.TempDir(), "agent"))
	a.start(t)
	a.works(t, version)
	return a
}

func enrollUpdatable(t *testing.T, s *server, version int, data string) *updatable {
	t.Helper()
	if runtime.GOOS == "windows" {
		unabletest.Skip(t, "processes are looked at as Linux shows them")
	}
	a := &updatable{s: s, releases: newReleases(t, s), installed: filepath.Join(t.TempDir(), "muster-agent")}
	a.install(t, version)
	out := succeed(t, nil, a.installed, "enroll", "--data", data, s.enrollment(t))
	_, rest, _ := strings.Cut(out, " as device ")
	a.agent = &agent{data: data}
	a.device, _, _ = strings.Cut(rest, " ")
	a.configure(t, map[string]any{"listener": map[string]any{"enabled": false}})
	return a
}

// install replaces the installed program, as package managers do.
func (a *updatable) install(t *testing.T, version int) {
	t.Helper()
	require.NoError(t, os.Link(agentProgram(t, version), a.installed+".new"))
	require.NoError(t, os.Rename(a.installed+".new", a.installed))
}

func (a *updatable) start(t *testing.T) {
	t.Helper()
	a.process = startCommand(t, exec.Command(a.installed, "run", "--data", a.data))
}

// updateTask is a task as an administrator sees it.
type updateTask struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Update  struct {
		Result *struct {
			From    string `json:"from"`
			To      string `json:"to"`
			Outcome string `json:"outcome"`
		} `json:"result"`
	} `json:"update"`
}

func (u updateTask) final() bool { return u.Update.Result != nil }

// story is how it stands, in short.
func (u updateTask) story() string {
	story := u.State + "/" + u.Reason
	if u.Update.Result != nil {
		story += " " + u.Update.Result.Outcome
	}
	return story
}

func (a *updatable) task(t *testing.T, id string) (task updateTask) {
	t.Helper()
	a.s.call(t, "GET", "/tasks/"+id, nil, &task)
	return task
}

// ask asks for an update and returns its task.
func (a *updatable) ask(t *testing.T, releaseID string, probation int) string {
	t.Helper()
	var made struct {
		Tasks []updateTask `json:"tasks"`
	}
	a.s.call(t, "POST", "/updates", map[string]any{"release_id": releaseID, "device_ids": []string{a.device}, "probation_seconds": probation}, &made)
	require.Len(t, made.Tasks, 1)
	return made.Tasks[0].ID
}

func (a *updatable) awaitUpdate(t *testing.T, id string) (task updateTask) {
	t.Helper()
	await(t, "the end of the update", func() (bool, string) {
		task = a.task(t, id)
		return task.final(), task.story() + " " + task.Message
	})
	return task
}

// awaitUpdateRestarting starts the installed program again whenever it has ended.
func (a *updatable) awaitUpdateRestarting(t *testing.T, id string) (task updateTask) {
	t.Helper()
	await(t, "the end of the update", func() (bool, string) {
		if !a.running() {
			a.start(t)
		}
		task = a.task(t, id)
		return task.final(), task.story() + " " + task.Message
	})
	return task
}

func (a *updatable) update(t *testing.T, releaseID string, probation int) updateTask {
	t.Helper()
	return a.awaitUpdate(t, a.ask(t, releaseID, probation))
}

// programStatus is what the agent says of itself on its own computer.
type programStatus struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Stopped bool   `json:"stopped"`
	Program struct {
		Slot string `json:"slot"`
	} `json:"program"`
	Launch struct {
		Trial struct {
			Attempts int `json:"attempts"`
		} `json:"trial"`
	} `json:"launch"`
}

func (a *updatable) status(t *testing.T) (s programStatus) {
	t.Helper()
	decodeJSON(t, succeed(t, nil, a.installed, "status", "--json", "--data", a.data), &s)
	return s
}

// awaitRunning waits until the server knows that the agent of a version is connected.
func (a *updatable) awaitRunning(t *testing.T, version int) {
	t.Helper()
	await(t, "agent "+agentVersion(version), func() (bool, string) {
		if !a.running() {
			a.start(t)
		}
		var d struct {
			Connected    bool   `json:"connected"`
			AgentVersion string `json:"agent_version"`
		}
		a.s.call(t, "GET", "/devices/"+a.device, nil, &d)
		return d.Connected && d.AgentVersion == agentVersion(version), fmt.Sprintf("%+v", d)
	})
}

// works waits for the agent of a version and lets it carry out a deployment.
func (a *updatable) works(t *testing.T, version int) {
	t.Helper()
	a.awaitRunning(t, version)
	require.Equal(t, agentVersion(version), a.status(t).Version)
	a.served++
	pkg := a.s.offer(t, spec{Name: fmt.Sprint("works-", a.served), Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", "echo it works"}})
	id, _ := a.s.assign(t, pkg, a.device)
	require.Contains(t, a.s.awaitState(t, id, "succeeded").Output, "it works")
}

// killOne ends one process of the agent, whichever it is: a launcher, an agent on trial, a task.
func (a *updatable) killOne(rnd *rand.Rand) {
	pids := append(processesBelow(a.cmd.Process.Pid), a.cmd.Process.Pid)
	pid := pids[rnd.IntN(len(pids))]
	if pid == a.cmd.Process.Pid {
		a.kill()
		return
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
}

// releases makes releases with a key that devices trust for it.
type releases struct {
	s   *server
	key trust.PrivateKey
}
