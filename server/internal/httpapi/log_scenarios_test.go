package httpapi_test

import "testing"

var logScenarios = map[string]scenario{
	"list-logs":         {good: at("/logs?level=warn&q=disk&from=2026-01-01T00:00:00Z&order=oldest&after=5-1")},
	"get-device-log":    {good: on("/devices/", (*world).device, "/log")},
	"set-device-log":    {good: setLog((*world).device), conflict: setLog((*world).revoked)},
	"follow-device-log": {good: followLog((*world).device), conflict: followLog((*world).revoked)},
}

func setLog(of func(*world, *testing.T) string) maker {
	return func(t *testing.T, w *world) request {
		return request{path: "/devices/" + of(w, t) + "/log", body: map[string]any{"level": "debug", "for_seconds": 600, "after": "warn"}}
	}
}

func followLog(of func(*world, *testing.T) string) maker {
	return func(t *testing.T, w *world) request {
		return request{path: "/devices/" + of(w, t) + "/log/follow", body: map[string]any{"for_seconds": 60}}
	}
}
