package update_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/agent/internal/task/update"
)

// The environment of a task process of the tests: after how many new records it kills itself, and its version.
const (
	crashAt    = "MUSTER_TEST_CRASH_AT"
	runVersion = "MUSTER_TEST_VERSION"
)

// TestMain makes the test binary what the agent's main function is: started again as `task update` it is a real
// task process.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == proc.ArgTask {
		os.Exit(task.Main(os.Args[2], map[string]task.Func{"update": crashing().Run}, os.Stderr))
	}
	os.Exit(m.Run())
}

// crashing is an Updater that ends like in a power cut of its process.
func crashing() *update.Updater {
	p := &update.Updater{Version: os.Getenv(runVersion)}
	at, err := strconv.Atoi(os.Getenv(crashAt))
	if err != nil {
		return p
	}
	n := 0
	p.Recorded = func(attempt.Record) {
		if n++; n == at {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Signal(syscall.SIGKILL)
			select {}
		}
	}
	return p
}
