package proc

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parallel is how many tests run at a time, for nearly all of them wait for limits to pass.
const parallel = "6"

// TestMain makes the test binary what the agent's main function is to this package: started again with
// `runner DIR` or `task NAME`, it is a real runner or task process. A runner ends without the second that a
// program built with the race detector otherwise takes to end: there are dozens of them. Tasks are told so by
// their environment.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case ArgRunner:
			syscall.Exit(RunnerMain(os.Args[2], os.Stderr))
		case ArgTask:
			os.Exit(ChildMain(testTask(os.Args[2])))
		case "start-runner": // a task or resident that starts a runner and is then killed
			os.Exit(startAndHang(os.Args[2]))
		case "start-task": // a resident that starts a task and is then killed
			os.Exit(startTaskAndHang(os.Args[2]))
		case "start-program": // a resident whose task runs a program
			os.Exit(startProgramAndHang(os.Args[2]))
		case "lock-full":
			syscall.Exit(lockOnAFullDisk(os.Args[2]))
		case "start-tasks": // a resident of an ordinary user
			os.Exit(startTasks(os.Args[2]))
		}
	}
	flag.Parse()
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// endAtOnce lets a task process of a test built with the race detector end without its second of waiting.
const endAtOnce = "GORACE=atexit_sleep_ms=0"

type testInput struct {
	Text    string   `json:"text"`
	Count   int      `json:"count"`
	Dir     string   `json:"dir"`
	Command []string `json:"command"`
}

// testTask is what the task processes of the tests do.
func testTask(name string) func(context.Context, []byte, func(any) error) error {
	if name == "program" {
		return runProgramTask
	}
	return func(ctx context.Context, raw []byte, emit func(any) error) error {
		var in testInput
		if err := json.Unmarshal(raw, &in); err != nil {
			return err
		}
		switch name {
		case "echo":
			for i := range in.Count {
				if err := emit(fmt.Sprintf("%s %d", in.Text, i)); err != nil {
					return err
				}
			}
			fmt.Fprintln(os.Stderr, "a line for the log")
			fmt.Fprint(os.Stderr, strings.Repeat("x", maxLogLine+1))
			return nil
		case "fail":
			return errors.New("this task fails")
		case "wait": // until it is told to end
			if err := emit(os.Getpid()); err != nil {
				return err
			}
			<-ctx.Done()
			return os.WriteFile(in.Dir+"/ended", []byte(context.Cause(ctx).Error()), 0o600)
		case "stubborn": // ends for nobody, and has a child
			cmd := exec.Command("sleep", "300")
			if err := cmd.Start(); err != nil {
				return err
			}
			if err := emit([]int{os.Getpid(), cmd.Process.Pid}); err != nil {
				return err
			}
			select {}
		case "runner": // starts a runner and stays
			run, err := StartRunner(in.Dir, Command{Argv: in.Command})
			if err != nil {
				return err
			}
			if err := emit(run.PID); err != nil {
				return err
			}
			select {}
		case "long":
			return emit(strings.Repeat("x", in.Count))
		case "garbage":
			events, err := openEvents()
			if err != nil {
				return err
			}
			_, err = events.WriteString(in.Text)
			return err
		case "environment":
			return emit(os.Environ())
		default:
			return fmt.Errorf("no test task %q", name)
		}
	}
}

// startAndHang starts the command of an environment variable in dir and stays until it is killed.
func startAndHang(dir string) int {
	lock, _, err := TryLock(dir+"/change.lock", "test")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if _, err := StartRunner(dir, Command{Argv: []string{"/bin/sh", "-c", os.Getenv("TEST_COMMAND")}}, lock); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	<-time.After(time.Minute) // to be killed
	return 1
}

func startTaskAndHang(dir string) int {
	in, err := json.Marshal(testInput{Dir: dir})
	if err != nil {
		return 1
	}
	task, err := StartTask(context.Background(), TaskOptions{Name: "wait", Input: in, Event: func(event json.RawMessage) error {
		fmt.Println(string(event))
		return nil
	}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_ = task.Wait()
	return 0
}
