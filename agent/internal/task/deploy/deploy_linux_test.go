package deploy_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/agent/internal/task/deploy"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// device is an enrolled device of a fake server.
type device struct {
	server *agenttest.Server
	data   string
	store  *identity.Store
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{server: agenttest.New(t), data: t.TempDir()}
	d.store = identity.Open(d.data, "test")
	_, _, err := identity.Enroll(t.Context(), d.store, d.server.Enrollment(), facts.Read(nil))
	require.NoError(t, err)
	return d
}

func (d *device) input(tk protocol.Task) task.Input {
	return task.Input{DataDir: d.data, Server: "test", ChangeLock: filepath.Join(d.data, "change.lock"), Task: tk}
}

// result is what a run of the task told.
type result struct {
	reports []protocol.Report
	end     task.End
}

func (r result) last() protocol.DeploymentReport { return *r.reports[len(r.reports)-1].Deployment }

func (r result) states() string {
	var out []string
	for _, rep := range r.reports {
		out = append(out, string(rep.Deployment.State))
	}
	return strings.Join(out, " ")
}

func (d *device) run(t *testing.T, p deploy.Deployer, tk protocol.Task) result {
	t.Helper()
	var r result
	err := p.Run(t.Context(), d.input(tk), func(e task.Event) error {
		switch {
		case e.Report != nil:
			require.NoError(t, e.Report.Validate())
			r.reports = append(r.reports, *e.Report)
		case e.End != nil:
			r.end = *e.End
		}
		return nil
	}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	require.NoError(t, err)
	require.Equal(t, r.last().State, r.end.State)
	return r
}

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func TestRun_outcomes(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	zip := agenttest.Zip(t, map[string]string{
		"bin/setup": "#!/bin/sh\necho \"hello $1 from $(cat data.txt) $COLOUR\"; exit ${2:-0}\n", "data.txt": "the archive",
	})
	cases := map[string]struct {
		spec   instruction.Spec
		zip    []byte
		state  protocol.State
		reason protocol.Reason
		exit   int
		output string
	}{
		"launch": {
			instruction.Spec{Action: instruction.Launch, Command: []string{"bin/setup", "world"}, Env: map[string]string{"COLOUR": "green"}},
			zip, protocol.StateSucceeded, protocol.ReasonExitCode, 0, "hello world from the archive green\n",
		},
		"launch fails": {
			instruction.Spec{Action: instruction.Launch, Command: []string{"bin/setup", "x", "7"}}, zip,
			protocol.StateFailed, protocol.ReasonExitCode, 7, "hello x from the archive \n",
		},
		"launch of a file that is not there": {
			instruction.Spec{Action: instruction.Launch, Command: []string{"bin/none"}}, zip,
			protocol.StateFailed, protocol.ReasonCannotStart, -1, "",
		},
		"execute without an archive": {
			instruction.Spec{Action: instruction.Execute, Command: sh("ls | wc -l; echo oops >&2")}, nil,
			protocol.StateSucceeded, protocol.ReasonExitCode, 0, "0\noops\n",
		},
		"execute in the archive": {
			instruction.Spec{Action: instruction.Execute, Command: []string{"cat", "data.txt"}}, zip,
			protocol.StateSucceeded, protocol.ReasonExitCode, 0, "the archive",
		},
		"execute of a program that is not there": {
			instruction.Spec{Action: instruction.Execute, Command: []string{"no-such-program"}}, nil,
			protocol.StateFailed, protocol.ReasonCannotStart, -1, "",
		},
		"own table": {
			instruction.Spec{Action: instruction.Execute, Command: sh("exit 42"), ExitCodes: []instruction.ExitCode{{Code: 42, Outcome: instruction.OutcomeSuccess}}}, nil,
			protocol.StateSucceeded, protocol.ReasonExitCode, 42, "",
		},
		"own table makes zero a failure": {
			instruction.Spec{Action: instruction.Execute, Command: sh("exit 0"), ExitCodes: []instruction.ExitCode{{Code: 0, Outcome: instruction.OutcomeFailure}}}, nil,
			protocol.StateFailed, protocol.ReasonExitCode, 0, "",
		},
		"own table asks to retry": {
			instruction.Spec{Action: instruction.Execute, Command: sh("exit 75"), ExitCodes: []instruction.ExitCode{{Code: 75, Outcome: instruction.OutcomeRetry}}}, nil,
			protocol.StateFailed, protocol.ReasonRetryLater, 75, "",
		},
		"own table asks for a restart": {
			instruction.Spec{Action: instruction.Execute, Command: sh("exit 9"), ExitCodes: []instruction.ExitCode{{Code: 9, Outcome: instruction.OutcomeReboot}}}, nil,
			protocol.StateSucceeded, protocol.ReasonRebootNeeded, 9, "",
		},
		"time limit": {
			instruction.Spec{Action: instruction.Execute, Command: sh("echo begun; sleep 60"), TimeLimitSeconds: 1}, nil,
			protocol.StateFailed, protocol.ReasonTimeLimit, -1, "begun\n",
		},
		"signal": {
			instruction.Spec{Action: instruction.Execute, Command: sh("kill -9 $$")}, nil,
			protocol.StateFailed, protocol.ReasonSignal, -1, "",
		},
		"other system": {
			instruction.Spec{Action: instruction.Execute, Command: sh("exit 0"), Requires: &instruction.Requirements{OS: []string{"windows"}}}, nil,
			protocol.StateNotApplicable, protocol.ReasonRequirements, -1, "",
		},
		"not enough memory": {
			instruction.Spec{Action: instruction.Execute, Command: sh("exit 0"), Requires: &instruction.Requirements{MinMemoryBytes: 1 << 50}}, nil,
			protocol.StateNotApplicable, protocol.ReasonRequirements, -1, "",
		},
		"already there by file": {
			instruction.Spec{Action: instruction.Execute, Command: sh("exit 1"), Detect: &instruction.Detection{File: &instruction.FileRule{Path: "/bin/sh"}}}, nil,
			protocol.StateSucceeded, protocol.ReasonAlreadyInstalled, -1, "",
		},
		"already there by command": {
			instruction.Spec{Action: instruction.Execute, Command: sh("exit 1"), Detect: &instruction.Detection{Command: []string{"true"}}}, nil,
			protocol.StateSucceeded, protocol.ReasonAlreadyInstalled, -1, "",
		},
		"not there afterwards": {
			instruction.Spec{Action: instruction.Execute, Command: sh("exit 0"), Detect: &instruction.Detection{Command: []string{"false"}}}, nil,
			protocol.StateFailed, protocol.ReasonNotDetected, 0, "",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := &device{server: d.server, data: t.TempDir()}
			d.store = identity.Open(d.data, "test")
			_, _, err := identity.Enroll(t.Context(), d.store, d.server.Enrollment(), facts.Read(nil))
			require.NoError(t, err)
			tk := agenttest.Task(d.server.Add(t, c.spec, c.zip, nil))
			last := d.run(t, deploy.Deployer{}, tk).last()
			require.Equal(t, string(c.state)+"/"+string(c.reason), string(last.State)+"/"+string(last.Reason), last.Message)
			require.Equal(t, c.output, last.Output)
			if c.exit >= 0 {
				require.NotNil(t, last.ExitCode)
				require.Equal(t, c.exit, *last.ExitCode)
			} else {
				require.Nil(t, last.ExitCode)
			}
		})
	}
}

