package httpapi_test

import (
	"fmt"
	"testing"
)

var groupScenarios = map[string]scenario{
	"list-groups": {good: at("/groups?kind=search&q=x")},
	"create-group": {
		good: func(t *testing.T, w *world) request {
			w.made++
			return request{path: "/groups", body: map[string]any{
				"name": fmt.Sprint("group ", w.made), "description": "a group", "device_ids": []string{w.device(t)}, "log_level": "warn",
			}}
		},
		conflict: func(t *testing.T, w *world) request {
			w.made++
			body := map[string]any{"name": fmt.Sprint("group ", w.made), "search": map[string]any{"os": "linux", "unseen_days": 30}}
			w.make(t, "/groups", body)
			return request{path: "/groups", body: body}
		},
	},
	"preview-group": {good: send("/groups/preview", map[string]any{"search": map[string]any{"agent_below": "2.0.0"}, "limit": 5})},
	"get-group":     {good: on("/groups/", (*world).group, "")},
	"change-group": {
		good: changeOf((*world).group, map[string]any{"description": "another", "log_level": "debug"}),
		// A list takes no search.
		conflict: changeOf((*world).group, map[string]any{"search": map[string]any{"arch": "arm64"}}),
	},
	"delete-group": {
		good: on("/groups/", (*world).group, ""),
		conflict: on("/groups/", func(w *world, t *testing.T) string {
			id := w.group(t)
			w.make(t, "/enrollment-tokens", map[string]any{"name": "lab", "group_ids": []string{id}})
			return id
		}, ""),
	},
	"list-group-members":   {good: on("/groups/", (*world).group, "/members?q=pc")},
	"add-group-members":    {good: membersOf((*world).group, "/members"), conflict: membersOf((*world).savedSearch, "/members")},
	"remove-group-members": {good: membersOf((*world).group, "/members/remove"), conflict: membersOf((*world).savedSearch, "/members/remove")},
}

// group is a list of one device.
func (w *world) group(t *testing.T) string {
	id := w.device(t)
	w.made++
	return w.make(t, "/groups", map[string]any{"name": fmt.Sprint("group ", w.made), "device_ids": []string{id}})
}

func (w *world) savedSearch(t *testing.T) string {
	w.made++
	return w.make(t, "/groups", map[string]any{"name": fmt.Sprint("group ", w.made), "search": map[string]any{"q": "pc"}})
}

func changeOf(group func(*world, *testing.T) string, body map[string]any) maker {
	return func(t *testing.T, w *world) request {
		w.made++
		with := map[string]any{"name": fmt.Sprint("group ", w.made)}
		for k, v := range body {
			with[k] = v
		}
		return request{path: "/groups/" + group(w, t), body: with}
	}
}

func membersOf(group func(*world, *testing.T) string, after string) maker {
	return func(t *testing.T, w *world) request {
		return request{path: "/groups/" + group(w, t) + after, body: map[string]any{"device_ids": []string{w.device(t)}}}
	}
}
