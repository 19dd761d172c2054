package software

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
)

// The environment of a task process of the tests: where its computer is, and after how many new records it
// kills itself.
const (
	testRoot     = "MUSTER_TEST_ROOT"
	testPrograms = "MUSTER_TEST_PROGRAMS"
	testCrashAt  = "MUSTER_TEST_CRASH_AT"
)

// endAtOnce lets a task process of a test built with the race detector end without its second of waiting.
const endAtOnce = "GORACE=atexit_sleep_ms=0"

// TestMain makes the test binary what the agent's main function is: started again as `runner DIR` or
// `task uninstall` it is a real runner or task process. A runner ends without the second that a program built
// with the race detector otherwise takes to end: there are dozens of them. Tasks are told so by their environment.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case proc.ArgRunner:
			syscall.Exit(proc.RunnerMain(os.Args[2], os.Stderr))
		case proc.ArgTask:
			os.Exit(task.Main(os.Args[2], map[string]task.Func{"uninstall": crashing().Run}, os.Stderr))
		}
	}
	os.Exit(m.Run())
}

// crashing is an Uninstaller that ends like in a power cut of its process.
func crashing() *Uninstaller {
	p := &Uninstaller{Root: os.Getenv(testRoot), Programs: os.Getenv(testPrograms)}
	if at, err := strconv.Atoi(os.Getenv(testCrashAt)); err == nil && at > 0 {
		n := 0
		p.Recorded = func(attempt.Record) {
			if n++; n == at {
				self, _ := os.FindProcess(os.Getpid())
				_ = self.Signal(syscall.SIGKILL)
				select {}
			}
		}
	}
	return p
}
