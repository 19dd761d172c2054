package e2e_test

import (
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRelease_commandLine goes the way of an author who trusts no server: the root key is away from it, a release
// key is let sign, and releases are made, given to a device, retired and revoked, all by the command line.
func TestRelease_commandLine(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := newUpdatable(t, s, 0)
	keys := s.takeOver(t)
	key := filepath.Join(t.TempDir(), "release.pem")
	public := regexp.MustCompile(`public key\s+([0-9a-f]{64})`).FindStringSubmatch(s.done(t, "keygen", key))
	require.Len(t, public, 2)
	create := func(n int, with string) result {
		return s.muster(t, "release", "create", "--version", agentVersion(n), "--build", runtime.GOOS+"/"+runtime.GOARCH+"="+agentProgram(t, n), "--key", with, "--yes")
	}
	r := create(1, key)
	require.Equal(t, 1, r.code, r.stderr)
	require.Contains(t, r.stderr, "--role release", "it says what is missing")
	require.Equal(t, 1, create(1, keys.author).code, "an author signs packages, not releases")
	s.done(t, "trust", "add", public[1], "--role", "release", "--root", keys.root, "--yes")
	r = create(1, key)
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stderr, agentVersion(1), "what is signed was shown")
	require.NotContains(t, r.stderr, "built as another version")

	out := s.done(t, "update", "start", agentVersion(1), "--device", a.device, "--probation", "1m", "--wait", "--timeout", "1m")
	require.Contains(t, out, "the agent runs the release")
	a.awaitRunning(t, 1)
	require.Contains(t, s.done(t, "task", "list", "--kind", "update"), "succeeded")

	s.done(t, "group", "create", "all of it", a.device)
	r = s.muster(t, "update", "start", agentVersion(1), "--group", "all of it")
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stderr, "is "+agentVersion(1)+" already", "who needs no update is left out")

	require.Zero(t, create(2, key).code)
	out = s.done(t, "release", "show", agentVersion(2))
	id := regexp.MustCompile(`Id:\s+(\S+)`).FindStringSubmatch(out)
	require.Len(t, id, 2)
	s.done(t, "trust", "revoke", id[1], "--root", keys.root, "--yes")
	require.Contains(t, s.done(t, "release", "list"), "devices would refuse it: revoked")
	r = s.muster(t, "update", "start", agentVersion(2), "--device", a.device)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "revoked")
	require.Contains(t, s.done(t, "release", "retire", agentVersion(1)), "retired")
	require.Equal(t, 1, s.muster(t, "update", "start", agentVersion(1), "--device", a.device).code)
}
