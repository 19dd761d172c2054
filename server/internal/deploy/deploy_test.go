package deploy_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/deploy"
)

func TestDeployment_fromAssignmentToSuccess(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("Firefox", 5)
		a := e.assign(pkg, dev, dev)
		require.Equal(t, 1, a.DeviceCount, "a device named twice gets one deployment")
		require.Equal(t, []string{dev}, e.live.takeWoken())
		d := e.of(dev, pkg)
		require.Equal(t, "assigned: not yet picked up by the device", d.Summary)

		tasks, next, err := e.svc.Offer(t.Context(), dev)
		require.NoError(t, err)
		require.Zero(t, next)
		require.Equal(t, []protocol.Task{{ID: d.AttemptID, Kind: protocol.TaskDeploy, Deploy: &protocol.DeployTask{
			DeploymentID: d.ID, AttemptID: d.AttemptID, Attempt: 1, PackageID: pkg.ID, PackageName: "Firefox",
			Version: "1.0", Priority: 5, Instruction: pkg.InstructionDigest,
		}}}, tasks)

		e.run(d, protocol.StateSucceeded, protocol.ReasonExitCode, 0)
		d = e.of(dev, pkg)
		require.Equal(t, protocol.StateSucceeded, d.State)
		require.Equal(t, "succeeded (exit code 0)", d.Summary)
		require.NotNil(t, d.FinishedAt)
		require.Equal(t, []string{
			"admin assigned", "device accepted", "device fetching", "device fetched", "device started", "device succeeded/exit_code",
		}, steps(d))
		require.Equal(t, "assigned by ann", d.Timeline[0].Message)
		require.Equal(t, "exit code 0", d.Timeline[5].Message)
		require.Empty(t, e.offered(dev))

		counts, err := e.svc.Counts(t.Context(), []string{pkg.ID})
		require.NoError(t, err)
		require.Equal(t, map[string]deploy.Counts{pkg.ID: {Total: 1, Succeeded: 1}}, counts)
	})
}

func TestDeployment_failureKeepsExitCodeAndOutput(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		d := e.of(dev, pkg)
		r := report(d, protocol.StateFailed, protocol.ReasonExitCode, 7)
		r.Deployment.Output = "disk on fire <b>\n"
		e.say(dev, r)
		d = e.of(dev, pkg)
		require.Equal(t, "failed (exit code 7)", d.Summary)
		require.Equal(t, 7, *d.ExitCode)
		require.Equal(t, "disk on fire <b>\n", d.Output)
		require.Equal(t, d.Output, d.Timeline[len(d.Timeline)-1].Output)
		require.Empty(t, e.offered(dev))

		require.NoError(t, e.svc.Retry(t.Context(), d.ID, "bob"))
		d = e.of(dev, pkg)
		require.Equal(t, 2, d.Attempt)
		require.Nil(t, d.FinishedAt)
		require.Equal(t, []string{"App"}, e.offered(dev))
		e.run(d, protocol.StateSucceeded, protocol.ReasonExitCode, 0)
		require.Equal(t, "succeeded (exit code 0)", e.of(dev, pkg).Summary)
	})
}

func TestPriority0_holdsBackOthersUntilItSucceeds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.addDevice(false)
		before, x, after := e.addPackage("Before", 3), e.addPackage("X", 0), e.addPackage("After", 5)
		e.assign(before, dev)
		e.assign(x, dev)
		e.assign(after, dev)
		for _, p := range []deploy.Package{before, after} {
			d := e.of(dev, p)
			require.Equal(t, "waiting: priority-0 package X 1.0 has not succeeded", d.Summary)
			require.Equal(t, "priority-0 package X 1.0", d.Timeline[len(d.Timeline)-1].WaitsFor)
		}
		require.Equal(t, []string{"X"}, e.offered(dev))

		d := e.of(dev, x)
		e.run(d, protocol.StateFailed, protocol.ReasonExitCode, 3)
		d = e.of(dev, x)
		require.Equal(t, protocol.StateWaiting, d.State)
		require.Equal(t, protocol.ReasonRetryBackoff, d.Reason)
		require.Contains(t, d.Summary, "waiting: attempt 2 not before ")
		require.Contains(t, d.Summary, "after exit code 3")
		require.Empty(t, e.offered(dev), "X waits for its next attempt and goes on holding back the others")
		_, next, err := e.svc.Offer(t.Context(), dev)
		require.NoError(t, err)
		require.InDelta(t, 30, next.Seconds(), 7)

		require.NoError(t, e.svc.Retry(t.Context(), d.ID, "ann"))
		e.live.takeWoken()
		e.run(e.of(dev, x), protocol.StateSucceeded, protocol.ReasonExitCode, 0)
		require.Equal(t, []string{dev}, e.live.takeWoken())
		require.Equal(t, []string{"Before", "After"}, e.offered(dev))
		require.Equal(t, []string{
			"admin assigned", "server waiting/held_by_priority_0", "server waiting/released",
		}, steps(e.of(dev, after)))
	})
}

