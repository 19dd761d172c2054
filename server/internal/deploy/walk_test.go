package deploy_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/deploy"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// walk does whatever may happen to one device's deployments, in any order, and looks after each step
// whether what must always hold does.
type walk struct {
	*env
	*rand.Rand
	dev  string
	cred string // of the device
	pkgs []deploy.Package
	log  []string
}

// TestWalk_invariants: whatever people, packages and the device do, in whatever order.
func TestWalk_invariants(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		dialect := store.SQLite
		if seed >= 6 {
			dialect = store.MySQL
		}
		t.Run(fmt.Sprint(dialect, seed), func(t *testing.T) {
			t.Parallel()
			w := &walk{env: newEnv(t, storetest.Open(t, dialect)), Rand: rand.New(rand.NewPCG(seed, 7))}
			w.dev, w.cred = w.addComputer(seed%2 == 0)
			for i, priority := range []int{0, 0, 3, 5, 5, 10} {
				p := deploy.Package{Name: fmt.Sprint("P", i), Priority: priority, RerunSafe: i%2 == 0, RetryAttempts: i % 3}
				w.pkgs = append(w.pkgs, w.putPackage(p))
			}
			for range 150 {
				w.step()
				w.check()
			}
		})
	}
}

func (w *walk) did(err error, format string, args ...any) {
	w.t.Helper()
	if err != nil {
		require.NotEqual(w.t, fault.Internal, fault.CodeOf(err), "%v after %v", err, w.log)
		return
	}
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *walk) step() {
	w.t.Helper()
	i := w.IntN(len(w.pkgs))
	list, err := w.svc.List(w.ctx(), deploy.Filter{DeviceID: w.dev, Limit: 200})
	require.NoError(w.t, err)
	switch n := w.IntN(100); {
	case n < 20 || len(list) == 0:
		at := time.Now().Add(time.Duration(w.IntN(3)-1) * time.Hour) // an hour ago, now, or in an hour
		_, err := w.svc.Assign(w.ctx(), deploy.AssignRequest{PackageID: w.pkgs[i].ID, DeviceIDs: []string{w.dev}, NotBefore: &at, By: "ann"})
		w.did(err, "assign %s", w.pkgs[i].Name)
	case n < 26:
		d := list[w.IntN(len(list))]
		w.did(w.svc.Retry(w.ctx(), d.ID, "ann"), "retry %s", d.PackageName)
	case n < 30:
		d := list[w.IntN(len(list))]
		w.did(w.svc.Cancel(w.ctx(), d.ID, "ann"), "cancel %s", d.PackageName)
	case n < 33:
		d := list[w.IntN(len(list))]
		w.did(w.svc.Unassign(w.ctx(), d.AssignmentID, "ann"), "unassign %s", d.PackageName)
	case n < 37:
		w.pkgs[i].InstructionDigest = random()
		w.pkgs[i] = w.putPackage(w.pkgs[i])
		w.svc.PackageChanged(w.ctx(), w.pkgs[i].ID)
		w.did(nil, "sign %s", w.pkgs[i].Name)
	case n < 39:
		w.pkgs[i].State = deploy.PackageRetired
		w.putPackage(w.pkgs[i])
		w.svc.PackageChanged(w.ctx(), w.pkgs[i].ID)
		w.did(nil, "retire %s", w.pkgs[i].Name)
		w.pkgs[i].ID, w.pkgs[i].State = "", "" // its successor
		w.pkgs[i] = w.putPackage(w.pkgs[i])
	case n < 42:
		_, err := w.devices.Approve(w.ctx(), w.dev)
		w.did(err, "approve")
	case n < 45:
		w.did(w.copyChecksIn(), "another machine checks in with the identity")
	case n == 45 && len(w.log) > 100:
		_, err := w.devices.Revoke(w.ctx(), w.dev)
		w.did(err, "revoke")
	default: // the device says anything about any attempt, mostly of the newest deployments
		d := list[min(w.IntN(len(list)), w.IntN(len(list)))]
		states := []protocol.State{
			"waiting", "accepted", "fetching", "fetched", "unpacked", "started", "succeeded", "failed", "refused", "expired",
			"interrupted", "not_applicable",
		}
		reasons := []protocol.Reason{"", protocol.ReasonRetryLater, protocol.ReasonHeldByPriority0, protocol.ReasonDevicePending, protocol.ReasonDeviceQuarantined, protocol.ReasonExitCode, protocol.ReasonSignAgain}
		r := report(d, states[w.IntN(len(states))], reasons[w.IntN(len(reasons))], w.IntN(3))
		ack, err := w.svc.Ingest(w.ctx(), w.dev, []protocol.Report{r})
		require.NoError(w.t, err)
		require.Empty(w.t, ack.Refused)
		w.did(nil, "%s is %s (%s)", d.PackageName, r.Deployment.State, r.Deployment.Reason)
	}
}

