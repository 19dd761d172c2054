package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/unabletest"
)

// What the resident agent costs while it waits, `make bench-resident` measures for longer.
var (
	residentIdle  = flag.Duration("resident.idle", 0, "measure the idle resident for so long, beside the OCS Inventory agent that MUSTER_OCS_AGENT names")
	residentTasks = flag.Int("resident.tasks", 20, "deployments after which the resident is looked at again")
)

// What the resident may take, in KiB. Private is what only this process has and what the system cannot take
// back. Idle it has some 3.3 MB of it, after work 3.6 MB, and 4.5 MB after a thousand requests at once to its
// listener, however much work there was: the Go runtime keeps books for every size of object that was ever used.
const (
	maxPrivate = 4 << 10
	maxRSS     = 12 << 10
	// After all connections of the listener were used at once. The rest of the RSS is pages of the program's own
	// file, here with those that serve HTTPS: the whole file may be in memory, and cost nothing that the system could
	// not take back.
	maxBurst    = 5 << 10
	maxBurstRSS = maxBurst + 14<<10 // the most that the program may have, see agent/deps_test.go
	fewTasks    = 5                 // after which it is looked at first
)

// TestResidentStaysSmall: connected and idle, and after a number of deployments, the resident is back to
// what it was. That does not depend on how fast the computer is; how often it wakes up does, and is only
// printed.
func TestResidentStaysSmall(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		unabletest.Skip(t, "memory is read from /proc")
	}
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	a.configure(t, map[string]any{"listener": map[string]any{"port": 0}})
	a.run(t)
	s.awaitConnected(t, a.device)
	pid := a.cmd.Process.Pid
	awaitSmall(t, pid, "idle and connected")
	ids := make([]string, max(*residentTasks, fewTasks))
	for i := range ids {
		name := fmt.Sprintf("tiny-%04d", i)
		ids[i], _ = s.assign(t, s.offer(t, spec{Name: name, Priority: 5, Action: "execute", Command: []string{"/bin/true"}}), a.device)
		if i < fewTasks {
			s.awaitState(t, ids[i], "succeeded")
		}
		if i == fewTasks-1 { // the inventories that show these changes are among the tasks
			awaitSmall(t, pid, fmt.Sprintf("after %d deployments", fewTasks))
		}
	}
	for _, id := range ids {
		s.awaitState(t, id, "succeeded")
	}
	after := awaitSmall(t, pid, fmt.Sprintf("after %d deployments", len(ids)))
	knock(t, a.listener(t), 1000)
	awaitWithin(t, pid, maxBurst, maxBurstRSS, "after 1000 requests at once to its listener")
	require.True(t, a.running())
	if *residentIdle == 0 {
		return
	}
	lines := []string{fmt.Sprintf("%-30s %9s %9s %12s %12s %9s", "for "+residentIdle.String(), "private", "RSS", "wake-ups/min", "switches/min", "CPU s")}
	row := func(name string, first, last usage, wakeups int) {
		minutes := last.at.Sub(first.at).Minutes()
		lines = append(lines, fmt.Sprintf("%-30s %6.2f MB %6.2f MB %12.1f %12.1f %9.2f", name, mb(last.private), mb(last.rss),
			float64(wakeups)/minutes, float64(last.switches-first.switches)/minutes, (last.cpu-first.cpu).Seconds()))
	}
	peer, peerStarted := startOCSAgent(t)
	<-time.After(min(*residentIdle/2, time.Minute)) // what the work and the start have left to do
	pids := []int{pid}
	if peer != 0 {
		pids = append(pids, peer)
	} else {
		lines = append(lines, "ocsinventory-agent: "+peerStarted)
	}
	first := make([]usage, len(pids))
	for i, pid := range pids {
		first[i] = measure(t, pid)
	}
	wakeups := countWakeups(*residentIdle, pids)
	for i, name := range []string{fmt.Sprintf("muster-agent after %d tasks", len(ids)), "ocsinventory-agent --daemon"}[:len(pids)] {
		row(name, first[i], measure(t, pids[i]), wakeups[i])
	}
	t.Logf("resident, connected and idle\n%s\nright after the tasks: private %.2f MB, RSS %.2f MB", strings.Join(lines, "\n"), mb(after.private), mb(after.rss))
}

func mb(kib int64) float64 { return float64(kib) / 1024 }

// awaitSmall waits until the process is within its bounds.
func awaitSmall(t *testing.T, pid int, when string) usage {
	t.Helper()
	return awaitWithin(t, pid, maxPrivate, maxRSS, when)
}

func awaitWithin(t *testing.T, pid int, private, rss int64, when string) usage {
	t.Helper()
	var u usage
	await(t, "a small resident "+when, func() (bool, string) {
		u = measure(t, pid)
		return u.private <= private && u.rss <= rss, fmt.Sprintf("private %d KiB of %d, RSS %d KiB of %d", u.private, private, u.rss, rss)
	})
	t.Logf("%s: private %.2f MB, RSS %.2f MB", when, mb(u.private), mb(u.rss))
	return u
}

// usage is what a process costs, at one time.
type usage struct {
	at           time.Time
	private, rss int64 // KiB
	switches     int64 // voluntary context switches of all its threads
	cpu          time.Duration
}

// measure reads /proc. Private is Private_Dirty of smaps_rollup: pages of the program's own file that
// happen to be read by nobody else count as private there, too, but cost nothing that the system could
// not take back.
func measure(t *testing.T, pid int) usage {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	rollup, err := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
	require.NoError(t, err)
	u := usage{at: time.Now(), private: field(string(rollup), "Private_Dirty:"), rss: field(string(rollup), "Rss:")}
	u.switches = switches(pid)
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	require.NoError(t, err)
	fields := strings.Fields(string(stat)[strings.LastIndex(string(stat), ")")+2:])
	for _, text := range fields[11:15] { // its own and its children's
		ticks, err := strconv.ParseInt(text, 10, 64)
		require.NoError(t, err)
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	return u
}

// switches counts how often the threads of a process went to sleep by themselves.
func switches(pid int) (n int64) {
	threads, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/status"))
	for _, path := range threads {
		if b, err := os.ReadFile(path); err == nil { // a thread may have ended
			n += field(string(b), "voluntary_ctxt_switches:")
		}
	}
	return n
}

// countWakeups counts for a time how often each process was awake: the tenths of a second in which any of
// its threads went back to sleep. One event makes several threads switch, so switches say less.
func countWakeups(total time.Duration, pids []int) []int {
	counts, before := make([]int, len(pids)), make([]int64, len(pids))
	end := time.NewTimer(total)
	defer end.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for started := false; ; started = true {
		for i, pid := range pids {
			now := switches(pid)
			if started && now != before[i] {
				counts[i]++
			}
			before[i] = now
		}
		select {
		case <-end.C:
			return counts
		case <-tick.C:
		}
	}
}

// field is the first number behind a name at the beginning of a line.
func field(text, name string) int64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}