func TestPriority0_howItEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end    func(e *env, d deploy.Deployment)
		blocks bool
	}{
		"not applicable": {func(e *env, d deploy.Deployment) { e.run(d, protocol.StateNotApplicable, protocol.ReasonRequirements) }, false},
		"refused":        {func(e *env, d deploy.Deployment) { e.run(d, protocol.StateRefused, protocol.ReasonSignature) }, true},
		"interrupted":    {func(e *env, d deploy.Deployment) { e.run(d, protocol.StateInterrupted, protocol.ReasonNoStatus) }, true},
		"expired":        {func(e *env, d deploy.Deployment) { e.run(d, protocol.StateExpired, "") }, true},
		"cancelled":      {func(e *env, d deploy.Deployment) { require.NoError(e.t, e.svc.Cancel(e.ctx(), d.ID, "ann")) }, false},
		"refused, then cancelled": {func(e *env, d deploy.Deployment) {
			e.run(d, protocol.StateRefused, protocol.ReasonSignature)
			require.NoError(e.t, e.svc.Cancel(e.ctx(), d.ID, "ann"))
		}, false},
		"unassigned": {func(e *env, d deploy.Deployment) {
			require.NoError(e.t, e.svc.Unassign(e.ctx(), d.AssignmentID, "ann"))
		}, false},
		"retired": {func(e *env, d deploy.Deployment) {
			p, err := e.pkg(e.ctx(), d.PackageID)
			require.NoError(e.t, err)
			p.State = deploy.PackageRetired
			e.putPackage(p)
			e.svc.PackageChanged(e.ctx(), p.ID)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, e *env) {
				dev := e.addDevice(false)
				x, other := e.addPackage("X", 0), e.addPackage("Other", 5)
				e.assign(x, dev)
				e.assign(other, dev)
				tc.end(e, e.of(dev, x))
				if tc.blocks {
					require.Empty(t, e.offered(dev))
					require.Contains(t, e.of(dev, other).Summary, "waiting: priority-0 package X 1.0")
				} else {
					require.Equal(t, []string{"Other"}, e.offered(dev))
					require.Equal(t, protocol.ReasonReleased, e.of(dev, other).Reason)
				}
			})
		})
	}
}

func TestExpired_goesOnWhenSignedAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("Old", 5)
		e.assign(pkg, dev)
		e.run(e.of(dev, pkg), protocol.StateExpired, "")
		d := e.of(dev, pkg)
		require.Equal(t, "waiting: the package has expired and must be signed again", d.Summary)
		require.Empty(t, e.offered(dev))
		e.svc.PackageChanged(t.Context(), pkg.ID)
		require.Equal(t, 1, e.of(dev, pkg).Attempt, "nothing new was signed")

		pkg.InstructionDigest = random()
		e.putPackage(pkg)
		e.live.takeWoken()
		e.svc.PackageChanged(t.Context(), pkg.ID)
		e.svc.PackageChanged(t.Context(), pkg.ID) // again does nothing more
		require.Equal(t, []string{dev}, e.live.takeWoken())
		tasks, _, err := e.svc.Offer(t.Context(), dev)
		require.NoError(t, err)
		require.Len(t, tasks, 1)
		require.Equal(t, pkg.InstructionDigest, tasks[0].Deploy.Instruction)
		require.Equal(t, 2, tasks[0].Deploy.Attempt)
	})
}

