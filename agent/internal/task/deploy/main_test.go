package deploy_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/agent/internal/task/deploy"
)

// crashAt names the environment variable with the number of the new record after which a task process of
// the crash test kills itself.
const crashAt = "MUSTER_TEST_CRASH_AT"

// endAtOnce lets a task process of a test built with the race detector end without its second of waiting.
const endAtOnce = "GORACE=atexit_sleep_ms=0"

// TestMain makes the test binary what the agent's main function is: started again as `runner DIR` or
// `task deploy` it is a real runner or task process. A runner ends without the second that a program built with
// the race detector otherwise takes to end; tasks are told so by their environment.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case proc.ArgRunner:
			syscall.Exit(proc.RunnerMain(os.Args[2], os.Stderr))
		case proc.ArgTask:
			os.Exit(task.Main(os.Args[2], map[string]task.Func{"deploy": crashing().Run}, os.Stderr))
		}
	}
	os.Exit(m.Run())
}

// crashing is a Deployer that ends like in a power cut of its process.
func crashing() *deploy.Deployer {
	at, err := strconv.Atoi(os.Getenv(crashAt))
	if err != nil {
		return &deploy.Deployer{}
	}
	n := 0
	return &deploy.Deployer{Recorded: func(attempt.Record) {
		if n++; n == at {
			p, _ := os.FindProcess(os.Getpid())
			_ = p.Signal(syscall.SIGKILL)
			select {}
		}
	}}
}
