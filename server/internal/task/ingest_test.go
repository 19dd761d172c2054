package task_test

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
	"github.com/muster/muster/server/internal/task"
)

func TestIngest_isIdempotent(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		made := e.uninstall([]string{curl}, dev)[0]
		r := report(made, protocol.StateFailed, protocol.ReasonItems)
		ack, _, err := e.svc.Ingest(t.Context(), dev, []protocol.Report{r, r})
		require.NoError(t, err)
		require.Equal(t, []string{r.ID, r.ID}, ack.IDs)
		e.say(dev, r) // an ack was lost
		e.say(dev, report(made, protocol.StateSucceeded, protocol.ReasonDone))
		require.Equal(t, []string{"admin assigned", "device failed/items", "device succeeded/done"}, steps(e.get(made.ID)))
		require.Equal(t, protocol.StateFailed, e.get(made.ID).State, "what is over stays as it is")
	})
}

func TestIngest_refusals(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev, other := e.device(), e.device()
		made, foreign := e.uninstall([]string{curl}, dev)[0], e.uninstall([]string{curl}, other)[0]
		change := func(fn func(r *protocol.Report)) protocol.Report {
			r := report(made, protocol.StateAccepted, "")
			fn(&r)
			return r
		}
		for name, tc := range map[string]struct {
			report protocol.Report
			code   fault.Code
		}{
			"another device's":         {report(foreign, protocol.StateSucceeded, protocol.ReasonDone), fault.Forbidden},
			"unknown task":             {change(func(r *protocol.Report) { r.Task.TaskID = reportID() }), fault.NotFound},
			"malformed task":           {change(func(r *protocol.Report) { r.Task.TaskID = "x" }), fault.Invalid},
			"malformed id":             {change(func(r *protocol.Report) { r.ID = "x" }), fault.Invalid},
			"state of the server":      {change(func(r *protocol.Report) { r.Task.State = protocol.StateCancelled }), fault.Invalid},
			"state of deployments":     {change(func(r *protocol.Report) { r.Task.State = protocol.StateUnpacked }), fault.Invalid},
			"too many items":           {change(func(r *protocol.Report) { r.Task.Items = make([]protocol.TaskItem, 101) }), fault.Invalid},
			"not about a task":         {protocol.Report{ID: reportID(), Kind: protocol.ReportFacts, Facts: &protocol.Facts{}}, fault.Unsupported},
			"nothing in it":            {protocol.Report{ID: reportID(), Kind: protocol.ReportTask}, fault.Unsupported},
			"another says it has left": {change(func(r *protocol.Report) { r.Task.TaskID, r.Task.Kind = foreign.ID, protocol.TaskRemove }), fault.Forbidden},
		} {
			good := report(made, protocol.StateWaiting, protocol.ReasonBusy)
			ack, gone, err := e.svc.Ingest(t.Context(), dev, []protocol.Report{tc.report, good})
			require.NoError(t, err, name)
			require.False(t, gone)
			require.Equal(t, []string{good.ID}, ack.IDs, "%s: the others of the batch are taken", name)
			require.Len(t, ack.Refused, 1, name)
			require.Equal(t, string(tc.code), ack.Refused[0].Code, name)
		}
		require.Equal(t, protocol.StateAssigned, e.get(foreign.ID).State)
		lie := report(made, protocol.StateSucceeded, protocol.ReasonDone)
		lie.Task.Kind = protocol.TaskRemove
		require.False(t, e.say(dev, lie), "what a task is, the server's row says")
	})
}

func TestIngest_bounds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		made := e.uninstall([]string{curl}, dev)[0]
		code := 0xC0000005
		r := report(made, protocol.StateStarted, "", protocol.TaskItem{
			ID: strings.Repeat("k", 600), Status: "a\tb", Others: make([]string, 60), ExitCode: &code,
			Output: strings.Repeat("x", 2*protocol.MaxItemOutput) + "the end\xff", DurationMS: -1,
		})
		r.Time = time.Now().AddDate(30, 0, 0) // a wrong clock
		r.Task.Message = strings.Repeat("é", protocol.MaxMessage)
		e.say(dev, r)
		now := e.get(made.ID)
		item := now.Items[0]
		require.Len(t, item.ID, 512)
		require.Len(t, item.Others, 50)
		require.Equal(t, -1073741819, *item.ExitCode)
		require.True(t, strings.HasSuffix(item.Output, "the end\uFFFD"))
		require.Equal(t, protocol.ItemStatus("a b"), item.Status)
		require.LessOrEqual(t, len(now.Message), protocol.MaxMessage)
		require.False(t, now.Timeline[1].Time.After(time.Now()))
	})
}

