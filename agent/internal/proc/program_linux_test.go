package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
)

// programInput is the input of the test task that runs a program; a program that is to be found again is run in
// a folder of its own.
type programInput struct {
	Shell  string        `json:"shell"`
	Dir    string        `json:"dir"`
	Limit  time.Duration `json:"limit"`
	Memory int64         `json:"memory"`
	Refuse string        `json:"refuse"` // the event that is not taken
}

// programTold is what it tells.
type programTold struct {
	End    ProgramEnd `json:"end"`
	Error  string     `json:"error"`
	Code   string     `json:"code"`
	Events []string   `json:"events"`
	Output []string   `json:"output"`
}

// runProgramTask runs a program as a task process does.
func runProgramTask(ctx context.Context, raw []byte, emit func(any) error) error {
	var in programInput
	if err := json.Unmarshal(raw, &in); err != nil {
		return err
	}
	var told programTold
	var mu sync.Mutex
	end, err := RunProgram(ctx, Program{
		Argv: []string{"/bin/sh", "-c", in.Shell}, Dir: in.Dir, Env: []string{"OWN=value"}, Input: []byte("the input\n"), TimeLimit: in.Limit, MemoryLimit: in.Memory,
		Event: func(line []byte) error {
			if string(line) == in.Refuse && in.Refuse != "" {
				return errors.New("refused")
			}
			told.Events = append(told.Events, string(line))
			return nil
		},
		Output: func(line []byte) {
			mu.Lock()
			defer mu.Unlock()
			told.Output = append(told.Output, string(line))
		},
	})
	if told.End = end; err != nil {
		told.Error, told.Code = err.Error(), string(fault.CodeOf(err))
	}
	return emit(told)
}

// runProgram has a task process run a shell program, and waits until nobody is left of it.
func runProgram(t *testing.T, in programInput) programTold {
	t.Helper()
	in.Dir = t.TempDir()
	data, err := json.Marshal(in)
	require.NoError(t, err)
	task, events := startTask(t, t.Context(), TaskOptions{Name: "program", Input: data, Limit: 2 * time.Minute})
	require.NoError(t, task.Wait())
	requireNobodyIn(t, in.Dir)
	return decode[programTold](t, events)
}

func TestProgram_saysAndIsTold(t *testing.T) {
	t.Parallel()
	told := runProgram(t, programInput{Shell: `read line; echo "$line, $OWN"; echo wrong >&2; printf 'one\n\n two \nno end' >&3; exit 3`})
	require.Equal(t, 3, told.End.ExitCode)
	require.Empty(t, told.Error)
	require.Equal(t, []string{"one", " two "}, told.Events)
	require.Equal(t, []string{"the input, value", "wrong"}, told.Output)
}

// What a program leaves behind goes with it, also in sessions of its own and with the mark of a runner.
func TestProgram_leavesNothingBehind(t *testing.T) {
	t.Parallel()
	told := runProgram(t, programInput{Shell: `MUSTER_RUNNER=1 setsid sh -c 'trap "" TERM; sleep 300 & exec sleep 300' & echo '{}' >&3`})
	require.Zero(t, told.End.ExitCode)
	require.Equal(t, []string{"{}"}, told.Events)
}

func TestProgram_isEndedAtItsLimit(t *testing.T) {
	t.Parallel()
	told := runProgram(t, programInput{Limit: 300 * time.Millisecond, Shell: `trap "" TERM; setsid sleep 300 & while :; do sleep 300; done`})
	require.True(t, told.End.TimedOut)
	require.False(t, told.End.OverMemory)
	require.Equal(t, -1, told.End.ExitCode)
}

// The memory of all its processes counts, and all of them go.
func TestProgram_isEndedOverItsMemory(t *testing.T) {
	t.Parallel()
	told := runProgram(t, programInput{Memory: 40 << 20, Shell: `(head -c 120000000 /dev/zero; sleep 300) | tail -c +2 | (tail; sleep 300)`})
	require.True(t, told.End.OverMemory)
	require.False(t, told.End.TimedOut)
}

func TestProgram_isEndedForWhatItSays(t *testing.T) {
	t.Parallel()
	told := runProgram(t, programInput{Refuse: "bad", Shell: `echo good >&3; echo bad >&3; sleep 300`})
	require.Equal(t, "refused", told.Error)
	require.Equal(t, []string{"good"}, told.Events)
	told = runProgram(t, programInput{Shell: `head -c 200000 /dev/zero >&3; sleep 300`})
	require.Equal(t, string(fault.TooLarge), told.Code, told.Error)
}

// Neither the end of the agent nor that of the task leaves a program running.
func TestProgram_endsWithWhoStartedIt(t *testing.T) {
	t.Parallel()
	for name, victim := range map[string]func(resident, task int) int{
		"resident": func(resident, _ int) int { return resident },
		"task":     func(_, task int) int { return task },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			resident := exec.Command("/proc/self/exe", "start-program", dir)
			out, err := resident.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, resident.Start())
			t.Cleanup(func() { _ = resident.Process.Kill(); _ = resident.Wait() })
			line, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			task, err := strconv.Atoi(strings.TrimSpace(line))
			require.NoError(t, err)
			require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, "begun")); return err == nil }, time.Minute, 10*time.Millisecond)
			process, err := os.FindProcess(victim(resident.Process.Pid, task))
			require.NoError(t, err)
			require.NoError(t, process.Kill())
			requireGone(t, task)
			requireNobodyIn(t, dir)
		})
	}
}

// startProgramAndHang is a resident whose task runs a program.
func startProgramAndHang(dir string) int {
	in, err := json.Marshal(programInput{Shell: "touch begun; exec sleep 300", Dir: dir})
	if err != nil {
		return 1
	}
	task, err := StartTask(context.Background(), TaskOptions{Name: "program", Input: in, Env: []string{endAtOnce}})
	if err != nil {
		return 1
	}
	os.Stdout.WriteString(strconv.Itoa(task.PID()) + "\n")
	_ = task.Wait()
	<-time.After(time.Minute) // to be killed
	return 0
}

func TestGroupMemory(t *testing.T) {
	t.Parallel()
	require.Equal(t, int64(30<<10), groupMemory([]byte("  7  10\n 77 500\n  7  20\n7\nx y\n"), 7))
	require.Equal(t, int64(5), residentPages([]byte("10 5 2 1 0 3 0\n")))
}

// Whatever ps or the kernel prints, memory is no negative number.
func FuzzMemory(f *testing.F) {
	f.Add([]byte("7 10\n"))
	f.Add([]byte("10 5 2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		require.GreaterOrEqual(t, groupMemory(data, 7), int64(0))
		require.GreaterOrEqual(t, residentPages(data), int64(0))
	})
}
