package cli_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/muster/internal/cli"
)

func (f *fakeServer) logRoutes(handle func(string, func(*http.Request) (int, any))) {
	f.logSetting = object{"level": "off", "allowed": true}
	handle("GET /logs", func(r *http.Request) (int, any) {
		f.asked = append(f.asked, r.URL.Query().Encode())
		q := r.URL.Query()
		found := []object{}
		for _, l := range f.logs {
			if q.Get("q") == "" || strings.Contains(l["message"].(string), q.Get("q")) {
				found = append(found, l)
			}
		}
		if q.Get("order") != "oldest" {
			slices.Reverse(found)
		} else if after, err := strconv.Atoi(q.Get("after")); err == nil {
			found = slices.DeleteFunc(found, func(l object) bool { n, _ := strconv.Atoi(l["id"].(string)); return n <= after })
		}
		if q.Get("q") == "rare" && q.Get("cursor") == "" { // the search goes on
			return 200, object{"items": []object{}, "next": "0", "searched_until": time.Now()}
		}
		return 200, page(r, found)
	})
	setting := func(r *http.Request) (int, any) {
		for k, v := range body(r) {
			f.logSetting[k] = v
		}
		f.logSetting["device_id"], f.logSetting["hostname"] = r.PathValue("id"), "pc-1"
		return 200, f.logSetting
	}
	handle("GET /devices/{id}/log", setting)
	handle("PUT /devices/{id}/log", setting)
	handle("POST /devices/{id}/log/follow", setting)
}

// forward lets a line arrive, and says so.
func (f *fakeServer) forward(level, task, message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logs = append(f.logs, object{"id": strconv.Itoa(len(f.logs) + 1), "device_id": deviceA, "time": time.Now(), "level": level, "task": task, "message": message})
	for _, c := range f.sockets {
		_ = c.WriteJSON(object{"type": "log", "id": deviceA, "device_id": deviceA})
	}
}

func TestDeviceLog_showsLines(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	f.forward("warn", "deploy", "one")
	f.forward("info", "core", "two\x1b[2J\ntwo")
	f.forward("error", "core", "a rare three")
	out := d.ok("device", "log", "pc-1", "--task", "deploy", "--level", "info", "--since", "24h")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3, out)
	require.Contains(t, lines[0], " [deploy][WARN] one")
	require.Contains(t, lines[2], " [core][ERROR] a rare three")
	require.NotContains(t, out, "\x1b", "a device cannot steer the terminal")
	require.Contains(t, f.asked[0], "device_id="+deviceA)
	require.Contains(t, f.asked[0], "level=info")
	require.Contains(t, f.asked[0], "task=deploy")
	require.Contains(t, f.asked[0], "from=")
	require.Contains(t, d.ok("device", "log", "pc-1", "--grep", "rare"), "a rare three", "a search that is done in parts goes on")
	var back []map[string]any
	require.NoError(t, json.Unmarshal([]byte(d.ok("device", "log", "pc-1", "--limit", "2", "--json")), &back))
	require.Equal(t, []any{"two\x1b[2J\ntwo", "a rare three"}, []any{back[0]["message"], back[1]["message"]})
	for _, bad := range [][]string{{"--level", "loud"}, {"--since", "yesterday"}, {"--since", "-3h"}} {
		code, _, _ := d.run(append([]string{"device", "log", "pc-1"}, bad...)...)
		require.Equal(t, 2, code, "%v", bad)
	}
}

func TestDeviceLog_follows(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ noEvents, empty bool }{{}, {noEvents: true}, {empty: true}} {
		f, d := fleet(t)
		f.noEvents = tc.noEvents
		before := []string{"before"}
		if tc.empty {
			require.Equal(t, "none\n", d.ok("device", "log", "pc-1"))
			before = nil
		}
		for _, message := range before {
			f.forward("info", "core", message)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out, errs := &syncBuffer{}, &syncBuffer{}
		done := make(chan int, 1)
		w := cli.World{
			In: strings.NewReader(""), Out: out, Err: errs, Getenv: func(k string) string { return d.env[k] }, Now: time.Now, Poll: d.poll,
		}
		go func() { done <- cli.Main(ctx, []string{"device", "log", "pc-1", "--follow"}, w) }()
		see := func(message string) {
			require.Eventually(t, func() bool { return strings.Contains(out.String(), message) }, time.Minute, 5*time.Millisecond)
		}
		for _, message := range before {
			see(message)
		}
		for _, message := range []string{"first", "second", "third"} {
			f.forward("info", "core", message)
			see(message)
		}
		require.True(t, f.called("POST /devices/"+deviceA+"/log/follow"))
		require.Contains(t, errs.String(), "muster device log-level pc-1 info --for 1h", "it forwards nothing by itself")
		cancel()
		require.Zero(t, await(t, done), "to be interrupted is how it ends")
		require.Equal(t, 3+len(before), strings.Count(out.String(), "\n"), "each line once: %s", out.String())
	}
}

func TestDeviceLogLevel(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	require.Contains(t, d.ok("device", "log-level", "pc-1"), "off")
	out := d.ok("device", "log-level", "pc-1", "debug", "--for", "1h", "--after", "warn")
	require.Contains(t, out, "debug")
	require.Equal(t, []any{"debug", 3600.0, "warn"}, []any{f.logSetting["level"], f.logSetting["for_seconds"], f.logSetting["after"]})
	f.logSetting["allowed"], f.logSetting["dropped_by_device"] = false, 7
	out = d.ok("device", "log-level", "pc-1")
	require.Contains(t, out, "does not allow")
	require.Contains(t, out, "7 were too many")
	for _, bad := range [][]string{{"loud"}, {"debug", "--for", "1ms"}, {"--for", "1h"}} {
		code, _, _ := d.run(append([]string{"device", "log-level", "pc-1"}, bad...)...)
		require.Equal(t, 2, code, "%v", bad)
	}
}
