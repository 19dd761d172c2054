package e2e_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type logSetting struct {
	Level       string     `json:"level"`
	Until       *time.Time `json:"until"`
	After       string     `json:"after"`
	FollowUntil *time.Time `json:"follow_until"`
	Allowed     bool       `json:"allowed"`
}

type logLine struct {
	Time    time.Time `json:"time"`
	Task    string    `json:"task"`
	Level   string    `json:"level"`
	Message string    `json:"message"`
}

// logLines searches the lines of a device, oldest first.
func (s *server) logLines(t *testing.T, deviceID string, filter url.Values) []logLine {
	t.Helper()
	var page struct {
		Items []logLine `json:"items"`
	}
	query := url.Values{"device_id": {deviceID}, "order": {"oldest"}, "limit": {"200"}}
	for name, values := range filter {
		query[name] = values
	}
	s.call(t, "GET", "/logs?"+query.Encode(), nil, &page)
	return page.Items
}

// awaitLine waits for lines that the filter finds and returns the last one.
func (s *server) awaitLine(t *testing.T, deviceID string, filter url.Values) logLine {
	t.Helper()
	var found []logLine
	await(t, "a log line", func() (bool, string) {
		found = s.logLines(t, deviceID, filter)
		return len(found) > 0, filter.Encode()
	})
	return found[len(found)-1]
}

func (s *server) logSetting(t *testing.T, deviceID string) logSetting {
	t.Helper()
	var got logSetting
	s.call(t, "GET", "/devices/"+deviceID+"/log", nil, &got)
	return got
}

// TestLog follows log lines from the device to a search on the server: from the level that an admin sets, for the
// time that he sets, also those of a time when the server was away; and what the device's own administrator denies.
func TestLog(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := startAgent(t, s)
	deploy := func(name string) deployment {
		p := s.offer(t, spec{Name: name, Priority: 5, Action: "execute", Command: []string{"true"}})
		id, _ := s.assign(t, p, a.device)
		return s.awaitState(t, id, "succeeded")
	}
	await(t, "the device to say that it allows it", func() (bool, string) { return s.logSetting(t, a.device).Allowed, "not allowed" })
	deploy("quiet")
	require.Empty(t, s.logLines(t, a.device, nil), "nobody has asked for any")

	s.call(t, "PUT", "/devices/"+a.device+"/log", map[string]any{"level": "debug", "for_seconds": 3600}, nil)
	s.call(t, "POST", "/devices/"+a.device+"/log/follow", map[string]any{"for_seconds": 600}, nil)
	require.NotNil(t, s.logSetting(t, a.device).FollowUntil)
	core := s.awaitLine(t, a.device, url.Values{"task": {"core"}, "q": {"checked in"}})
	require.Equal(t, "debug", core.Level, "%+v", core)

	s.call(t, "PUT", "/devices/"+a.device+"/log", map[string]any{"level": "debug", "for_seconds": 1, "after": "info"}, nil)
	await(t, "the end of the time", func() (bool, string) {
		got := s.logSetting(t, a.device)
		over := got.Level == "info" || got.Until != nil && time.Now().After(*got.Until)
		return over, got.Level
	})
	// The next answer to a check-in says so, too, and no clock has to be right.
	deploy("after")
	line := s.awaitLine(t, a.device, url.Values{"task": {"deploy"}, "q": {"attempt ends"}})
	require.Equal(t, "info", line.Level)
	require.Contains(t, line.Message, "state=succeeded")
	require.WithinDuration(t, time.Now(), line.Time, patience)
	require.Empty(t, s.logLines(t, a.device, url.Values{"task": {"deploy"}, "q": {"instruction verified"}}), "the detail has ended")
	s.call(t, "PUT", "/devices/"+a.device+"/log", map[string]any{"level": "debug"}, nil)
	deploy("loud")
	line = s.awaitLine(t, a.device, url.Values{"task": {"deploy"}, "q": {"instruction verified"}})
	require.Equal(t, "debug", line.Level)
	require.NotContains(t, a.output(), "[DEBUG]", "on the device its own level holds")

	s.kill()
	a.stop(t)
	a.run(t)
	await(t, "the agent to notice", func() (bool, string) { return strings.Contains(a.output(), "agent starts"), a.output() })
	s.launch(t)
	s.awaitLine(t, a.device, url.Values{"q": {"agent stops"}})
	s.awaitLine(t, a.device, url.Values{"q": {"agent starts"}})

	own := succeed(t, nil, "muster-agent", "log", "--data", a.data, "--task", "deploy", "--lines", "1000")
	require.Equal(t, 3, strings.Count(own, "[deploy][INFO] attempt ends"), own)
	require.NotContains(t, own, "[core]")

	a.stop(t)
	folders, err := filepath.Glob(filepath.Join(a.data, "servers", "*"))
	require.NoError(t, err)
	require.Len(t, folders, 1)
	server := filepath.Base(folders[0])
	a.configure(t, map[string]any{"servers": []any{map[string]any{"name": server, "tasks_allowed": []string{"deploy"}}}})
	a.run(t)
	await(t, "the device to say that it does not allow it", func() (bool, string) { return !s.logSetting(t, a.device).Allowed, "allowed" })
	deploy("denied")
	require.Len(t, s.logLines(t, a.device, url.Values{"q": {"agent starts"}}), 1, "nothing comes any more")
}
