package deploy_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/deploy"
	"github.com/muster/muster/server/internal/device"
)

// What happens between two steps of an operation, or between a commit and the word of it, must neither
// be lost nor leave a deployment waiting for something that has come already.

// TestSignedAgain_beforeTheOldOneIsReported: the new signature arrives while the device still works on
// the old envelope. Its late "expired" must not wait for a signature that is there.
func TestSignedAgain_beforeTheOldOneIsReported(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		priority int
		end      protocol.State
		again    bool
	}{
		"expired":               {5, protocol.StateExpired, true},
		"expired, priority 0":   {0, protocol.StateExpired, true},
		"refused, priority 0":   {0, protocol.StateRefused, true},
		"refused":               {5, protocol.StateRefused, false},
		"succeeded, priority 0": {0, protocol.StateSucceeded, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, e *env) {
				dev, pkg, other := e.addDevice(false), e.addPackage("App", tc.priority), e.addPackage("Other", 7)
				e.assign(pkg, dev)
				e.assign(other, dev)
				d := e.of(dev, pkg)
				e.say(dev, report(d, protocol.StateAccepted, ""))
				pkg.InstructionDigest = random()
				e.putPackage(pkg)
				e.svc.PackageChanged(t.Context(), pkg.ID)
				e.live.takeWoken()

				e.say(dev, report(d, tc.end, ""))
				d = e.of(dev, pkg)
				if !tc.again {
					require.Equal(t, tc.end, d.State)
					return
				}
				require.Equal(t, protocol.StateAssigned, d.State)
				require.Equal(t, 2, d.Attempt)
				require.Equal(t, "the package was signed again meanwhile", d.Timeline[len(d.Timeline)-1].Message)
				require.Contains(t, e.offered(dev), "App")
				require.Equal(t, []string{dev}, e.live.takeWoken())

				e.say(dev, report(d, tc.end, "")) // the newest one is no better: now it waits
				require.Equal(t, 2, e.of(dev, pkg).Attempt)
				require.NotContains(t, e.offered(dev), "App")
			})
		})
	}
}

// earlier answers with what was true when the operation began.
type earlier struct {
	*device.Service
	targets []device.Target
}

func (e earlier) Targets(context.Context, []string, bool) ([]device.Target, error) {
	return e.targets, nil
}

func TestAssign_deviceChangesMeanwhile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(true), e.addPackage("App", 5)
		old, err := e.devices.Targets(t.Context(), []string{dev}, false)
		require.NoError(t, err)
		_, err = e.devices.Approve(t.Context(), dev)
		require.NoError(t, err)
		opt := e.options()
		opt.Devices = earlier{e.devices, old}
		late := deploy.New(opt)
		_, err = late.Assign(t.Context(), deploy.AssignRequest{PackageID: pkg.ID, DeviceIDs: []string{dev}})
		require.NoError(t, err)
		require.Equal(t, protocol.StateAssigned, e.of(dev, pkg).State, "nobody will approve it a second time")
		require.Equal(t, []string{"App"}, e.offered(dev))

		_, err = e.devices.Revoke(t.Context(), dev)
		require.NoError(t, err)
		other := e.addPackage("Other", 5)
		_, err = late.Assign(t.Context(), deploy.AssignRequest{PackageID: other.ID, DeviceIDs: []string{dev}})
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		made, err := late.Assign(t.Context(), deploy.AssignRequest{PackageID: other.ID, All: true})
		require.NoError(t, err)
		require.Zero(t, made.DeviceCount)
	})
}

