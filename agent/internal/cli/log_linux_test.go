package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/cli"
	"github.com/muster/muster/packages/protocol"
)

// forwarded are the lines that the server has, as "[task][level] message".
func (a *agent) forwarded() (lines []string) {
	for _, r := range a.server.Reports() {
		if r.Log == nil {
			continue
		}
		for _, l := range r.Log.Lines {
			lines = append(lines, "["+l.Task+"]["+l.Level+"] "+l.Message)
		}
	}
	return lines
}

// awaitLogged waits until a line is in the log of the device.
func (a *agent) awaitLogged(part string) {
	a.t.Helper()
	a.eventually(part, func() bool {
		out, _ := a.cli("log", "--data", a.data)
		return strings.Contains(out, part)
	})
}

func (a *agent) asks(s *protocol.LogSetting) {
	a.server.Lock()
	a.server.Log = s
	a.server.Unlock()
	a.server.Wakeup()
}

func has(lines []string, part string) bool {
	return slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, part) })
}

func TestLog_isForwardedAndReadOnTheDevice(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	a.run()
	quiet := a.shell("echo one", 5)
	a.server.Offer(quiet)
	a.server.Wakeup()
	a.server.AwaitFinal(t, quiet)
	a.awaitLogged("[deploy][INFO] attempt ends") // a line comes after the report
	later := time.Now().Add(time.Hour)
	a.asks(&protocol.LogSetting{Level: "debug", Until: &later, After: "warn", Follow: &later})
	a.eventually("the device says which lines go to the server", func() bool {
		out, _ := a.cli("status", "--data", a.data)
		return strings.Contains(out, "the server gets lines from debug on")
	})
	loud := a.shell("echo two", 5)
	a.server.Offer(loud)
	a.server.Wakeup()
	a.server.AwaitFinal(t, loud)
	a.eventually("the lines of the deployment, also those of the level debug", func() bool {
		lines := a.forwarded()
		return has(lines, "[deploy][debug] instruction verified") && has(lines, "[deploy][info] attempt ends") && has(lines, "[core][debug] checked in")
	})
	require.Len(t, slices.DeleteFunc(a.forwarded(), func(l string) bool { return !strings.Contains(l, "attempt ends") }), 1,
		"nothing from before the server asked, and each line once")

	out, code := a.cli("log", "--data", a.data)
	require.Zero(t, code, out)
	require.Contains(t, out, "[core][INFO] agent starts")
	require.Contains(t, out, "[core][INFO] the server asks for log lines server=test from=debug for=")
	require.Equal(t, 2, strings.Count(out, "[deploy][INFO] attempt ends"))
	require.NotContains(t, out, "[DEBUG]", "this device's own level is info")
	out, _ = a.cli("log", "--data", a.data, "--task", "deploy", "--level", "info", "--lines", "1")
	require.Equal(t, 1, strings.Count(out, "\n"))
	require.Contains(t, out, "[deploy][INFO] attempt ends")
	out, code = a.cli("log", "--data", a.data, "--level", "loud")
	require.Equal(t, 2, code)
	require.Contains(t, out, "none of debug, info, warn, error")
}

func TestLog_goesOnAsLinesCome(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	c, _ := a.run()
	a.awaitLogged("agent starts")
	ctx, stop := context.WithTimeout(t.Context(), agenttest.Deadline)
	defer stop()
	follow := a.command(ctx, "log", "--data", a.data, "-f", "--lines", "1")
	out, err := follow.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, follow.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "the last one that there is; from there on it follows")
	tk := a.shell("true", 5)
	a.server.Offer(tk)
	a.server.Wakeup()
	a.server.AwaitFinal(t, tk)
	a.awaitLogged("[deploy][INFO] attempt ends")
	require.NoError(t, c.Process.Kill()) // the file is read whether or not an agent runs
	var got []string
	for !has(got, "[deploy][INFO] attempt ends") && lines.Scan() {
		require.NotContains(t, lines.Text(), "agent starts")
		got = append(got, lines.Text())
	}
	require.True(t, has(got, "[deploy][INFO] attempt ends"), "%q", got)
	stop()
	_ = follow.Wait()
}

// TestLog_linesMadeOfflineArrive: the server is away, the agent is killed, and each line arrives once.
func TestLog_linesMadeOfflineArrive(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	var away atomic.Bool
	a.server.Lock()
	a.server.Log = &protocol.LogSetting{Level: "info"}
	a.server.Fail = func(http.ResponseWriter, *http.Request) int {
		if away.Load() {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	a.server.Unlock()
	gate := filepath.Join(t.TempDir(), "gate")
	tk := a.shell(agenttest.UntilFile(gate), 5)
	a.server.Offer(tk)
	c, log := a.run()
	a.eventually("the command runs", func() bool { return slices.Contains(a.server.States(tk.Deploy.AttemptID), "started") })
	away.Store(true)
	a.server.DropSockets()
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	a.awaitLogged("[deploy][INFO] attempt ends")
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	require.Contains(t, log.String(), "[deploy][INFO] attempt ends", "also where a person looks")
	require.False(t, has(a.forwarded(), "attempt ends"))
	away.Store(false)
	a.run()
	a.eventually("the line arrives", func() bool { return has(a.forwarded(), "[deploy][info] attempt ends") })
	require.Len(t, slices.DeleteFunc(a.forwarded(), func(l string) bool { return !strings.Contains(l, "attempt ends") }), 1)
}

func TestLog_theDeviceMayKeepItToItself(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	require.NoError(t, os.WriteFile(filepath.Join(a.data, "agent.json"), []byte(`{"servers":[{"name":"test","tasks_allowed":["deploy"]}]}`), 0o600))
	a.server.Lock()
	a.server.Log = &protocol.LogSetting{Level: "debug"}
	a.server.Unlock()
	tk := a.shell("true", 5)
	a.server.Offer(tk)
	out, code := a.once()
	require.Zero(t, code, out)
	require.Equal(t, protocol.StateSucceeded, a.server.AwaitFinal(t, tk).State)
	require.Empty(t, a.forwarded())
	require.NotContains(t, a.server.CheckIns()[0].Facts.TasksAllowed, protocol.TaskLog)
	require.NotContains(t, out, "[DEBUG]")
}

func TestLog_noAgentNoLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out, errs bytes.Buffer
	require.Equal(t, 1, cli.Main([]string{"log", "--data", dir}, &out, &errs))
	require.Contains(t, errs.String(), "no agent has logged")
}