func TestRun_defaultExitCodes(t *testing.T) {
	t.Parallel()
	// A process of this system cannot exit with these codes, so the table alone is tested.
	for code, want := range map[int]instruction.Outcome{
		0: instruction.OutcomeSuccess, 3010: instruction.OutcomeReboot, 1641: instruction.OutcomeReboot, 1618: instruction.OutcomeRetry, 1: instruction.OutcomeFailure,
	} {
		require.Equal(t, want, deploy.Outcome(&instruction.Instruction{}, code), "exit code %d", code)
	}
}

func TestRun_tellsEveryStepAndLeavesATombstone(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	ledger := filepath.Join(t.TempDir(), "ledger")
	zip := agenttest.Zip(t, map[string]string{"go.sh": "#!/bin/sh\necho ran >> " + ledger + "\n"})
	tk := agenttest.Task(d.server.Add(t, instruction.Spec{Action: instruction.Launch, Command: []string{"go.sh"}}, zip, nil))
	first := d.run(t, deploy.Deployer{}, tk)
	require.Equal(t, "accepted fetching fetched unpacked started succeeded", first.states())

	a, err := attempt.Open(d.store.Dir(), tk.Deploy.AttemptID)
	require.NoError(t, err)
	for _, gone := range []string{"tree", "run", "envelope.json", "instruction.json"} {
		require.NoFileExists(t, filepath.Join(a.Dir(), gone))
		require.NoDirExists(t, filepath.Join(a.Dir(), gone))
	}
	left, err := os.ReadDir(filepath.Join(d.data, "fragments"))
	require.NoError(t, err)
	require.Empty(t, left, "the fragments of a success are not kept")

	again := d.run(t, deploy.Deployer{}, tk)
	require.Equal(t, first.reports, again.reports, "the same attempt is told again under the same ids")
	require.Equal(t, "ran\n", read(t, ledger), "and does not run again")
}

