package cli_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
)

func (f *fakeServer) groupRoutes(handle func(string, func(*http.Request) (int, any))) {
	handle("GET /groups", func(r *http.Request) (int, any) { return 200, page(r, f.groups) })
	handle("POST /groups", func(r *http.Request) (int, any) {
		g := body(r)
		g["id"], g["kind"] = uuid.NewString(), "static"
		if g["search"] != nil {
			g["kind"] = "search"
		}
		f.groups = append(f.groups, g)
		return 201, g
	})
	handle("POST /groups/preview", func(r *http.Request) (int, any) {
		return 200, object{"count": 70, "devices": []object{{"hostname": "pc-1", "os_name": body(r)["search"].(object)["os_name"]}}}
	})
	one := func(change func(g object, r *http.Request)) func(*http.Request) (int, any) {
		return func(r *http.Request) (int, any) {
			g := find(f.groups, r.PathValue("id"))
			if g == nil {
				return 0, fault.New(fault.NotFound, "no such group")
			}
			change(g, r)
			return 200, g
		}
	}
	handle("GET /groups/{id}", one(func(object, *http.Request) {}))
	handle("PATCH /groups/{id}", one(func(g object, r *http.Request) {
		for k, v := range body(r) {
			g[k] = v
		}
	}))
	handle("DELETE /groups/{id}", func(r *http.Request) (int, any) { f.groups = nil; return 204, nil })
	handle("GET /groups/{id}/members", func(r *http.Request) (int, any) {
		return 200, page(r, []object{{"hostname": "pc-1"}, {"hostname": "pc-2"}, {"hostname": "pc-3", "added_by": "enrollment token lab"}})
	})
	handle("POST /groups/{id}/members", one(func(g object, r *http.Request) { g["members"] = len(body(r)["device_ids"].([]any)) }))
	handle("POST /groups/{id}/members/remove", one(func(g object, r *http.Request) { g["members"] = -len(body(r)["device_ids"].([]any)) }))
}

func TestGroup_commands(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	require.Contains(t, d.ok("group", "create", "Room 3", "pc-1", deviceB, deviceA, "--description", "upstairs"), "upstairs")
	require.Equal(t, []any{deviceA, deviceB}, f.groups[0]["device_ids"], "a device named twice is one")
	out := d.ok("group", "create", "Old nano", "--software", "nano", "--software-below", "8", "--unseen-days", "3", "--log-level", "warn")
	require.Contains(t, out, "software nano, software_below 8, unseen_days 3")
	require.Equal(t, object{"software": "nano", "software_below": "8", "unseen_days": 3.0}, f.groups[1]["search"])
	require.Contains(t, d.ok("group", "create", "All", "--every"), "every device")
	out = d.ok("group", "list")
	for _, name := range []string{"Room 3", "Old nano", "All"} {
		require.Contains(t, out, name)
	}

	code, out, errs := d.run("group", "create", "x", "--os-name", "Debian", "--preview")
	require.Zero(t, code, errs)
	require.Contains(t, out, "Debian")
	require.Contains(t, errs, "70 devices in all")
	require.Len(t, f.groups, 3, "a preview makes nothing")

	require.Contains(t, d.ok("group", "change", "room 3", "--name", "Room 4", "--log-level", "info"), "Room 4")
	require.Equal(t, "info", f.groups[0]["log_level"])
	require.Equal(t, "upstairs", f.groups[0]["description"], "what is not named stays")
	d.ok("group", "change", "room 4", "--log-level", "none", "--release", "none")
	require.Empty(t, f.groups[0]["log_level"])
	require.Empty(t, f.groups[0]["release_id"])
	d.ok("group", "add", "Room 4", "pc-1", "pc-2")
	require.Equal(t, 2, f.groups[0]["members"])
	d.ok("group", "remove", "Room 4", "pc-2")
	require.Equal(t, -1, f.groups[0]["members"])
	require.Contains(t, d.ok("group", "members", "Room 4"), "enrollment token lab", "all pages are read")
	require.Contains(t, d.ok("group", "show", f.groups[0]["id"].(string), "--json"), `"Room 4"`)
	require.Contains(t, d.ok("device", "list", "--group", "room 4", "--os", "linux"), "pc-1")
	d.ok("enrollment-token", "create", "--group", "room 4")

	for _, wrong := range [][]string{{"group", "create"}, {"group", "add", "Room 4"}, {"group", "create", "x", "--preview"}} {
		code, _, errs := d.run(wrong...)
		require.Equal(t, 2, code, errs)
	}
	code, _, errs = d.run("group", "show", "room 5")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "muster group list")
	d.terminal, d.in = true, "n\n"
	code, _, _ = d.run("group", "delete", "Room 4")
	require.Equal(t, 1, code)
	require.Len(t, f.groups, 3, "not confirmed")
	require.Contains(t, d.ok("group", "delete", "Room 4", "--yes"), "deleted")
}
