package deploy_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/deploy"
)

func TestIngest_isIdempotent(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		d := e.of(dev, pkg)
		r := report(d, protocol.StateFailed, protocol.ReasonExitCode, 1)
		ack, err := e.svc.Ingest(t.Context(), dev, []protocol.Report{r, r})
		require.NoError(t, err)
		require.Equal(t, []string{r.ID, r.ID}, ack.IDs)
		require.NoError(t, e.svc.Retry(t.Context(), d.ID, "ann"))
		e.say(dev, r) // an ack was lost: the late copy must not touch the new attempt
		d = e.of(dev, pkg)
		require.Equal(t, protocol.StateAssigned, d.State)
		require.Equal(t, []string{"admin assigned", "device failed/exit_code", "admin assigned/retry"}, steps(d))
	})
}

func TestIngest_refusals(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, other, pkg := e.addDevice(false), e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev, other)
		d, foreign := e.of(dev, pkg), e.of(other, pkg)
		mixed := report(d, protocol.StateAccepted, "")
		mixed.Deployment.AttemptID = foreign.AttemptID
		notUUID := report(d, protocol.StateAccepted, "")
		notUUID.ID = "x"
		unknown := report(d, protocol.StateAccepted, "")
		unknown.Deployment.AttemptID = reportID()
		noBody := protocol.Report{ID: reportID(), Kind: protocol.ReportDeployment}
		future := protocol.Report{ID: reportID(), Kind: "inventory"}
		facts := protocol.Report{ID: reportID(), Kind: protocol.ReportFacts, Facts: &protocol.Facts{}}
		for name, tc := range map[string]struct {
			report protocol.Report
			code   fault.Code
		}{
			"another device's":          {report(foreign, protocol.StateSucceeded, protocol.ReasonExitCode, 0), fault.Forbidden},
			"attempt of another":        {mixed, fault.NotFound},
			"unknown attempt":           {unknown, fault.NotFound},
			"malformed id":              {notUUID, fault.Invalid},
			"state of the server":       {report(d, protocol.StateCancelled, ""), fault.Invalid},
			"state that does not exist": {report(d, "exploded", ""), fault.Invalid},
			"no body":                   {noBody, fault.Unsupported},
			"unknown kind":              {future, fault.Unsupported},
			"not about a deployment":    {facts, fault.Unsupported},
		} {
			good := report(d, protocol.StateWaiting, protocol.ReasonBusy)
			ack, err := e.svc.Ingest(t.Context(), dev, []protocol.Report{tc.report, good})
			require.NoError(t, err, name)
			require.Equal(t, []string{good.ID}, ack.IDs, "%s: the others of the batch are taken", name)
			require.Len(t, ack.Refused, 1, name)
			require.Equal(t, string(tc.code), ack.Refused[0].Code, name)
		}
		require.Equal(t, protocol.StateAssigned, e.of(other, pkg).State)
	})
}

func TestIngest_taskThatCouldNotBeBegun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		d := e.of(dev, pkg)
		e.say(dev, protocol.Report{ID: reportID(), Kind: protocol.ReportTask, Time: time.Now(), Task: &protocol.TaskReport{
			TaskID: d.AttemptID, Kind: protocol.TaskDeploy, Reason: protocol.ReasonNotAllowed,
		}})
		require.Equal(t, "refused: the device's own configuration denies it", e.of(dev, pkg).Summary)
	})
}

func TestIngest_bounds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		r := report(e.of(dev, pkg), protocol.StateFailed, protocol.ReasonExitCode, 0xC0000005)
		r.Time = time.Now().AddDate(30, 0, 0) // a wrong clock
		r.Deployment.Message = strings.Repeat("é", protocol.MaxMessage)
		r.Deployment.Output = strings.Repeat("x", protocol.MaxOutputTail) + "the end\xff"
		e.say(dev, r)
		d := e.of(dev, pkg)
		require.Equal(t, -1073741819, *d.ExitCode)
		require.True(t, strings.HasSuffix(d.Output, "the end\uFFFD"))
		require.LessOrEqual(t, len(d.Output), protocol.MaxOutputTail)
		last := d.Timeline[len(d.Timeline)-1]
		require.LessOrEqual(t, len(last.Message), protocol.MaxMessage)
		require.False(t, last.Time.After(time.Now()))
	})
}