func TestCancel_ofAStartedCommandStillTakesItsResult(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		d := e.of(dev, pkg)
		offer := func() []protocol.Task {
			tasks, _, err := e.svc.Offer(t.Context(), dev)
			require.NoError(t, err)
			return tasks
		}
		require.False(t, offer()[0].Deploy.Begun)
		e.say(dev, report(d, protocol.StateStarted, ""))
		require.True(t, offer()[0].Deploy.Begun, "a device that has forgotten it must not begin it again")
		require.NoError(t, e.svc.Cancel(t.Context(), d.ID, "ann"))
		require.True(t, fault.Is(e.svc.Cancel(t.Context(), d.ID, "ann"), fault.Conflict))
		e.say(dev, report(d, protocol.StateSucceeded, protocol.ReasonExitCode, 0))
		d = e.of(dev, pkg)
		require.Equal(t, protocol.StateCancelled, d.State)
		require.Equal(t, []string{"admin assigned", "device started", "admin cancelled/by_admin", "device succeeded/exit_code"}, steps(d))
		require.Equal(t, "cancelled by ann; its command has started and is not stopped", d.Timeline[2].Message)
	})
}

func TestRetry_refusals(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		d := e.of(dev, pkg)
		require.True(t, fault.Is(e.svc.Retry(t.Context(), d.ID, "ann"), fault.Conflict), "not picked up yet")
		e.say(dev, report(d, protocol.StateStarted, ""))
		require.True(t, fault.Is(e.svc.Retry(t.Context(), d.ID, "ann"), fault.Conflict), "runs")
		e.say(dev, report(d, protocol.StateWaiting, protocol.ReasonRestarted))
		require.True(t, fault.Is(e.svc.Retry(t.Context(), d.ID, "ann"), fault.Conflict), "began; its end is not known")
		e.say(dev, report(d, protocol.StateFailed, protocol.ReasonExitCode, 1))
		e.assign(pkg, dev)
		require.True(t, fault.Is(e.svc.Retry(t.Context(), d.ID, "ann"), fault.Conflict), "a newer one is open")
		require.NoError(t, e.svc.Cancel(t.Context(), e.of(dev, pkg).ID, "ann"))
		pkg.State = deploy.PackageRetired
		e.putPackage(pkg)
		require.True(t, fault.Is(e.svc.Retry(t.Context(), d.ID, "ann"), fault.Conflict), "retired")
		require.True(t, fault.Is(e.svc.Retry(t.Context(), "nope", "ann"), fault.NotFound))
	})
}

func TestAssign_refusals(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		revoked := e.addDevice(false)
		_, err := e.devices.Revoke(t.Context(), revoked)
		require.NoError(t, err)
		retired := e.putPackage(deploy.Package{Name: "Gone", State: deploy.PackageRetired})
		draft := e.putPackage(deploy.Package{Name: "New", State: "draft"})
		for name, tc := range map[string]struct {
			req  deploy.AssignRequest
			code fault.Code
		}{
			"retired package": {deploy.AssignRequest{PackageID: retired.ID, DeviceIDs: []string{dev}}, fault.Conflict},
			"draft":           {deploy.AssignRequest{PackageID: draft.ID, DeviceIDs: []string{dev}}, fault.Conflict},
			"unknown package": {deploy.AssignRequest{PackageID: "x", DeviceIDs: []string{dev}}, fault.NotFound},
			"unknown device":  {deploy.AssignRequest{PackageID: pkg.ID, DeviceIDs: []string{dev, "x"}}, fault.NotFound},
			"revoked device":  {deploy.AssignRequest{PackageID: pkg.ID, DeviceIDs: []string{revoked}}, fault.Conflict},
			"nobody":          {deploy.AssignRequest{PackageID: pkg.ID}, fault.Invalid},
			"some and all":    {deploy.AssignRequest{PackageID: pkg.ID, DeviceIDs: []string{dev}, All: true}, fault.Invalid},
		} {
			_, err := e.svc.Assign(t.Context(), tc.req)
			require.Equal(t, tc.code, fault.CodeOf(err), "%s: %v", name, err)
		}
		require.Empty(t, e.offered(dev))
	})
}