// copyChecksIn quarantines the device, unless it may not speak at all.
func (w *walk) copyChecksIn() error {
	d, err := w.devices.Authenticate(w.ctx(), w.cred)
	if err != nil {
		return err
	}
	_, err = w.devices.CheckIn(w.ctx(), d, protocol.CheckInRequest{MachineID: random()})
	return err
}

func (w *walk) check() {
	w.t.Helper()
	dev, err := w.devices.Get(w.ctx(), w.dev)
	require.NoError(w.t, err)
	list, err := w.svc.List(w.ctx(), deploy.Filter{DeviceID: w.dev, Limit: 200})
	require.NoError(w.t, err)
	gate, live := false, map[string]bool{}
	for _, d := range list {
		if !d.State.Final() || d.Blocks {
			require.False(w.t, live[d.PackageID], "two of %s: %v", d.PackageName, w.log)
			live[d.PackageID] = true
			scheduled := d.Attempt == 1 && d.NotBefore != nil && d.NotBefore.After(time.Now())
			gate = gate || d.Priority == 0 && !scheduled
			require.True(w.t, d.Blocks || d.FinishedAt == nil, "%v", w.log)
		} else {
			require.NotNil(w.t, d.FinishedAt, "%v", w.log)
		}
	}
	offered := map[string]bool{}
	tasks, next, err := w.svc.Offer(w.ctx(), w.dev)
	require.NoError(w.t, err)
	for _, task := range tasks {
		offered[task.Deploy.DeploymentID] = true
		require.True(w.t, task.Deploy.Priority == 0 || !gate, "%s past the gate: %v", task.Deploy.PackageName, w.log)
	}
	require.True(w.t, dev.State != protocol.DeviceRevoked || len(live) == 0, "a revoked device has work: %v", w.log)
	for _, d := range list {
		w.checkOne(d, gate, offered[d.ID], next > 0, dev.State)
	}
}

// checkOne holds one deployment against the gate and what is offered: what is open is offered, or says
// why it is not.
func (w *walk) checkOne(d deploy.Deployment, gate, offered, later bool, device string) {
	w.t.Helper()
	held := d.State == protocol.StateWaiting && d.WaitsFor != ""
	exempt := d.State == protocol.StateStarted || d.Reason == protocol.ReasonSignAgain && d.State == protocol.StateWaiting
	barred := map[string]protocol.Reason{
		protocol.DevicePending: protocol.ReasonDevicePending, protocol.DeviceQuarantined: protocol.ReasonDeviceQuarantined,
	}[device]
	switch {
	case d.State.Final():
		require.False(w.t, offered, "%s is over: %v", d.PackageName, w.log)
	case barred != "":
		require.True(w.t, exempt || d.State == protocol.StateWaiting && d.Reason == barred,
			"%s (%s) does not say that its device is %s: %v", d.PackageName, d.Summary, device, w.log)
	case gate && d.Priority != 0:
		require.True(w.t, held || exempt, "%s (%s) does not say what holds it back: %v", d.PackageName, d.Summary, w.log)
	default:
		require.False(w.t, held, "%s is held by nothing: %v", d.PackageName, w.log)
		delayed := d.NotBefore != nil && d.NotBefore.After(time.Now())
		require.False(w.t, delayed && d.Attempt > 1 && d.Reason == protocol.ReasonReleased, "%s waits for a time: %v", d.PackageName, w.log)
		waits := d.Reason == protocol.ReasonSignAgain || delayed && later
		require.True(w.t, offered || waits, "%s (%s) is forgotten: %v", d.PackageName, d.Summary, w.log)
	}
	pending := d.State == protocol.StateWaiting && (d.Reason == protocol.ReasonDevicePending || d.Reason == protocol.ReasonDeviceQuarantined)
	require.False(w.t, pending && device == protocol.DeviceActive, "nobody approves it again: %v", w.log)
	if w.IntN(10) == 0 {
		full, err := w.svc.Get(w.ctx(), d.ID)
		require.NoError(w.t, err)
		for i, e := range full.Timeline {
			require.Equal(w.t, i+1, e.Seq)
			require.NotEmpty(w.t, e.Message)
		}
	}
}