func TestRun_refuses(t *testing.T) {
	t.Parallel()
	spec := instruction.Spec{Action: instruction.Execute, Command: sh("touch ran")}
	cases := map[string]struct {
		reason protocol.Reason
		task   func(t *testing.T, d *device) protocol.Task
	}{
		"signed by a stranger": {protocol.ReasonSignature, func(t *testing.T, d *device) protocol.Task {
			stranger, err := trust.GenerateKey()
			require.NoError(t, err)
			p := d.server.Add(t, spec, nil, nil)
			return agenttest.Task(d.server.Sign(t, p.Doc, stranger))
		}},
		"another package": {protocol.ReasonMismatch, func(t *testing.T, d *device) protocol.Task {
			tk := agenttest.Task(d.server.Add(t, spec, nil, nil))
			tk.Deploy.PackageID = uuid.NewString()
			return tk
		}},
		"another version": {protocol.ReasonMismatch, func(t *testing.T, d *device) protocol.Task {
			tk := agenttest.Task(d.server.Add(t, spec, nil, nil))
			tk.Deploy.Version = "2.0"
			return tk
		}},
		"another priority": {protocol.ReasonMismatch, func(t *testing.T, d *device) protocol.Task {
			tk := agenttest.Task(d.server.Add(t, spec, nil, nil))
			tk.Deploy.Priority = 0
			return tk
		}},
		"older serial": {protocol.ReasonSerial, func(t *testing.T, d *device) protocol.Task {
			p := d.server.Add(t, spec, nil, nil)
			require.NoError(t, d.store.RaiseSerial(p.Doc.Name, p.Doc.Serial+1, p.Doc.IssuedAt))
			return agenttest.Task(p)
		}},
		"revoked": {protocol.ReasonRevoked, func(t *testing.T, d *device) protocol.Task {
			p := d.server.Add(t, spec, nil, nil)
			d.server.Publish(t, &trust.Document{Version: 2, Keys: []trust.Key{d.server.Root(), d.server.Key.Entry(trust.RoleAuthor)}, Revoked: []string{p.Doc.ID}})
			again := identity.Open(d.data, "test")
			id, err := again.Load()
			require.NoError(t, err)
			_, err = again.AcceptTrust(id.RootKeyID, d.server.Trust())
			require.NoError(t, err)
			return agenttest.Task(p)
		}},
		"hostile archive": {protocol.ReasonArchive, func(t *testing.T, d *device) protocol.Task {
			zip := agenttest.Zip(t, map[string]string{"../../evil": "x"})
			return agenttest.Task(d.server.Add(t, spec, zip, nil))
		}},
		"other bytes": {protocol.ReasonDigest, func(t *testing.T, d *device) protocol.Task {
			d.server.Lock()
			d.server.Body = func(w http.ResponseWriter, _ string, data []byte) bool {
				_, _ = w.Write([]byte(strings.Repeat("x", len(data))))
				return true
			}
			d.server.Unlock()
			return agenttest.Task(d.server.Add(t, spec, agenttest.Zip(t, map[string]string{"a": "b"}), nil))
		}},
		"no trust document": {protocol.ReasonTrust, func(t *testing.T, d *device) protocol.Task {
			require.NoError(t, os.Remove(filepath.Join(d.store.Dir(), "trust.json")))
			return agenttest.Task(d.server.Add(t, spec, nil, nil))
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			tk := c.task(t, d)
			r := d.run(t, deploy.Deployer{}, tk)
			require.Equal(t, protocol.StateRefused, r.last().State, r.last().Message)
			require.Equal(t, c.reason, r.last().Reason, r.last().Message)
			require.NotContains(t, r.states(), "started")
			require.NoDirExists(t, filepath.Join(d.store.Dir(), "attempts", tk.Deploy.AttemptID, "tree"))
			require.NoFileExists(t, filepath.Join(d.data, "..", "evil"))
			kept, err := filepath.Glob(filepath.Join(d.data, "fragments", "*"))
			require.NoError(t, err)
			require.Empty(t, kept, "nothing of what was refused stays")
		})
	}
}