func TestAssign_allLeavesOutRevokedAndPending(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		a, b, revoked, pending := e.addDevice(false), e.addDevice(false), e.addDevice(false), e.addDevice(true)
		_, err := e.devices.Revoke(t.Context(), revoked)
		require.NoError(t, err)
		pkg := e.addPackage("App", 5)
		e.assign(pkg, a)
		made, err := e.svc.Assign(t.Context(), deploy.AssignRequest{PackageID: pkg.ID, All: true})
		require.NoError(t, err)
		require.Equal(t, 1, made.DeviceCount, "a has one already")
		require.Equal(t, []string{"App"}, e.offered(b))

		e.assign(pkg, pending)
		require.Equal(t, "waiting: the device waits for approval", e.of(pending, pkg).Summary)
		_, err = e.devices.Approve(t.Context(), pending)
		require.NoError(t, err)
		require.Equal(t, []string{"App"}, e.offered(pending))
		_, err = e.devices.Revoke(t.Context(), pending)
		require.NoError(t, err)
		require.Equal(t, protocol.StateCancelled, e.of(pending, pkg).State)
	})
}

// A priority-0 package that is scheduled for later holds nothing back until its time has come; one that waits
// for its next attempt does.
func TestPriority0_holdsBackFromItsTimeOn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, x, other := e.addDevice(false), e.addPackage("X", 0), e.addPackage("Other", 5)
		far := time.Now().Add(time.Hour)
		_, err := e.svc.Assign(t.Context(), deploy.AssignRequest{PackageID: x.ID, DeviceIDs: []string{dev}, NotBefore: &far})
		require.NoError(t, err)
		e.assign(other, dev)
		require.Equal(t, []string{"Other"}, e.offered(dev))
		require.NoError(t, e.svc.Cancel(t.Context(), e.of(dev, x).ID, "ann"))

		soon := time.Now().Add(1500 * time.Millisecond)
		_, err = e.svc.Assign(t.Context(), deploy.AssignRequest{PackageID: x.ID, DeviceIDs: []string{dev}, NotBefore: &soon})
		require.NoError(t, err)
		require.Eventually(t, func() bool { return slices.Equal(e.offered(dev), []string{"X"}) }, patience, pollEvery)
		require.Eventually(t, func() bool { return e.of(dev, other).WaitsFor == "priority-0 package X 1.0" }, patience, pollEvery)
		e.run(e.of(dev, x), protocol.StateFailed, protocol.ReasonExitCode, 3)
		require.Equal(t, protocol.ReasonRetryBackoff, e.of(dev, x).Reason)
		require.Empty(t, e.offered(dev), "its next attempt is later, but it was tried")
	})
}

// The time of a priority-0 package comes while no server runs.
func TestRun_holdsBackForWhatBecameDueMeanwhile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, x, other := e.addDevice(false), e.addPackage("X", 0), e.addPackage("Other", 5)
		soon := time.Now().Add(200 * time.Millisecond)
		e.stop()
		_, err := e.svc.Assign(t.Context(), deploy.AssignRequest{PackageID: x.ID, DeviceIDs: []string{dev}, NotBefore: &soon})
		require.NoError(t, err)
		e.assign(other, dev)
		require.Eventually(t, func() bool { return slices.Equal(e.offered(dev), []string{"X"}) }, patience, pollEvery)
		again, ended := deploy.New(e.options()), make(chan struct{})
		go func() {
			defer close(ended)
			again.Run(t.Context())
		}()
		t.Cleanup(func() { <-ended })
		require.Eventually(t, func() bool { return e.of(dev, other).Reason == protocol.ReasonHeldByPriority0 }, patience, pollEvery)
	})
}