// Many devices report at once, each batch more than once and in any order; every one ends right, and
// every timeline holds each report exactly once.
func TestIngest_concurrent(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		const devices = 12
		pkg := e.addPackage("App", 5)
		var ids []string
		for range devices {
			ids = append(ids, e.addDevice(false))
		}
		e.assign(pkg, ids...)
		var wg sync.WaitGroup
		for _, id := range ids {
			d := e.of(id, pkg)
			var reports []protocol.Report
			for _, s := range []protocol.State{"accepted", "fetching", "waiting", "fetched", "started"} {
				reports = append(reports, report(d, s, ""))
			}
			reports = append(reports, report(d, protocol.StateSucceeded, protocol.ReasonExitCode, 0))
			for range 3 {
				shuffled := make([]protocol.Report, len(reports))
				for i, j := range rand.Perm(len(reports)) {
					shuffled[i] = reports[j]
				}
				wg.Go(func() {
					for len(shuffled) > 0 {
						n := min(2, len(shuffled))
						ack, err := e.svc.Ingest(context.Background(), id, shuffled[:n])
						if err == nil && len(ack.IDs) == n {
							shuffled = shuffled[n:]
						}
					}
				})
			}
		}
		wg.Wait()
		for _, id := range ids {
			d := e.of(id, pkg)
			require.Equal(t, "succeeded (exit code 0)", d.Summary)
			require.Len(t, d.Timeline, 7)
		}
	})
}

func TestIngest_afterTheEndIsUnavailable(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, pkg := e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		d := e.of(dev, pkg)
		e.stop()
		_, err := e.svc.Ingest(t.Context(), dev, []protocol.Report{report(d, protocol.StateAccepted, "")})
		require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	})
}

func TestProgress(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, other, pkg := e.addDevice(false), e.addDevice(false), e.addPackage("App", 5)
		e.assign(pkg, dev)
		d := e.of(dev, pkg)
		p := protocol.Progress{DeploymentID: d.ID, AttemptID: d.AttemptID, Done: 5, Total: 10}
		require.True(t, fault.Is(e.svc.Progress(t.Context(), other, p), fault.Forbidden))
		require.NoError(t, e.svc.Progress(t.Context(), dev, p))
		require.True(t, fault.Is(e.svc.Progress(t.Context(), other, p), fault.Forbidden))
		require.Equal(t, int64(5), e.of(dev, pkg).Progress.Done)
		p.Done = 11
		require.True(t, fault.Is(e.svc.Progress(t.Context(), dev, p), fault.Invalid))
	})
}

// Two packages, one of priority 0, are assigned to the same device at the same moment: whoever comes
// second sees the first.
func TestAssign_concurrentWithPriority0(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		for range 5 {
			dev, x, other := e.addDevice(false), e.addPackage("X", 0), e.addPackage("Other", 5)
			var wg sync.WaitGroup
			for _, p := range []deploy.Package{x, other, other} {
				wg.Go(func() {
					_, err := e.svc.Assign(context.Background(), deploy.AssignRequest{PackageID: p.ID, DeviceIDs: []string{dev}})
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.Equal(t, "waiting: priority-0 package X 1.0 has not succeeded", e.of(dev, other).Summary)
			list, err := e.svc.List(t.Context(), deploy.Filter{DeviceID: dev, Limit: 10})
			require.NoError(t, err)
			require.Len(t, list, 2)
		}
	})
}

// Whatever a device claims, a report is taken or refused, and a taken one is within bounds.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"id":"0197a3c8-0000-7000-8000-000000000000","kind":"deployment","time":"2026-01-02T03:04:05Z","deployment":{"deployment_id":"a","attempt_id":"b","state":"failed","exit_code":7,"output":"x"}}`))
	f.Add([]byte(`{"id":"0197a3c8-0000-7000-8000-000000000000","kind":"task","task":{"task_id":"b","reason":"not_allowed"}}`))
	f.Add([]byte(`{"id":"0197a3c8-0000-7000-8000-000000000000","kind":"facts","facts":{"hostname":"\u0000"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r protocol.Report
		if json.Unmarshal(data, &r) != nil {
			return
		}
		deploy.CheckReport(t, r)
	})
}
