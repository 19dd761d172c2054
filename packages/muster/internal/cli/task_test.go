package cli_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

const nano = "pkg:deb/debian/nano@7.2-1?arch=amd64"

func (f *fakeServer) taskRoutes(handle func(string, func(*http.Request) (int, any))) {
	ask := func(kind, deviceID string, more object) object {
		t := object{
			"id": uuid.NewString(), "device_id": deviceID, "hostname": find(f.devices, deviceID)["hostname"], "kind": kind, "state": "assigned",
			"summary": "not yet picked up by the device", "created_by": "ada", "created_at": time.Now(),
			"timeline": []object{{"seq": 1, "time": time.Now(), "source": "admin", "state": "assigned", "message": "asked for by ada"}},
		}
		for k, v := range more {
			t[k] = v
		}
		f.tasks = append(f.tasks, t)
		return t
	}
	handle("GET /tasks", func(r *http.Request) (int, any) {
		batch := r.URL.Query().Get("batch_id")
		return 200, page(r, slices.DeleteFunc(slices.Clone(f.tasks), func(t object) bool { return batch != "" && t["batch_id"] != batch }))
	})
	one := func(change func(object)) func(*http.Request) (int, any) {
		return func(r *http.Request) (int, any) {
			t := find(f.tasks, r.PathValue("id"))
			if t == nil {
				return 0, fault.New(fault.NotFound, "there is no such task")
			}
			change(t)
			return 200, t
		}
	}
	handle("GET /tasks/{id}", one(func(object) {}))
	handle("POST /tasks/{id}/cancel", one(func(t object) { t["state"], t["summary"] = "cancelled", "cancelled: ended by an administrator" }))
	handle("POST /uninstalls", func(r *http.Request) (int, any) {
		in := body(r)
		made := []object{}
		for _, id := range in["device_ids"].([]any) {
			made = append(made, ask("uninstall", id.(string), in))
		}
		return 201, object{"batch_id": "b1", "tasks": made}
	})
	handle("POST /devices/{id}/remove", func(r *http.Request) (int, any) { return 202, ask("remove", r.PathValue("id"), nil) })
	handle("POST /devices/{id}/inventory", func(r *http.Request) (int, any) { return 202, ask("inventory", r.PathValue("id"), body(r)) })
	handle("POST /devices/{id}/modules/{name}/run", func(r *http.Request) (int, any) {
		in := body(r)
		in["module"] = r.PathValue("name")
		return 202, ask("module", r.PathValue("id"), in)
	})
	handle("GET /devices/{id}/inventory", func(r *http.Request) (int, any) {
		return 200, object{
			"device_id": r.PathValue("id"), "system": object{"os_name": "Debian GNU/Linux", "os_version": "12"},
			"bios": object{"product": "ThinkPad"}, "sections": []object{{"name": "module-disks", "rows": 3}, {"name": "storage", "rows": 3}, {"name": "monitors", "problem": "no /sys"}},
		}
	})
	handle("GET /devices/{id}/inventory/{section}", func(r *http.Request) (int, any) {
		out := page(r, []object{{"key": "sda", "name": "Evil\x1b[2J", "size_bytes": 5120, "parts": []string{"sda1"}}, {"key": "sdb", "name": "B"}, {"key": "sdc", "name": "C"}})
		out["name"], out["rows"], out["problem"] = r.PathValue("section"), 3, "sdd did not answer"
		if strings.HasPrefix(r.PathValue("section"), "module-") {
			out["columns"] = []object{{"name": "size_bytes", "title": "Size", "type": "bytes"}}
		}
		return 200, out
	})
	handle("GET /devices/{id}/software", func(r *http.Request) (int, any) {
		return 200, page(r, []object{{"key": nano, "name": "nano", "version": "7.2-1", "source": "dpkg", "size_bytes": 2048}, {"key": "b", "name": "b"}, {"key": "c", "name": "c"}})
	})
}