// The deployments of a quarantined device wait and say why; what runs already is left to its end.
func TestQuarantine_deploymentsWaitForTheDecision(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, credential := e.addComputer(false)
		runs, under, x, late := e.addPackage("Runs", 3), e.addPackage("Under", 5), e.addPackage("X", 0), e.addPackage("Late", 7)
		e.assign(runs, dev)
		e.assign(under, dev)
		e.say(dev, report(e.of(dev, runs), protocol.StateStarted, ""))
		e.say(dev, report(e.of(dev, under), protocol.StateFetching, ""))
		e.assign(x, dev)
		d, err := e.devices.Authenticate(t.Context(), credential)
		require.NoError(t, err)
		d, err = e.devices.CheckIn(t.Context(), d, protocol.CheckInRequest{MachineID: "another"})
		require.NoError(t, err)
		require.Equal(t, protocol.DeviceQuarantined, d.State)
		e.assign(late, dev)
		for _, p := range []deploy.Package{under, x, late} {
			require.Equal(t, "waiting: the device is quarantined until an administrator decides", e.of(dev, p).Summary, p.Name)
		}
		require.Equal(t, protocol.StateStarted, e.of(dev, runs).State)
		e.say(dev, report(e.of(dev, under), protocol.StateFetched, "")) // came late
		require.Equal(t, protocol.ReasonDeviceQuarantined, e.of(dev, under).Reason)
		e.say(dev, report(e.of(dev, runs), protocol.StateSucceeded, protocol.ReasonExitCode, 0))
		require.Equal(t, protocol.StateSucceeded, e.of(dev, runs).State)

		_, err = e.devices.Approve(t.Context(), dev)
		require.NoError(t, err)
		require.Equal(t, []string{"X"}, e.offered(dev))
		last := e.of(dev, x).Timeline
		require.Equal(t, "the device was approved", last[len(last)-1].Message)
		require.Equal(t, protocol.ReasonHeldByPriority0, e.of(dev, under).Reason)
	})
}

func TestNotBefore_isOfferedAndWokenInTime(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		at := time.Now().Add(1500 * time.Millisecond)
		_, err := e.svc.Assign(t.Context(), deploy.AssignRequest{PackageID: pkg.ID, DeviceIDs: []string{dev}, NotBefore: &at})
		require.NoError(t, err)
		tasks, next, err := e.svc.Offer(t.Context(), dev)
		require.NoError(t, err)
		require.Empty(t, tasks)
		require.Positive(t, next)
		require.Empty(t, e.live.takeWoken())
		require.Eventually(t, func() bool { return len(e.live.takeWoken()) == 1 }, patience, 10*time.Millisecond)
		require.False(t, time.Now().Before(at.Truncate(time.Millisecond)))
		require.Equal(t, []string{"App"}, e.offered(dev))
	})
}

func TestRun_finishesWhatACrashCutOff(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		e.stop()
		pkg.State = deploy.PackageRetired // and nobody was told
		e.putPackage(pkg)
		ended := make(chan struct{})
		again := deploy.New(e.options())
		go func() {
			defer close(ended)
			again.Run(t.Context())
		}()
		t.Cleanup(func() { <-ended })
		require.Eventually(t, func() bool { return e.of(dev, pkg).State == protocol.StateCancelled }, patience, 10*time.Millisecond)
		require.Equal(t, protocol.ReasonRetired, e.of(dev, pkg).Reason)
	})
}

func TestList_filtersAndPages(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		a, b := e.addDevice(false), e.addDevice(false)
		p, q := e.addPackage("P", 5), e.addPackage("Q", 5)
		first := e.assign(p, a, b)
		e.assign(q, a)
		e.run(e.of(a, p), protocol.StateSucceeded, protocol.ReasonExitCode, 0)
		yes, no := true, false
		for name, tc := range map[string]struct {
			f    deploy.Filter
			want int
		}{
			"all":        {deploy.Filter{}, 3},
			"device":     {deploy.Filter{DeviceID: a}, 2},
			"package":    {deploy.Filter{PackageID: p.ID}, 2},
			"assignment": {deploy.Filter{AssignmentID: first.ID}, 2},
			"state":      {deploy.Filter{State: "succeeded"}, 1},
			"open":       {deploy.Filter{Open: &yes}, 2},
			"over":       {deploy.Filter{Open: &no}, 1},
		} {
			tc.f.Limit = 50
			list, err := e.svc.List(t.Context(), tc.f)
			require.NoError(t, err, name)
			require.Len(t, list, tc.want, name)
		}
		one, err := e.svc.List(t.Context(), deploy.Filter{Limit: 1})
		require.NoError(t, err)
		rest, err := e.svc.List(t.Context(), deploy.Filter{Limit: 5, Before: one[0].ID})
		require.NoError(t, err)
		require.Len(t, rest, 2)
		open, err := e.svc.OpenCounts(t.Context(), []string{a, b, "none"})
		require.NoError(t, err)
		require.Equal(t, map[string]int{a: 1, b: 1}, open)
	})
}
