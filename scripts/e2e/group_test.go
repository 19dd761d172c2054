package e2e_test

import (
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// members lists the devices of a group, by the command line.
func (s *server) members(t *testing.T, group string) string {
	t.Helper()
	got := s.muster(t, "group", "members", group)
	require.Zero(t, got.code, got.stderr)
	return got.stdout
}

// awaitMembers waits until a group has so many members, as they are kept.
func (s *server) awaitMembers(t *testing.T, id string, count int) {
	t.Helper()
	await(t, "members of a group", func() (bool, string) {
		var got struct {
			Members int `json:"members"`
		}
		s.call(t, "GET", "/groups/"+id, nil, &got)
		return got.Members == count, id
	})
}

// savedSearch makes a group of what a search finds.
func (s *server) savedSearch(t *testing.T, name string, search map[string]any) (id string) {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	s.call(t, "POST", "/groups", map[string]any{"name": name, "search": search}, &made)
	return made.ID
}

// TestGroups: a device joins the list that its enrollment token names, with all that the list has set, and the
// searches that find it; leaving ends what the group has set.
func TestGroups(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	do := func(args ...string) string {
		t.Helper()
		got := s.muster(t, args...)
		require.Zero(t, got.code, got.stderr)
		return got.stdout
	}
	do("group", "create", "Lab", "--log-level", "debug", "--description", "room 3")
	here := s.savedSearch(t, "Here", map[string]any{"os": runtime.GOOS, "agent_below": "1000.0.0"})
	s.awaitMembers(t, here, 0)

	a := enroll(t, s, strings.TrimSpace(do("enrollment-token", "create", "--group", "lab")))
	require.Contains(t, s.members(t, "Lab"), a.device, "it is a member before its agent has ever checked in")
	s.awaitMembers(t, here, 1)
	a.run(t)
	s.awaitConnected(t, a.device)
	s.call(t, "POST", "/devices/"+a.device+"/log/follow", map[string]any{"for_seconds": 600}, nil)
	line := s.awaitLine(t, a.device, url.Values{"task": {"core"}, "q": {"checked in"}})
	require.Equal(t, "debug", line.Level, "%+v", line)
	require.Contains(t, do("device", "show", a.device), "Here, Lab")
	require.Contains(t, do("device", "log-level", a.device), "debug, by its groups")
	require.Contains(t, do("device", "list", "--group", "Here", "--os", runtime.GOOS), a.device)

	require.NotZero(t, s.muster(t, "group", "delete", "Lab").code, "a token names it")
	do("group", "remove", "Lab", a.device)
	await(t, "the end of what the group has set", func() (bool, string) {
		level := s.logSetting(t, a.device).Level
		return level == "off", level
	})
	s.call(t, "PATCH", "/groups/"+here, map[string]any{"search": map[string]any{"os": "none"}}, nil)
	require.NotContains(t, s.members(t, "Here"), a.device)
}
