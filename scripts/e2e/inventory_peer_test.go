package e2e_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/scripts/inventorydiff"
)

var inventoryPeers = flag.Bool("inventory.peers", false, "compare with the agents that MUSTER_OCS_AGENT and MUSTER_FUSION_AGENT name")

// inventoryRun is one inventory: what was printed, and what it cost.
type inventoryRun struct {
	out       []byte
	wall, cpu time.Duration
	peak      int64 // bytes; of the largest process, where there are several
}

// takeInventory starts an agent and reads what it prints. The memory of a process that starts another one
// counts in the usage that the system tells of the child (Linux, exec_mmap), so it is also read from the
// running program: at its first byte of output all has been collected, and the rest waits in the pipe.
func takeInventory(t *testing.T, name string, args ...string) inventoryRun {
	t.Helper()
	var errors bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &errors
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	begun := time.Now()
	require.NoError(t, cmd.Start())
	first := make([]byte, 1)
	_, err = io.ReadFull(pipe, first)
	require.NoError(t, err, "%s printed nothing: %s", name, &errors)
	r := inventoryRun{wall: time.Since(begun), peak: highWater(cmd.Process.Pid)}
	paused := time.Now()
	rest, err := io.ReadAll(pipe)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait(), "%s: %s", name, &errors)
	r.wall += time.Since(paused)
	r.out = append(first, rest...)
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && r.peak == 0 {
		r.peak = usage.Maxrss << 10
	}
	return r
}

// highWater is the most memory that a process has had, in bytes; 0 when it has ended.
func highWater(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// TestInventory_ofThisComputer takes a full inventory of the computer that runs the test. Its Debian packages
// are those that dpkg lists, and it needs at most 20 MB.
func TestInventory_ofThisComputer(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the cost is read from Linux")
	}
	r := takeInventory(t, program("muster-agent"), "inventory")
	t.Logf("%d bytes in %s, %s CPU, %.1f MB", len(r.out), r.wall.Round(time.Millisecond), r.cpu.Round(time.Millisecond), float64(r.peak)/1e6)
	require.LessOrEqual(t, r.peak, int64(20e6))
	ours, err := inventorydiff.Muster(bytes.NewReader(r.out))
	require.NoError(t, err)
	require.NotEmpty(t, ours[inventorydiff.KindCPU])
	require.NotEmpty(t, ours[inventorydiff.KindMemory])
	require.NotEmpty(t, ours[inventorydiff.KindInterface])

	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return
	}
	out, err := exec.Command("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Architecture} ${Version}\\n").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == "installed" {
			require.Equal(t, f[3], ours[inventorydiff.KindSoftware][f[1]+" "+f[2]], f[1])
		}
	}
}

// TestInventory_besideOthers compares with the agents of OCS Inventory and FusionInventory on this computer:
// every difference has an explanation. scripts/bench/inventory.sh fetches them and calls this.
func TestInventory_besideOthers(t *testing.T) {
	if !*inventoryPeers {
		t.Log("not asked for: scripts/bench/inventory.sh does it")
		return
	}
	const rounds = 5
	measure := func(label, name string, args ...string) []byte {
		best := takeInventory(t, name, args...)
		for range rounds - 1 {
			if r := takeInventory(t, name, args...); r.wall < best.wall {
				best = r
			}
		}
		t.Logf("%-24s %8.3f s  %8.3f s CPU  %6.1f MB", label, best.wall.Seconds(), best.cpu.Seconds(), float64(best.peak)/1e6)
		return best.out
	}
	t.Logf("%-24s %10s  %12s  %9s   (the quickest of %d)", "agent", "wall", "", "peak", rounds)
	ours, err := inventorydiff.Muster(bytes.NewReader(measure("Muster", program("muster-agent"), "inventory")))
	require.NoError(t, err)
	for _, peer := range []struct {
		label, variable string
		args            []string
	}{
		{"OCS Inventory", "MUSTER_OCS_AGENT", []string{"--stdout", "--basevardir=" + t.TempDir()}},
		{"FusionInventory", "MUSTER_FUSION_AGENT", []string{"--local", "-", "--tasks", "inventory"}},
	} {
		label, path := peer.label, os.Getenv(peer.variable)
		if path == "" {
			t.Logf("%-24s not there", label)
			continue
		}
		theirs, err := inventorydiff.Foreign(bytes.NewReader(measure(label, "perl", append([]string{path}, peer.args...)...)))
		require.NoError(t, err)
		differences := inventorydiff.Compare(ours, theirs)
		t.Logf("%s: %d and %d programs; differences: %d", label, len(ours[inventorydiff.KindSoftware]), len(theirs[inventorydiff.KindSoftware]), len(differences))
		for _, d := range differences {
			why := d.Why
			if why == "" {
				why = "NOT EXPLAINED"
				t.Fail()
			}
			t.Logf("  %-9s %-20s ours %-40q theirs %-40q %s", d.Kind, d.Name, d.Ours, d.Theirs, why)
		}
	}
}
