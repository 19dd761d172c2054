package agentapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/devicelog"
)

func logReport(messages ...string) protocol.Report {
	id, err := uuid.NewV7()
	if err != nil {
		return protocol.Report{}
	}
	r := protocol.Report{ID: id.String(), Kind: protocol.ReportLog, Time: time.Now(), Log: &protocol.LogReport{}}
	for _, m := range messages {
		r.Log.Lines = append(r.Log.Lines, protocol.LogLine{Time: time.Now(), Task: "core", Level: "info", Message: m})
	}
	return r
}

// What a device is to forward stands in the answer to its check-in, for as long as it is to.
func TestCheckIn_saysWhatToForward(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	id, bearer := e.enroll(false)
	require.Nil(t, e.checkIn(bearer, 2).Log)
	_, err := e.logs.SetFor(t.Context(), id, "info", 0, "", "ann")
	require.NoError(t, err)
	require.Equal(t, &protocol.LogSetting{Level: "info"}, e.checkIn(bearer, 2).Log)

	set, err := e.logs.SetFor(t.Context(), id, "debug", time.Hour, "", "ann")
	require.NoError(t, err)
	require.Equal(t, "info", set.After, "what held before comes back")
	_, err = e.logs.Follow(t.Context(), id, time.Minute)
	require.NoError(t, err)
	got := e.checkIn(bearer, 2).Log
	require.Equal(t, "debug", got.Level)
	require.Equal(t, "info", got.After)
	require.Equal(t, *set.Until, *got.Until)
	require.NotNil(t, got.Follow)

	past := time.Now().Add(-time.Second)
	require.NoError(t, e.db.Exec("UPDATE devices SET log_until = ?, log_follow_until = ?", past, past).Error)
	require.Equal(t, &protocol.LogSetting{Level: "info"}, e.checkIn(bearer, 2).Log, "both have ended by themselves")

	pending, waiting := e.enroll(true)
	_, err = e.logs.SetFor(t.Context(), pending, "info", 0, "", "ann")
	require.NoError(t, err)
	require.Nil(t, e.checkIn(waiting, 2).Log, "who waits for approval sends inventories only")
}

// Lines come by WebSocket and by HTTPS; what came by the one is known to the other.
func TestReports_logLinesByEitherWay(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	id, bearer := e.enroll(false)
	report := logReport("one", "two")
	d := websocket.Dialer{Subprotocols: []string{protocol.SocketProtocol}}
	ws, resp, err := d.Dial("ws"+strings.TrimPrefix(e.url, "http")+protocol.PathSocket, map[string][]string{"Authorization": {"Bearer " + bearer}})
	require.NoError(t, err)
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	require.NoError(t, ws.SetReadDeadline(time.Now().Add(time.Minute)))
	require.NoError(t, ws.WriteJSON(protocol.SocketMessage{Type: protocol.SocketReports, Reports: []protocol.Report{report}}))
	for acked := false; !acked; {
		var m protocol.SocketMessage
		require.NoError(t, ws.ReadJSON(&m))
		if m.Type == protocol.SocketAck {
			require.Equal(t, []string{report.ID}, m.Ack.IDs)
			acked = true
		}
	}
	var ack protocol.Ack
	res, p := e.call("POST", protocol.PathReports, bearer, protocol.ReportsRequest{Reports: []protocol.Report{report, logReport("three")}}, &ack)
	require.Equal(t, 200, res.StatusCode, "%+v", p)
	require.Len(t, ack.IDs, 2)
	found, err := e.logs.List(t.Context(), devicelog.Filter{DeviceID: id, Oldest: true, Limit: 10})
	require.NoError(t, err)
	var messages []string
	for _, l := range found.Lines {
		messages = append(messages, l.Message)
	}
	require.Equal(t, []string{"one", "two", "three"}, messages)

	pending, waiting := e.enroll(true)
	res, p = e.call("POST", protocol.PathReports, waiting, protocol.ReportsRequest{Reports: []protocol.Report{logReport("x")}}, &ack)
	require.Equal(t, 200, res.StatusCode, "%+v", p)
	require.Equal(t, "forbidden", ack.Refused[0].Code)
	none, err := e.logs.List(t.Context(), devicelog.Filter{DeviceID: pending, Limit: 10})
	require.NoError(t, err)
	require.Empty(t, none.Lines)
}