// finishTasks ends every task, and says so.
func (f *fakeServer) finishTasks(state protocol.State, summary string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tasks {
		t["state"], t["summary"] = state, summary
	}
	for _, c := range f.sockets {
		_ = c.WriteJSON(object{"type": "task", "id": "any"})
	}
}

func (f *fakeServer) taskCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.tasks)
}

func TestUninstall_waitsForTheEnd(t *testing.T) {
	t.Parallel()
	for end, want := range map[protocol.State]int{protocol.StateSucceeded: 0, protocol.StateFailed: 1, protocol.StateCancelled: 1} {
		t.Run(string(end), func(t *testing.T) {
			t.Parallel()
			f, d := fleet(t)
			out, errs, done := d.begin("device", "uninstall", "pc-1", deviceB, deviceA, "--software", nano, "--stop-at-failure", "--limit", "5m", "--wait", "--timeout", "1m")
			require.Eventually(t, func() bool { return strings.Count(out.String(), "not yet picked up") == 2 }, time.Minute, 5*time.Millisecond, "a device named twice is one")
			f.finishTasks(end, "the end")
			require.Equal(t, want, await(t, done))
			require.Equal(t, 2, strings.Count(out.String(), "uninstall: the end"))
			require.Equal(t, 2*want, strings.Count(errs.String(), "muster task show "))
			require.Equal(t, []any{nano}, f.tasks[0]["software"])
			require.Equal(t, 300.0, f.tasks[0]["limit_seconds"])
			require.Equal(t, true, f.tasks[0]["stop_at_failure"])
		})
	}
}

func TestTask_commands(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	require.Contains(t, d.ok("device", "uninstall", "pc-1", "--software", nano, "--software", "gone"), "not yet picked up")
	x := f.tasks[0]
	id := x["id"].(string)
	x["state"], x["summary"] = "failed", "failed: 0 of 1 removed"
	x["items"] = []object{{"id": nano, "status": "needed", "message": "mc needs it", "others": []string{"mc"}, "exit_code": 100, "output": "line 1\n\x1b[2Jline 2\n"}}
	out := d.ok("task", "show", id)
	for _, want := range []string{"failed: 0 of 1 removed", nano + "  needed  mc needs it exit code 100 (mc)", "\ngone", "asked for by ada", "line 1\n"} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "\x1b", "a device cannot steer the terminal")
	var back map[string]any
	require.NoError(t, json.Unmarshal([]byte(d.ok("task", "show", id, "--json")), &back))
	require.Equal(t, id, back["id"])
	require.Contains(t, d.ok("task", "list", "--device", "pc-1", "--open", "--kind", "uninstall"), "failed: 0 of 1 removed")
	require.Contains(t, d.ok("task", "cancel", id), "cancelled")
	code, _, errs := d.run("task", "show", deviceA)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "no such task")
}

func TestDevice_removeAsksAndWaits(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	d.terminal, d.in = true, "n\n"
	code, _, _ := d.run("device", "remove", "pc-1")
	require.Equal(t, 1, code)
	code, _, _ = d.run("device", "uninstall", "pc-1", "--software", nano)
	require.Equal(t, 1, code)
	require.Zero(t, f.taskCount(), "nobody said yes")
	out, _, done := d.begin("device", "remove", "pc-1", "--yes", "--wait")
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "not yet picked up") }, time.Minute, 5*time.Millisecond)
	f.finishTasks(protocol.StateSucceeded, "succeeded: the agent has left")
	require.Zero(t, await(t, done))
	f.devices[0]["state"] = "removed"
	require.Contains(t, d.ok("device", "remove", deviceA, "--yes"), "remove")
}

