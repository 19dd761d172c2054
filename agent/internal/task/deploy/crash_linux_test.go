package deploy_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/agent/internal/task/deploy"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

func holdLock(t *testing.T, path string) *proc.Lock {
	t.Helper()
	lock, _, err := proc.TryLock(path, "test")
	require.NoError(t, err)
	return lock
}

// process runs the task as a real process of its own, which kills itself after its crash-th new record
// (0: never).
func (d *device) process(t *testing.T, tk protocol.Task, crash int) (result, error) {
	t.Helper()
	input, err := json.Marshal(d.input(tk))
	require.NoError(t, err)
	var r result
	options := proc.TaskOptions{Name: "deploy", Input: input, Log: os.Stderr, Event: func(data json.RawMessage) error {
		var e task.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		if e.Report != nil {
			r.reports = append(r.reports, *e.Report)
		}
		if e.End != nil {
			r.end = *e.End
		}
		return nil
	}}
	options.Env = []string{endAtOnce}
	if crash > 0 {
		options.Env = append(options.Env, fmt.Sprintf("%s=%d", crashAt, crash))
	}
	p, err := proc.StartTask(t.Context(), options)
	require.NoError(t, err)
	err = p.Wait()
	return r, err
}

// TestCrash_atEveryRecordTheCommandRunsExactlyOnce kills the task process after each record in turn, lets a new one go on, and looks at the
// ledger that the command writes: it ran exactly once, and the reports end rightly.
func TestCrash_atEveryRecordTheCommandRunsExactlyOnce(t *testing.T) {
	t.Parallel()
	records := strings.Fields("accepted fetching fetched unpacked started succeeded")
	for n, state := range records {
		t.Run("after "+state, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			ledger := filepath.Join(t.TempDir(), "ledger")
			zip := agenttest.Zip(t, map[string]string{"go.sh": "#!/bin/sh\necho ran >> " + ledger + "\necho done\n"})
			tk := agenttest.Task(d.server.Add(t, instruction.Spec{Action: instruction.Launch, Command: []string{"go.sh"}}, zip, nil))
			_, err := d.process(t, tk, n+1)
			require.Error(t, err, "the process was killed")
			r, err := d.process(t, tk, 0)
			require.NoError(t, err)
			require.Equal(t, strings.Join(records, " "), r.states(), "every state is told, once, in order")
			require.Equal(t, protocol.StateSucceeded, r.end.State)
			require.Equal(t, "done\n", r.last().Output)
			require.Equal(t, "ran\n", read(t, ledger))
		})
	}
}

// TestCrash_ofEverySuccessorToo kills each successor too, after one more record each.
func TestCrash_ofEverySuccessorToo(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	ledger := filepath.Join(t.TempDir(), "ledger")
	zip := agenttest.Zip(t, map[string]string{"go.sh": "#!/bin/sh\necho ran >> " + ledger + "\n"})
	tk := agenttest.Task(d.server.Add(t, instruction.Spec{Action: instruction.Launch, Command: []string{"go.sh"}}, zip, nil))
	crashes := 0
	for {
		r, err := d.process(t, tk, 1)
		if err == nil {
			require.Equal(t, "accepted fetching fetched unpacked started succeeded", r.states())
			break
		}
		crashes++
		require.Less(t, crashes, 20)
	}
	require.Equal(t, 6, crashes)
	require.Equal(t, "ran\n", read(t, ledger))
}

// TestCrash_ofTheAgentIsNoFailure breaks the pipe to the agent at each report in turn, as its death does: that
// says nothing about the package, and the next process goes on.
func TestCrash_ofTheAgentIsNoFailure(t *testing.T) {
	t.Parallel()
	told := strings.Fields("accepted fetching fetched unpacked started succeeded")
	for n, state := range told {
		t.Run("at "+state, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			ledger := filepath.Join(t.TempDir(), "ledger")
			zip := agenttest.Zip(t, map[string]string{"go.sh": "#!/bin/sh\necho ran >> " + ledger + "\n"})
			tk := agenttest.Task(d.server.Add(t, instruction.Spec{Action: instruction.Launch, Command: []string{"go.sh"}}, zip, nil))
			reports := 0
			err := new(deploy.Deployer).Run(t.Context(), d.input(tk), func(e task.Event) error {
				if e.Report != nil {
					reports++
				}
				if reports > n {
					return syscall.EPIPE
				}
				return nil
			}, slog.New(slog.DiscardHandler))
			require.ErrorIs(t, err, syscall.EPIPE)
			r := d.run(t, deploy.Deployer{}, tk)
			require.Equal(t, strings.Join(told, " "), r.states())
			require.Equal(t, "ran\n", read(t, ledger))
		})
	}
}

