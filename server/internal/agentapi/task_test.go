package agentapi_test

import (
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/task"
)

func taskReport(id, kind string, state protocol.State) protocol.Report {
	made, err := uuid.NewV7()
	if err != nil {
		return protocol.Report{}
	}
	return protocol.Report{ID: made.String(), Kind: protocol.ReportTask, Time: time.Now(), Task: &protocol.TaskReport{
		TaskID: id, Kind: kind, State: state, Reason: protocol.ReasonDone,
	}}
}

func (e *env) deviceState(id string) string {
	e.t.Helper()
	d, err := e.devices.Get(e.t.Context(), id)
	require.NoError(e.t, err)
	return d.State
}

func TestCheckIn_tasksComeBeforePackages(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	id, bearer := e.enroll(false)
	e.assign(id)
	inventory, err := e.tasks.Inventory(t.Context(), id, nil, "ann")
	require.NoError(t, err)
	_, err = e.tasks.Uninstall(t.Context(), task.UninstallRequest{DeviceIDs: []string{id}, Software: []string{"a"}, By: "ann"})
	require.NoError(t, err)
	kinds := func() (out []string) {
		for _, task := range e.checkIn(bearer, 2).Tasks {
			out = append(out, task.Kind)
		}
		return out
	}
	require.Equal(t, []string{"uninstall", "inventory", "deploy"}, kinds())
	_, err = e.tasks.Remove(t.Context(), id, "ann")
	require.NoError(t, err)
	require.Equal(t, []string{"remove", "uninstall", "inventory", "deploy"}, kinds())
	require.NoError(t, e.tasks.Cancel(t.Context(), inventory, "ann"))
	require.Equal(t, []string{"remove", "uninstall", "deploy"}, kinds())
}

func TestCheckIn_whoWaitsForApprovalSendsItsInventory(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	id, bearer := e.enroll(true)
	inventory, err := e.tasks.Inventory(t.Context(), id, nil, "ann")
	require.NoError(t, err)
	got := e.checkIn(bearer, 2)
	require.Equal(t, []protocol.Task{{ID: inventory, Kind: protocol.TaskInventory, Inventory: &protocol.InventoryTask{}}}, []protocol.Task(got.Tasks))
	require.Positive(t, got.NextSeconds)
}

// A check-in for which there is nothing to do reads two rows by index and writes nothing; open tasks cost one
// read more, for as long as they are open.
func TestCheckIn_readsTwice(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	id, bearer := e.enroll(false)
	e.checkIn(bearer, 2)
	// The server also reads and writes on its own account now and then; a check-in costs no more than the cheapest.
	cost := func() (leastReads, leastWrites int64) {
		leastReads, leastWrites = math.MaxInt64, math.MaxInt64
		for range 5 {
			r, w := e.reads.Load(), e.writes.Load()
			e.checkIn(bearer, 2)
			leastReads, leastWrites = min(leastReads, e.reads.Load()-r), min(leastWrites, e.writes.Load()-w)
		}
		return leastReads, leastWrites
	}
	r, w := cost()
	require.Equal(t, []int64{2, 0}, []int64{r, w})
	_, err := e.logs.SetFor(t.Context(), id, "debug", time.Hour, "warn", "ann")
	require.NoError(t, err)
	r, w = cost()
	require.Equal(t, []int64{2, 0}, []int64{r, w}, "which log lines to forward stands in the row that is read anyway")
	inventory, err := e.tasks.Inventory(t.Context(), id, nil, "ann")
	require.NoError(t, err)
	r, w = cost()
	require.Equal(t, []int64{3, 0}, []int64{r, w})
	require.NoError(t, e.tasks.Cancel(t.Context(), inventory, "ann"))
	r, w = cost()
	require.Equal(t, []int64{2, 0}, []int64{r, w})
}

// counted counts the statements that go to the database from now on.
func counted(t testing.TB, db *store.DB) (reads, writes *atomic.Int64) {
	t.Helper()
	reads, writes = &atomic.Int64{}, &atomic.Int64{}
	all := db.Callback()
	read, write := func(*gorm.DB) { reads.Add(1) }, func(*gorm.DB) { writes.Add(1) }
	for _, err := range []error{
		all.Query().Register("count", read), all.Row().Register("count", read), all.Create().Register("count", write),
		all.Update().Register("count", write), all.Delete().Register("count", write), all.Raw().Register("count", write),
	} {
		require.NoError(t, err)
	}
	return reads, writes
}

// The agent that leaves hears that its last report was taken, whichever way it came; then its credential is
// worth nothing, and its connection is cut.
func TestRemove_theLastReportIsAnswered(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"WebSocket", "HTTPS"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, nil)
			id, bearer := e.enroll(false)
			d := websocket.Dialer{Subprotocols: []string{protocol.SocketProtocol}}
			ws, resp, err := d.Dial("ws"+strings.TrimPrefix(e.url, "http")+protocol.PathSocket, http.Header{"Authorization": {"Bearer " + bearer}})
			require.NoError(t, err)
			_ = resp.Body.Close()
			t.Cleanup(func() { _ = ws.Close() })
			require.NoError(t, ws.SetReadDeadline(time.Now().Add(time.Minute)))
			e.assign(id)
			_, err = e.tasks.Remove(t.Context(), id, "ann")
			require.NoError(t, err)
			wanted := e.checkIn(bearer, 2).Tasks[0]
			require.Equal(t, protocol.TaskRemove, wanted.Kind)
			last := taskReport(wanted.ID, wanted.Kind, protocol.StateSucceeded)
			reports := []protocol.Report{taskReport(wanted.ID, wanted.Kind, protocol.StateStarted), last}
			acked := false
			if way == "HTTPS" {
				var ack protocol.Ack
				resp, p := e.call("POST", protocol.PathReports, bearer, protocol.ReportsRequest{Reports: reports}, &ack)
				require.Equal(t, 200, resp.StatusCode, "%+v", p)
				require.Contains(t, ack.IDs, last.ID)
				acked = true
			} else {
				require.NoError(t, ws.WriteJSON(protocol.SocketMessage{Type: protocol.SocketReports, Reports: reports}))
			}
			for { // wakeups, perhaps the answer, and then the end
				var m protocol.SocketMessage
				if err := ws.ReadJSON(&m); err != nil {
					require.True(t, websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.ClosePolicyViolation), "%v", err)
					break
				}
				if m.Type == protocol.SocketAck {
					require.Contains(t, m.Ack.IDs, last.ID)
					acked = true
				}
			}
			require.True(t, acked)
			require.Equal(t, protocol.DeviceRemoved, e.deviceState(id))
			// What was lost on the way is sent again with a credential that is dead: the agent knows by the
			// answer that its last report was taken.
			resp, _ = e.call("POST", protocol.PathReports, bearer, protocol.ReportsRequest{Reports: reports}, nil)
			require.Equal(t, 401, resp.StatusCode)
			resp, _ = e.call("POST", protocol.PathCheckIn, bearer, protocol.CheckInRequest{Protocol: 1}, nil)
			require.Equal(t, 401, resp.StatusCode)
			open, err := e.deploy.OpenCounts(t.Context(), []string{id})
			require.NoError(t, err)
			require.Zero(t, open[id], "its deployments are over as well")
		})
	}
}