func TestDevice_inventoryAndSoftware(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	out := d.ok("device", "inventory", "pc-1")
	for _, want := range []string{"Debian GNU/Linux 12", "ThinkPad", "storage", "no /sys"} {
		require.Contains(t, out, want)
	}
	code, out, errs := d.run("device", "inventory", "pc-1", "storage")
	require.Zero(t, code)
	require.Contains(t, errs, "sdd did not answer")
	require.Contains(t, out, `size bytes 5.0 KiB`)
	require.Contains(t, out, `parts ["sda1"]`)
	require.Equal(t, 4, strings.Count(out, "\n"), "a head and a line for each row of both pages: %s", out)
	require.NotContains(t, out, "\x1b")
	var section struct {
		Rows  int               `json:"rows"`
		Items []json.RawMessage `json:"items"`
	}
	require.NoError(t, json.Unmarshal([]byte(d.ok("device", "inventory", "pc-1", "storage", "--json")), &section))
	require.Len(t, section.Items, section.Rows)

	out = d.ok("device", "software", "pc-1")
	require.Contains(t, out, nano)
	require.Contains(t, out, "2.0 KiB")
	require.Equal(t, 4, strings.Count(out, "\n"))

	o, _, done := d.begin("device", "inventory", "pc-1", "storage", "--now", "--json")
	require.Eventually(t, func() bool { return f.taskCount() == 1 }, time.Minute, 5*time.Millisecond)
	f.finishTasks(protocol.StateSucceeded, "succeeded: the inventory is here")
	require.Zero(t, await(t, done))
	require.NoError(t, json.Unmarshal([]byte(o.String()), &section), "nothing but the inventory: %s", o)
	require.Equal(t, []any{"storage"}, f.tasks[0]["sections"])
}

func TestDevice_modules(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	f.devices[0]["facts"] = object{"modules": []string{"deploy", "module:disks", "module:idle"}}
	out := d.ok("device", "module", "list", "pc-1")
	require.Contains(t, out, "disks   3")
	require.Contains(t, out, "idle    0")
	require.NotContains(t, out, "deploy")

	require.Contains(t, d.ok("device", "module", "run", "pc-1", "disks"), "not yet picked up")
	require.NotContains(t, f.tasks[0], "parameters")
	o, _, done := d.begin("device", "module", "run", "pc-1", "disks", "--parameters", `{"path":"/","deep":true}`, "--param", "path=/home", "--param", "most=5", "--wait")
	require.Eventually(t, func() bool { return f.taskCount() == 2 }, time.Minute, 5*time.Millisecond)
	f.finishTasks(protocol.StateSucceeded, "succeeded: the module has run")
	require.Zero(t, await(t, done))
	require.Equal(t, map[string]any{"path": "/home", "deep": true, "most": 5.0}, f.tasks[1]["parameters"])
	require.Contains(t, o.String(), "NAME      SIZE")
	require.Contains(t, o.String(), "5.0 KiB")
	require.NotContains(t, o.String(), "parts", "columns alone are shown")
	for _, args := range [][]string{{"--parameters", "[1]"}, {"--param", "x"}, {"--timeout", "1s"}} {
		code, _, _ := d.run(append([]string{"device", "module", "run", "pc-1", "disks"}, args...)...)
		require.Equal(t, 2, code, args)
	}
}

func TestTask_usage(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	for name, args := range map[string][]string{
		"no program": {"device", "uninstall", "pc-1"}, "no device": {"device", "uninstall", "--software", nano},
		"timeout alone": {"device", "uninstall", "pc-1", "--software", nano, "--timeout", "1s"}, "negative": {"device", "remove", "pc-1", "--wait", "--timeout", "-1s"},
		"part of a second": {"device", "uninstall", "pc-1", "--software", nano, "--limit", "1500ms"}, "not now": {"device", "inventory", "pc-1", "--timeout", "1s"},
		"three": {"device", "inventory", "pc-1", "a", "b"}, "no task": {"task", "show"}, "no command": {"task"},
	} {
		code, _, errs := d.run(args...)
		require.Equal(t, 2, code, "%s: %s", name, errs)
	}
	require.Zero(t, f.taskCount())
}