func TestRun_finishesApprovalsAndRevocationsThatACrashCutOff(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		approved, revoked, pending, removed := e.addDevice(true), e.addDevice(true), e.addDevice(true), e.addDevice(false)
		copied, credential := e.addComputer(false)
		pkg := e.addPackage("App", 5)
		e.assign(pkg, approved, revoked, pending, copied, removed)
		e.stop()
		deaf := device.New(device.Options{DB: e.db, Live: e.live, Log: e.options().Log}) // nobody is told
		_, err := deaf.Approve(t.Context(), approved)
		require.NoError(t, err)
		_, err = deaf.Revoke(t.Context(), revoked)
		require.NoError(t, err)
		require.NoError(t, e.db.Exec("UPDATE devices SET state = ? WHERE id = ?", protocol.DeviceRemoved, removed).Error)
		d, err := deaf.Authenticate(t.Context(), credential)
		require.NoError(t, err)
		_, err = deaf.CheckIn(t.Context(), d, protocol.CheckInRequest{MachineID: "another"})
		require.NoError(t, err)
		require.Equal(t, []string{"App"}, e.offered(approved), "an approved device gets its work all the same")

		again, ended := deploy.New(e.options()), make(chan struct{})
		go func() {
			defer close(ended)
			again.Run(t.Context())
		}()
		t.Cleanup(func() { <-ended })
		require.Eventually(t, func() bool {
			return e.of(approved, pkg).Reason == protocol.ReasonReleased && e.of(revoked, pkg).State == protocol.StateCancelled &&
				e.of(copied, pkg).Reason == protocol.ReasonDeviceQuarantined && e.of(removed, pkg).State == protocol.StateCancelled
		}, patience, pollEvery)
		require.Equal(t, "cancelled: the device was removed", e.of(removed, pkg).Summary)
		_, err = again.Assign(t.Context(), deploy.AssignRequest{PackageID: pkg.ID, DeviceIDs: []string{removed}})
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		require.Equal(t, protocol.ReasonDevicePending, e.of(pending, pkg).Reason)
	})
}

func TestRetry_ofWhatWasTakenBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		a, b, pkg := e.addDevice(false), e.addDevice(false), e.addPackage("App", 5)
		made := e.assign(pkg, a, b)
		e.run(e.of(a, pkg), protocol.StateFailed, protocol.ReasonExitCode, 1)
		require.NoError(t, e.svc.Unassign(t.Context(), made.ID, "ann"))
		for _, dev := range []string{a, b} {
			err := e.svc.Retry(t.Context(), e.of(dev, pkg).ID, "ann")
			require.True(t, fault.Is(err, fault.Conflict), "%v", err)
			require.ErrorContains(t, err, "assign the package again")
		}
		e.assign(pkg, a)
		require.Equal(t, []string{"App"}, e.offered(a))
	})
}

// A package is retired, or signed again, between the look at it and the transaction.
func TestRetry_packageChangesMeanwhile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		e.run(e.of(dev, pkg), protocol.StateFailed, protocol.ReasonExitCode, 1)
		opt, looked := e.options(), false
		opt.Package = func(ctx context.Context, id string) (deploy.Package, error) {
			found, err := e.pkg(ctx, id)
			if !looked {
				looked = true
				retired := found
				retired.State = deploy.PackageRetired
				e.putPackage(retired)
				e.svc.PackageChanged(ctx, id)
			}
			return found, err
		}
		require.NoError(t, deploy.New(opt).Retry(t.Context(), e.of(dev, pkg).ID, "ann"))
		require.Equal(t, protocol.StateCancelled, e.of(dev, pkg).State)
		require.Empty(t, e.offered(dev))
	})
}

// Two new signatures are spread at once; the word of the older one comes last.
func TestPackageChanged_theNewestSignatureWins(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		newest := pkg
		newest.InstructionDigest = random()
		pkg.InstructionDigest = random()
		opt, looked := e.options(), false
		opt.Package = func(ctx context.Context, id string) (deploy.Package, error) {
			if !looked {
				looked = true
				e.putPackage(newest)
				e.svc.PackageChanged(ctx, id)
				return pkg, nil
			}
			return e.pkg(ctx, id)
		}
		deploy.New(opt).PackageChanged(t.Context(), pkg.ID)
		tasks, _, err := e.svc.Offer(t.Context(), dev)
		require.NoError(t, err)
		require.Equal(t, newest.InstructionDigest, tasks[0].Deploy.Instruction)
	})
}

