//go:build linux

package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/scripts/chaos/disk"
	"github.com/muster/muster/scripts/chaos/overlay"
	"github.com/muster/muster/scripts/chaos/point"
	"github.com/muster/muster/scripts/chaos/recordos"
)

// sound are the programs with kill points and without a fault, built once for all tests that kill.
var sound = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "chaos")
	return dir, errors.Join(os.Mkdir(dir, 0o700), buildChaos(dir, overlay.Fault{}))
})

// chaosPrograms builds muster-server and muster-agent with kill points, and with a fault when one is
// given, and returns their folder.
func chaosPrograms(t *testing.T, fault overlay.Fault) string {
	t.Helper()
	if fault.Name == "" {
		dir, err := sound()
		require.NoError(t, err)
		return dir
	}
	dir := t.TempDir()
	require.NoError(t, buildChaos(dir, fault))
	return dir
}

func buildChaos(dir string, fault overlay.Fault) error {
	agentLog, serverLog := overlay.LogPoints()
	for name, sets := range map[string][][]overlay.Rule{
		"agent":  {overlay.AgentPoints(), agentLog, overlay.Recording(), overlay.AgentTimes(), fault.Agent},
		"server": {overlay.ServerPoints(), serverLog, overlay.ServerTimes(), fault.Server},
	} {
		sources := filepath.Join(dir, name)
		if err := os.Mkdir(sources, 0o700); err != nil {
			return err
		}
		file, err := overlay.Write("../..", sources, sets...)
		if err != nil {
			return err
		}
		cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-overlay", file, "-o", filepath.Join(dir, "muster-"+name), "./"+name)
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build muster-%s with kill points: %w\n%s", name, err, out)
		}
	}
	return nil
}

// node is a server or an agent that is started again whenever it ends.
type node struct {
	name    string
	program string
	args    []string
	dir     string // of its kill points
	data    string
	device  string // id, of an agent
	points  []string
	log     *os.File
	done    chan struct{} // closed when the process has ended; nil before the first
	cmd     *exec.Cmd
	starts  int
	killed  map[string]int // by what was done to it from outside
}

func newNode(t *testing.T, dir, program, name string, rules []overlay.Rule) *node {
	t.Helper()
	n := &node{
		name: name, program: program, dir: filepath.Join(dir, name), data: filepath.Join(dir, name+"-data"),
		points: overlay.Names(rules), killed: map[string]int{},
	}
	require.NoError(t, point.Prepare(n.dir))
	var err error
	n.log, err = os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() {
		n.end(t)
		if t.Failed() {
			data, _ := io.ReadAll(io.NewSectionReader(n.log, 0, 64<<20))
			t.Logf("%s wrote:\n%s", n.name, tail(string(data), 6<<10))
		}
		n.log.Close()
	})
	return n
}

func (n *node) command(args ...string) *exec.Cmd {
	cmd := exec.Command(n.program, args...)
	cmd.Env = append(os.Environ(), point.Env+"="+n.dir)
	cmd.Stdout, cmd.Stderr = n.log, n.log
	return cmd
}

func (n *node) running() bool {
	if n.done == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// keep starts the node if it does not run.
func (n *node) keep(t *testing.T) {
	t.Helper()
	if n.running() {
		return
	}
	n.cmd, n.done = n.command(n.args...), make(chan struct{})
	require.NoError(t, n.cmd.Start())
	n.starts++
	cmd, done := n.cmd, n.done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
}

// processes are all processes of the node, also those that outlived the one that started them: they have
// its folder in their environment. Each is held by a handle that stays its own when it ends.
func (n *node) processes() map[string][]*os.Process {
	found := map[string][]*os.Process{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid <= 1 || pid == os.Getpid() {
			continue
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		if !n.owns(pid) {
			_ = p.Release()
			continue
		}
		role := "command"
		if args := strings.Split(readProc(pid, "cmdline"), "\x00"); len(args) > 1 && filepath.Base(args[0]) == filepath.Base(n.program) {
			role = args[1] // run, task, runner
		}
		found[role] = append(found[role], p)
	}
	return found
}

func (n *node) owns(pid int) bool {
	return slices.Contains(strings.Split(readProc(pid, "environ"), "\x00"), point.Env+"="+n.dir)
}

func readProc(pid int, name string) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	return string(bytes.TrimRight(data, "\x00"))
}

// kill kills one process of a role; false when there is none.
func (n *node) kill(role string) bool {
	defer recordos.Lock(n.dir)()
	killed := false
	for r, list := range n.processes() {
		for _, p := range list {
			if r == role && !killed && p.Kill() == nil {
				killed = true
			}
			_ = p.Release()
		}
	}
	if killed {
		n.killed["SIGKILL "+role]++
	}
	return killed
}

// killAll kills whatever the node has started, until nothing is left.
func (n *node) killAll() {
	for {
		all := n.processes()
		if len(all) == 0 {
			break
		}
		for _, list := range all {
			for _, p := range list {
				_ = p.Kill()
				_ = p.Release()
			}
		}
	}
	if n.done != nil {
		<-n.done
	}
}

// end ends the node for good.
func (n *node) end(t *testing.T) {
	t.Helper()
	defer n.killAll() // also when it does not stop
	if n.running() {
		_ = n.cmd.Process.Signal(os.Interrupt)
		await(t, n.name+" to stop", func() (bool, string) { return !n.running(), "running" })
	}
}

// cutPower kills all of an agent at one moment, takes from its disk what was not synced, as chance will
// have it, and gives the computer another boot.
func (n *node) cutPower(t *testing.T, r *rand.Rand) {
	t.Helper()
	unlock := recordos.Lock(n.dir)
	defer unlock()
	n.killAll()
	ops, err := recordos.Read(n.dir)
	require.NoError(t, err)
	d := disk.New()
	require.NoError(t, d.Do(ops...))
	chance := disk.Random(r)
	if r.IntN(3) == 0 {
		chance = disk.Worst()
	}
	left := d.Cut(chance)
	require.NoError(t, left.Onto(n.data, n.data))
	require.NoError(t, os.Remove(filepath.Join(n.dir, recordos.LogFile)))
	require.NoError(t, recordos.Append(n.dir, left.Base()...))
	require.NoError(t, point.SetBoot(n.dir, uuid.NewString()))
	n.killed["power cut"]++
}

// target is a kill point of the node, rather one that has killed little so far.
func (n *node) target(r *rand.Rand) string {
	names := slices.Concat(n.points, slices.Collect(maps.Keys(point.Hits(n.dir))))
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return strings.HasPrefix(name, "enroll.") })
	done := n.kills()
	best := names[r.IntN(len(names))]
	for range 2 {
		if other := names[r.IntN(len(names))]; done[other] < done[best] {
			best = other
		}
	}
	return best
}

// kills counts what ended processes of this node, by point or by what was done from outside.
func (n *node) kills() map[string]int {
	kills := maps.Clone(n.killed)
	for _, name := range point.Kills(n.dir) {
		kills[name]++
	}
	return kills
}
