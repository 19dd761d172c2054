package e2e_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// residentGrowth is 500 in `make bench-resident`.
var residentGrowth = flag.Int("resident.growth", 20, "tasks after which the resident is to be what it was after 5")

// maxGrowth is what the private memory may differ by, in KiB. Measured: 3.54 MB after 5 tasks, 3.57 after 20, 3.64
// after 50, 3.63 to 3.74 after 200 to 500. Objects take no more; of the rest some 80 KiB are lists that the Go runtime
// keeps of each size of object that was used once (docs/architecture.md), and some 50 the free places that happen to
// lie between objects. A kilobyte that is left behind by each task would show.
const maxGrowth = 320

// TestResidentDoesNotGrow: the resident does not take more with every task. The tasks are of every kind that leaves
// the agent as it is: deployments, one in three of which fails, inventories, and uninstalls of what is protected.
func TestResidentDoesNotGrow(t *testing.T) {
	t.Parallel()
	d := newDebian(t, startServer(t, ""))
	d.install(t, 0, tiny{name: "tiny-wanted-here"})
	d.start(t)
	d.awaitSoftware(t, []string{"tiny-wanted-here"}, nil)
	pid := d.cmd.Process.Pid
	for i := range fewTasks {
		d.task(t, i)
	}
	before := awaitSteady(t, pid)
	t.Logf("after %d tasks: private %.2f MB, RSS %.2f MB", fewTasks, mb(before.private), mb(before.rss))
	for i := fewTasks; i < *residentGrowth; i++ {
		d.task(t, i)
	}
	awaitWithin(t, pid, before.private+maxGrowth, maxRSS, fmt.Sprintf("after %d tasks", *residentGrowth))
	require.True(t, d.running())
}

// task asks for the i-th task and waits for its end.
func (d *debian) task(t *testing.T, i int) {
	t.Helper()
	switch i % 5 {
	case 0:
		d.s.takeInventory(t, d.device)
	case 1:
		require.Equal(t, []string{"protected"}, d.uninstall(t, false, "tiny-wanted-here").statuses())
	case 2:
		d.deploy(t, i, "/bin/false", "failed")
	default:
		d.deploy(t, i, "/bin/true", "succeeded")
	}
}

func (d *debian) deploy(t *testing.T, i int, program, state string) {
	t.Helper()
	id, _ := d.s.assign(t, d.s.offer(t, spec{
		Name: fmt.Sprintf("growth-%04d", i), Priority: 5, Action: "execute", Command: []string{program},
		More: map[string]any{"retry": map[string]any{"attempts": 1, "delay_seconds": 1}},
	}), d.device)
	d.s.awaitState(t, id, state)
}

// steady is longer than the agent waits before it gives memory back after work.
const steady = 15 * time.Second

// awaitSteady waits until the process has taken no less memory for a while.
func awaitSteady(t *testing.T, pid int) usage {
	t.Helper()
	least := measure(t, pid)
	await(t, "steady memory", func() (bool, string) {
		now := measure(t, pid)
		if now.private < least.private {
			least = now
		}
		return now.at.Sub(least.at) >= steady, fmt.Sprintf("private %d KiB", now.private)
	})
	return least
}