func TestIngest_boundsTheTimelineOfATask(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		dev := e.device()
		made := e.uninstall([]string{curl}, dev)[0]
		refused := 0
		for range 3 {
			var many []protocol.Report
			for range 200 {
				many = append(many, report(made, protocol.StateWaiting, protocol.ReasonBusy))
			}
			ack, _, err := e.svc.Ingest(t.Context(), dev, many)
			require.NoError(t, err)
			refused += len(ack.Refused)
		}
		require.Equal(t, 100, refused)
		e.say(dev, report(made, protocol.StateSucceeded, protocol.ReasonDone))
		require.Equal(t, protocol.StateSucceeded, e.get(made.ID).State, "what moves it on is always taken")
	})
}

// Many devices report at once, each report more than once and in any order; every task ends right, and every
// timeline holds each report exactly once.
func TestIngest_concurrent(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		var ids []string
		for range 8 {
			ids = append(ids, e.device())
		}
		made := e.uninstall([]string{curl}, ids...)
		var wg sync.WaitGroup
		for _, one := range made {
			reports := []protocol.Report{
				report(one, protocol.StateAccepted, ""), report(one, protocol.StateWaiting, protocol.ReasonBusy),
				report(one, protocol.StateStarted, ""), report(one, protocol.StateStarted, "", protocol.TaskItem{ID: curl, Status: protocol.ItemRemoved}),
				report(one, protocol.StateSucceeded, protocol.ReasonDone, protocol.TaskItem{ID: curl, Status: protocol.ItemRemoved}),
			}
			for range 3 {
				shuffled := make([]protocol.Report, len(reports))
				for i, j := range rand.Perm(len(reports)) {
					shuffled[i] = reports[j]
				}
				wg.Go(func() {
					for len(shuffled) > 0 {
						n := min(2, len(shuffled))
						ack, _, err := e.svc.Ingest(context.Background(), one.DeviceID, shuffled[:n])
						if err == nil && len(ack.IDs) == n {
							shuffled = shuffled[n:]
						}
					}
				})
			}
		}
		wg.Wait()
		for _, one := range made {
			now := e.get(one.ID)
			require.Equal(t, "succeeded: 1 of 1 removed", now.Summary)
			require.Len(t, now.Timeline, 6)
			require.Zero(t, e.open(one.DeviceID))
		}
	})
}

// The last report of an agent that leaves comes while its tasks are asked for, cancelled and reported: in the
// end the device is removed and nothing is open.
func TestRemove_besideEverythingElse(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		for range 4 {
			dev := e.device()
			other := e.uninstall([]string{curl}, dev)[0]
			id, err := e.svc.Remove(t.Context(), dev, "ann")
			require.NoError(t, err)
			last := report(e.get(id), protocol.StateSucceeded, protocol.ReasonDone)
			var wg sync.WaitGroup
			for _, fn := range []func() error{
				func() error {
					_, _, err := e.svc.Ingest(context.Background(), dev, []protocol.Report{last})
					return err
				},
				func() error {
					_, _, err := e.svc.Ingest(context.Background(), dev, []protocol.Report{last, report(other, protocol.StateStarted, "")})
					return err
				},
				func() error { _, err := e.svc.Inventory(context.Background(), dev, nil, "ann"); return err },
				func() error { return e.svc.Cancel(context.Background(), other.ID, "ann") },
				func() error {
					_, err := e.svc.Uninstall(context.Background(), task.UninstallRequest{DeviceIDs: []string{dev}, Software: []string{nano}, By: "ann"})
					return err
				},
			} {
				wg.Go(func() {
					if err := fn(); err != nil && !fault.Is(err, fault.Conflict) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			d, err := e.devices.Get(t.Context(), dev)
			require.NoError(t, err)
			require.Equal(t, protocol.DeviceRemoved, d.State)
			require.Zero(t, d.OpenTasks)
			open := true
			left, err := e.svc.List(t.Context(), task.Filter{DeviceID: dev, Open: &open, Limit: 10})
			require.NoError(t, err)
			require.Empty(t, left)
		}
	})
}

// Whatever a device claims, a report is taken or refused, and a taken one is within bounds.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"id":"0197a3c8-0000-7000-8000-000000000000","kind":"task","task":{"task_id":"0197a3c8-0000-7000-8000-000000000001","kind":"uninstall","state":"failed","reason":"items","items":[{"id":"a","status":"failed","others":["b"],"exit_code":7,"output":"x\u001b"}]}}`))
	f.Add([]byte(`{"id":"0197a3c8-0000-7000-8000-000000000000","kind":"task","task":{"task_id":"b","reason":"not_allowed","next_try":"0001-01-01T00:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r protocol.Report
		if json.Unmarshal(data, &r) != nil {
			return
		}
		task.CheckReport(t, r)
	})
}