// A request whose client has gone still finishes what it has begun.
func TestChanges_outliveTheirRequest(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(true), e.addPackage("App", 5)
		e.assign(pkg, dev)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := e.devices.Approve(t.Context(), dev)
		require.NoError(t, err)
		e.svc.DeviceChanged(gone, device.Change{DeviceID: dev, State: protocol.DeviceRevoked})
		require.Equal(t, protocol.StateCancelled, e.of(dev, pkg).State)
		e.assign(pkg, dev)
		pkg.State = deploy.PackageRetired
		e.putPackage(pkg)
		e.svc.PackageChanged(gone, pkg.ID)
		require.Equal(t, protocol.ReasonRetired, e.of(dev, pkg).Reason)
	})
}

// A device cannot fill the database with reports about one attempt, but its result is always taken.
func TestIngest_boundsTheTimelineOfAnAttempt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		d := e.of(dev, pkg)
		e.say(dev, report(d, protocol.StateStarted, ""))
		refused := 0
		for range 3 {
			var many []protocol.Report
			for range protocol.MaxReports {
				many = append(many, report(d, protocol.StateWaiting, protocol.ReasonBusy))
			}
			ack, err := e.svc.Ingest(t.Context(), dev, many)
			require.NoError(t, err)
			for _, r := range ack.Refused {
				require.Equal(t, string(fault.TooMany), r.Code)
			}
			refused += len(ack.Refused)
		}
		require.Equal(t, 101, refused)
		e.say(dev, report(d, protocol.StateSucceeded, protocol.ReasonExitCode, 0))
		require.Equal(t, "succeeded (exit code 0)", e.of(dev, pkg).Summary)

		long := report(d, protocol.StateAccepted, "")
		long.Deployment.AttemptID = random() + random()
		ack, err := e.svc.Ingest(t.Context(), dev, []protocol.Report{long})
		require.NoError(t, err)
		require.Less(t, len(ack.Refused[0].Message), 200, "what it sent is not sent back to it whole")
		long.ID = random() + random()
		ack, err = e.svc.Ingest(t.Context(), dev, []protocol.Report{long})
		require.NoError(t, err)
		require.Equal(t, long.ID[:64], ack.Refused[0].ID)
	})
}

// A device that was already at work on a package when a priority-0 one came goes on reporting: the
// deployment still says that it is held back, and is released like any other.
func TestPriority0_holdsBackWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, x, other := e.addDevice(false), e.addPackage("X", 0), e.addPackage("Other", 5)
		e.assign(other, dev)
		d := e.of(dev, other)
		e.say(dev, report(d, protocol.StateAccepted, ""))
		e.assign(x, dev)
		e.say(dev, report(d, protocol.StateFetching, ""))
		e.say(dev, report(d, protocol.StateWaiting, protocol.ReasonStalled))
		require.Equal(t, "waiting: priority-0 package X 1.0 has not succeeded", e.of(dev, other).Summary)
		e.live.takeWoken()
		e.run(e.of(dev, x), protocol.StateSucceeded, protocol.ReasonExitCode, 0)
		require.Equal(t, protocol.ReasonReleased, e.of(dev, other).Reason)
		require.Equal(t, []string{dev}, e.live.takeWoken())
		require.Equal(t, []string{"Other"}, e.offered(dev))
		e.run(d, protocol.StateSucceeded, protocol.ReasonExitCode, 0)
		require.Equal(t, []string{
			"admin assigned", "device accepted", "server waiting/held_by_priority_0", "device fetching",
			"server waiting/held_by_priority_0", "device waiting/stalled", "server waiting/held_by_priority_0",
			"server waiting/released", "device accepted", "device fetching", "device fetched", "device started", "device succeeded/exit_code",
		}, steps(e.of(dev, other)))
	})
}