func TestRun_waitsWhileTheServersTrustDocumentIsRefused(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	tk := agenttest.Task(d.server.Add(t, instruction.Spec{Action: instruction.Execute, Command: []string{"true"}}, nil, nil))
	in := d.input(tk)
	in.Untrusted = "the server's trust document is refused"
	var told []protocol.DeploymentReport
	err := (&deploy.Deployer{}).Run(t.Context(), in, func(e task.Event) error {
		if e.Report != nil {
			told = append(told, *e.Report.Deployment)
		}
		return nil
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	last := told[len(told)-1]
	require.Equal(t, protocol.StateWaiting, last.State)
	require.Equal(t, protocol.ReasonTrust, last.Reason)
	require.NotNil(t, last.NextTry)

	require.Equal(t, protocol.StateSucceeded, d.run(t, deploy.Deployer{}, tk).end.State, "the same attempt goes on")
}

func TestRun_expiredWaitsToBeSignedAgain(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := d.server.Add(t, instruction.Spec{Action: instruction.Execute, Command: sh("exit 0")}, nil, func(i *instruction.Instruction) {
		i.IssuedAt = i.IssuedAt.Add(-48 * time.Hour)
		i.ExpiresAt = i.IssuedAt.Add(time.Hour)
	})
	r := d.run(t, deploy.Deployer{}, agenttest.Task(p))
	require.Equal(t, protocol.StateExpired, r.last().State)
	require.Equal(t, protocol.ReasonSignAgain, r.last().Reason)
	require.NotContains(t, r.states(), "started")
}

func TestRun_aClockSetBackDoesNotReviveTheExpired(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := d.server.Add(t, instruction.Spec{Action: instruction.Execute, Command: sh("exit 0")}, nil, nil)
	require.NoError(t, d.store.RaiseSerial("something else", 1, p.Doc.ExpiresAt.Add(time.Hour)))
	require.Equal(t, protocol.StateExpired, d.run(t, deploy.Deployer{}, agenttest.Task(p)).last().State)
}

func TestRun_fetchGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	zip := agenttest.Zip(t, map[string]string{"big": strings.Repeat("0123456789abcdef", 4096)})
	p := d.server.Add(t, instruction.Spec{Action: instruction.Execute, Command: []string{"wc", "-c", "big"}}, zip, nil)
	first := p.Doc.Archive.Fragments[0]
	dir := filepath.Join(d.data, "fragments")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	half := int(first.Length / 2)
	require.NoError(t, os.WriteFile(filepath.Join(dir, first.SHA256+".part"), zip[:half], 0o600))
	var ranges []string
	d.server.Lock()
	d.server.Fail = func(_ http.ResponseWriter, r *http.Request) int {
		if h := r.Header.Get("Range"); h != "" {
			ranges = append(ranges, h)
		}
		return 0
	}
	d.server.Unlock()
	require.Equal(t, "65536 big\n", d.run(t, deploy.Deployer{}, agenttest.Task(p)).last().Output)
	require.Equal(t, []string{fmt.Sprintf("bytes=%d-", half)}, ranges)
}

func TestRun_aStallPausesTheAttempt(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	release := make(chan struct{})
	defer close(release)
	d.server.Lock()
	d.server.Body = func(w http.ResponseWriter, _ string, data []byte) bool {
		_, _ = w.Write(data[:1])
		w.(http.Flusher).Flush()
		<-release
		return true
	}
	d.server.Unlock()
	p := d.server.Add(t, instruction.Spec{Action: instruction.Execute, Command: sh("exit 0")}, agenttest.Zip(t, map[string]string{"a": "b"}), nil)
	r := d.run(t, deploy.Deployer{Stall: 50 * time.Millisecond, Again: time.Millisecond}, agenttest.Task(p))
	require.Equal(t, protocol.StateWaiting, r.last().State)
	require.Equal(t, protocol.ReasonStalled, r.last().Reason)
	require.Contains(t, r.last().Message, "no byte came")
	require.True(t, r.end.NextTry.After(time.Now()))
}

// TestRun_aLineThatNeverComesFurtherPausesTheAttempt: behind a proxy that knows no ranges every try begins anew.
func TestRun_aLineThatNeverComesFurtherPausesTheAttempt(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	var tries atomic.Int64
	d.server.Lock()
	d.server.Body = func(w http.ResponseWriter, _ string, data []byte) bool {
		tries.Add(1)
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	d.server.Unlock()
	p := d.server.Add(t, instruction.Spec{Action: instruction.Execute, Command: sh("exit 0")}, agenttest.Zip(t, map[string]string{"a": "b"}), nil)
	r := d.run(t, deploy.Deployer{Again: time.Millisecond}, agenttest.Task(p))
	require.Equal(t, protocol.StateWaiting, r.last().State)
	require.Equal(t, protocol.ReasonStalled, r.last().Reason)
	require.Contains(t, r.last().Message, "the connection ended after")
	require.EqualValues(t, 4, tries.Load())
}

func TestRun_waitsWhileAnotherChangeRuns(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	lock := holdLock(t, filepath.Join(d.data, "change.lock"))
	tk := agenttest.Task(d.server.Add(t, instruction.Spec{Action: instruction.Execute, Command: sh("exit 0")}, nil, nil))
	r := d.run(t, deploy.Deployer{}, tk)
	require.Equal(t, protocol.ReasonBusy, r.last().Reason)
	require.NotContains(t, r.states(), "started")
	require.NoError(t, lock.Unlock())
	require.Equal(t, "accepted waiting started succeeded", d.run(t, deploy.Deployer{}, tk).states())
}

func TestStore(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	target := filepath.Join(t.TempDir(), "deep", "place")
	zip := agenttest.Zip(t, map[string]string{"etc/a.conf": "a=1", "b.txt": "two"})
	spec := instruction.Spec{Action: instruction.Store, StorePath: target}
	last := d.run(t, deploy.Deployer{}, agenttest.Task(d.server.Add(t, spec, zip, nil))).last()
	require.Equal(t, "succeeded/stored", string(last.State)+"/"+string(last.Reason), last.Message)
	require.EqualValues(t, 2, last.Files)
	require.EqualValues(t, 6, last.Bytes)
	require.Equal(t, "a=1", read(t, filepath.Join(target, "etc", "a.conf")))

	require.NoError(t, os.WriteFile(filepath.Join(target, "b.txt"), []byte("changed"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(target, "own.txt"), []byte("mine"), 0o600))
	require.Equal(t, protocol.StateSucceeded, d.run(t, deploy.Deployer{}, agenttest.Task(d.server.Add(t, spec, zip, nil))).last().State, "it may be repeated")
	require.Equal(t, "two", read(t, filepath.Join(target, "b.txt")))
	require.Equal(t, "mine", read(t, filepath.Join(target, "own.txt")), "other files stay")
}

func TestStore_refusesParentsThatOthersCanReplace(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	open := filepath.Join(t.TempDir(), "open")
	require.NoError(t, os.Mkdir(open, 0o755))
	require.NoError(t, os.Chmod(open, 0o777))
	zip := agenttest.Zip(t, map[string]string{"a": "b"})
	r := d.run(t, deploy.Deployer{}, agenttest.Task(d.server.Add(t, instruction.Spec{Action: instruction.Store, StorePath: filepath.Join(open, "x")}, zip, nil)))
	require.Equal(t, protocol.ReasonStorePath, r.last().Reason)
	require.Contains(t, r.last().Message, "everybody may write there")
	require.NoDirExists(t, filepath.Join(open, "x"))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestRun_waitsAMomentForTheChangeLock(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := d.server.Add(t, instruction.Spec{Action: instruction.Execute, Command: sh("exit 0")}, nil, nil)
	tk := agenttest.Task(p)
	lock, _, err := proc.TryLock(d.input(tk).ChangeLock, "the runner before, which is about to end")
	require.NoError(t, err)
	// Let go as soon as the task has come as far as needing it.
	r := d.run(t, deploy.Deployer{Recorded: func(rec attempt.Record) {
		if rec.State() == protocol.StateAccepted {
			time.AfterFunc(100*time.Millisecond, func() { _ = lock.Unlock() })
		}
	}}, tk)
	require.Equal(t, protocol.StateSucceeded, r.end.State, r.last().Message)
}
