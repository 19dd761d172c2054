package agentapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/hub"
)

// fuzzed lists the paths that take bodies.
func fuzzed() []string {
	return []string{protocol.PathEnroll, protocol.PathCheckIn, protocol.PathReports, protocol.PathRotate, protocol.PathInventory}
}

// Whatever an enrolled device sends to any path, nothing breaks on the server's side, and a refusal is a
// problem.
func FuzzBodies(f *testing.F) {
	e := newEnv(f, nil)
	_, bearer := e.enroll(false)
	for path := range fuzzed() {
		f.Add(uint8(path), []byte(`{"protocol":1,"reports":[{"id":"x"}],"facts":{},"next_sha256":""}`))
	}
	f.Add(uint8(1), []byte(`{"protocol":1,"instance_id":"\u0000","machine_id":" ","time":"9999-12-31T23:59:59Z","trust_version":-1,"facts":{"ips":["\ud800"],"changed_at":"0001-01-01T00:00:00Z"}}`))
	f.Add(uint8(4), []byte(`{"protocol":1,"collected_at":"2026-01-01T00:00:00Z","sections":[{"name":"cpus","problem":"\u0000"}]}`))
	f.Add(uint8(3), []byte(`{"next_sha256":"`+digest("next")+`"}`))
	f.Fuzz(func(t *testing.T, path uint8, body []byte) {
		all := fuzzed()
		req, err := http.NewRequest(http.MethodPost, e.url+all[int(path)%len(all)], bytes.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+bearer)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close() //nolint:errcheck // read only
		require.NotEqual(t, http.StatusInternalServerError, resp.StatusCode)
		if resp.StatusCode >= 400 {
			var p protocol.Problem
			require.NoError(t, json.NewDecoder(resp.Body).Decode(&p))
			require.NotEmpty(t, p.Code)
		}
	})
}

// Whatever a device says over its WebSocket, the answer is none, or an acknowledgement of bounded size,
// or a refusal that is no fault of the server.
func FuzzSocket(f *testing.F) {
	e := newEnv(f, nil)
	id, bearer := e.enroll(false)
	e.assign(id)
	task := e.checkIn(bearer, 2).Tasks[0]
	inventory, err := e.tasks.Inventory(f.Context(), id, nil, "ann")
	require.NoError(f, err)
	for _, m := range []protocol.SocketMessage{
		{Type: protocol.SocketReports, Reports: []protocol.Report{report(task, protocol.StateAccepted), report(task, protocol.StateWaiting)}},
		{Type: protocol.SocketReports, Reports: []protocol.Report{{ID: "x", Kind: protocol.ReportTask, Task: &protocol.TaskReport{TaskID: task.ID}}}},
		{Type: protocol.SocketReports, Reports: []protocol.Report{taskReport(inventory, protocol.TaskInventory, protocol.StateStarted)}},
		{Type: protocol.SocketReports, Reports: []protocol.Report{{Kind: protocol.ReportFacts, Facts: &protocol.Facts{ChangedAt: time.Now()}}}},
		{Type: protocol.SocketProgress, Progress: &protocol.Progress{AttemptID: task.ID, Done: 1, Total: 2}},
		{Type: protocol.SocketWakeup}, {Type: protocol.SocketAck, Ack: &protocol.Ack{IDs: []string{"x"}}},
	} {
		data, err := json.Marshal(m)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte(`{"type":"reports","reports":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > protocol.MaxSocketMessage { // the connection ends before it is read
			return
		}
		answer, err := e.api.Receive(t.Context(), id, data)
		if errors.Is(err, hub.ErrLast) { // it says that it has left, which is its right
			err = nil
		}
		if err != nil {
			require.NotEqual(t, fault.Internal, fault.CodeOf(err), "%v", err)
			return
		}
		if answer == nil {
			return
		}
		require.LessOrEqual(t, len(answer), 4*protocol.MaxSocketDown)
		var m protocol.SocketMessage
		require.NoError(t, json.Unmarshal(answer, &m))
		require.Equal(t, protocol.SocketAck, m.Type)
		require.NotNil(t, m.Ack)
	})
}