// TestCrash_whileTheCommandRuns kills the task while the command goes on; the next process attaches.
func TestCrash_whileTheCommandRuns(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	dir := t.TempDir()
	ledger, gate := filepath.Join(dir, "ledger"), filepath.Join(dir, "gate")
	script := "echo ran >> " + ledger + "; " + agenttest.UntilFile(gate) + "; echo ended; exit 3"
	tk := agenttest.Task(d.server.Add(t, instruction.Spec{Action: instruction.Execute, Command: sh(script)}, nil, nil))

	input, err := json.Marshal(d.input(tk))
	require.NoError(t, err)
	p, err := proc.StartTask(t.Context(), proc.TaskOptions{
		Name: "deploy", Input: input, Env: []string{endAtOnce}, Event: func(json.RawMessage) error { return nil },
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := os.Stat(ledger); return err == nil }, agenttest.Deadline, 10*time.Millisecond)
	child, err := os.FindProcess(p.PID())
	require.NoError(t, err)
	require.NoError(t, child.Kill())
	require.Error(t, p.Wait())

	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	r, err := d.process(t, tk, 0)
	require.NoError(t, err)
	require.Equal(t, "accepted started failed", r.states())
	require.Equal(t, 3, *r.last().ExitCode)
	require.Equal(t, "ended\n", r.last().Output)
	require.Equal(t, "ran\n", read(t, ledger))
}

// TestCrash_ofTheComputer changes the boot id in the journal: nobody can tell how the command ended.
func TestCrash_ofTheComputer(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		detect *instruction.Detection
		want   string
	}{
		"no rule":       {nil, "interrupted/no_status"},
		"rule says yes": {&instruction.Detection{File: &instruction.FileRule{Path: "LEDGER"}}, "succeeded/already_installed"},
		"rule says no":  {&instruction.Detection{Command: []string{"false"}}, "interrupted/no_status"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			ledger := filepath.Join(t.TempDir(), "ledger")
			spec := instruction.Spec{Action: instruction.Execute, Command: sh("echo ran >> " + ledger), Detect: c.detect}
			if c.detect != nil && c.detect.File != nil {
				spec.Detect = &instruction.Detection{File: &instruction.FileRule{Path: ledger}}
			}
			tk := agenttest.Task(d.server.Add(t, spec, nil, nil))
			_, err := d.process(t, tk, 2) // killed right after `started` was journalled
			require.Error(t, err)
			rewriteBoot(t, d, tk)
			if spec.Detect != nil && spec.Detect.File != nil {
				require.NoError(t, os.WriteFile(ledger, []byte("by the command\n"), 0o600))
			}
			r, err := d.process(t, tk, 0)
			require.NoError(t, err)
			require.Equal(t, c.want, string(r.last().State)+"/"+string(r.last().Reason))
			require.Contains(t, r.last().Message, "restarted")
			if c.want[0] == 'i' {
				require.NoFileExists(t, ledger, "it is never begun after a restart in between")
			}
		})
	}
}

// rewriteBoot makes the journal say that the command was started during another boot.
func rewriteBoot(t *testing.T, d *device, tk protocol.Task) {
	t.Helper()
	a, err := attempt.Open(d.store.Dir(), tk.Deploy.AttemptID)
	require.NoError(t, err)
	j, records, err := a.Journal()
	require.NoError(t, err)
	require.NoError(t, j.Close())
	require.NoError(t, os.Remove(filepath.Join(a.Dir(), "journal")))
	j, _, err = a.Journal()
	require.NoError(t, err)
	for _, r := range records {
		if r.State() == protocol.StateStarted {
			r.BootID = "another boot"
		}
		require.NoError(t, j.Append(r))
	}
	require.NoError(t, j.Close())
}
