package e2e_test

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shownTrust is what the server tells about its trust document.
type shownTrust struct {
	Version         int    `json:"version"`
	RootFingerprint string `json:"root_fingerprint"`
	ServerCanSign   bool   `json:"server_can_sign"`
	RootOnServer    bool   `json:"root_on_server"`
	Devices         struct {
		Total  int `json:"total"`
		Behind int `json:"behind"`
		Ahead  int `json:"ahead"`
	} `json:"devices"`
	Keys []struct {
		ID    string   `json:"id"`
		Roles []string `json:"roles"`
	} `json:"keys"`
}

func (s *server) trust(t *testing.T) shownTrust {
	t.Helper()
	var shown shownTrust
	s.call(t, "GET", "/trust", nil, &shown)
	return shown
}

// done runs the command line, which must succeed.
func (s *server) done(t *testing.T, args ...string) string {
	t.Helper()
	r := s.muster(t, args...)
	require.Zero(t, r.code, "%v\n%s%s", args, r.stdout, r.stderr)
	return r.stdout
}

// offline is where the keys of a take-over are.
type offline struct{ root, author string }

func (s *server) takeOver(t *testing.T) offline {
	t.Helper()
	dir := t.TempDir()
	k := offline{filepath.Join(dir, "root.pem"), filepath.Join(dir, "author.pem")}
	s.done(t, "trust", "take-over", "--root-file", k.root, "--author-file", k.author, "--yes")
	return k
}

// awaitTrust waits until all devices have confirmed the document in force.
func (s *server) awaitTrust(t *testing.T) {
	t.Helper()
	await(t, "all devices to confirm the trust document", func() (bool, string) {
		shown := s.trust(t)
		b, _ := json.Marshal(shown.Devices)
		return shown.Devices.Behind == 0, string(b)
	})
}

// authored makes a package of a command, signed with keys in files, and active.
func (s *server) authored(t *testing.T, name, shell string, keys ...string) string {
	t.Helper()
	id := s.createPackage(t, "--name", name, "--version", "1.0", "--action", "execute", "--no-sign", "--", "/bin/sh", "-c", shell)
	for _, key := range keys {
		s.done(t, "package", "sign", id, "--key", key, "--yes")
	}
	s.done(t, "package", "activate", id)
	return id
}

// TestTrust_takeOver: the right to sign leaves the server for good. What only its key signed is refused
// with the reason and goes on when an author has signed it again; what an author signs runs; devices
// that join later start from the new root.
func TestTrust_takeOver(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, database string) {
		s := startServer(t, database)
		a := startAgent(t, s)
		marker := filepath.Join(t.TempDir(), "marker")
		old := s.offer(t, spec{Name: "of-the-server", Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", "echo ran >> " + marker}})
		before := s.trust(t)
		require.True(t, before.ServerCanSign)
		require.True(t, before.RootOnServer)

		absent := enroll(t, s, s.enrollment(t)) // not running: it cannot confirm
		k := s.takeOver(t)
		after := s.trust(t)
		require.Equal(t, before.Version+1, after.Version)
		require.False(t, after.ServerCanSign)
		require.False(t, after.RootOnServer)
		require.NotEqual(t, before.RootFingerprint, after.RootFingerprint)
		entries, err := os.ReadDir(filepath.Join(s.data, "keys"))
		require.NoError(t, err)
		require.Empty(t, entries, "the server's private keys are gone")
		await(t, "the connected device's confirmation", func() (bool, string) {
			out := s.done(t, "trust", "devices")
			return !strings.Contains(out, a.device) && strings.Contains(out, absent.device), out
		})
		absent.once(t) // takes the document over
		absent.once(t) // says so
		s.awaitTrust(t)

		r := s.muster(t, "package", "sign", old)
		require.Equal(t, exitFailed, r.code)
		require.Contains(t, r.stderr, "this server cannot sign")
		refused, _ := s.assign(t, old, a.device)
		d := s.awaitState(t, refused, "refused", "waiting")
		require.True(t, d.entry("refused", "signature_invalid") != nil || d.entry("waiting", "sign_again") != nil, d.story())
		require.NoFileExists(t, marker)
		s.done(t, "package", "sign", old, "--key", k.author, "--yes")
		if d.State == "refused" {
			s.call(t, "POST", "/deployments/"+refused+"/retry", nil, nil)
		}
		s.awaitState(t, refused, "succeeded")
		require.Equal(t, []string{"ran"}, readLines(t, marker))

		fresh := startAgent(t, s)
		id, _ := s.assign(t, s.authored(t, "of-the-author", "echo signed by the author", k.author), fresh.device)
		require.Contains(t, s.awaitState(t, id, "succeeded").Output, "signed by the author")

		s.stop(t)
		s.launch(t)
		require.Equal(t, after.Version, s.trust(t).Version)
		r = s.muster(t, "trust", "add", strings.Repeat("ab", 32), "--yes")
		require.Equal(t, exitFailed, r.code)
		require.Contains(t, r.stderr, "--root FILE")
	})
}

// TestTrust_rotation: the root changes twice while a device is away; it follows all of it at once, and a
// key that was removed signs nothing any more.
func TestTrust_rotation(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	away := enroll(t, s, s.enrollment(t))
	early := s.enrollment(t) // carries the first root
	s.done(t, "trust", "rotate-root", "--yes")
	k := s.takeOver(t)
	dir := t.TempDir()
	newRoot, author2 := filepath.Join(dir, "root2.pem"), filepath.Join(dir, "author2.pem")
	s.done(t, "trust", "rotate-root", "--root", k.root, "--new-root", newRoot, "--yes")
	public := publicOf(t, s, author2)
	old := s.authored(t, "by-the-old-author", "true", k.author)
	s.done(t, "trust", "replace", authorOf(t, s), public, "--root", newRoot, "--yes")

	r := s.muster(t, "trust", "revoke", old, "--root", k.root, "--yes")
	require.Equal(t, exitFailed, r.code, "the root before signs nothing: %s", r.stdout)

	id, _ := s.assign(t, old, away.device)
	good, _ := s.assign(t, s.authored(t, "by-the-new-author", "true", author2), away.device)
	away.once(t)
	s.awaitState(t, good, "succeeded")
	d := s.awaitState(t, id, "refused", "waiting")
	require.True(t, d.entry("refused", "signature_invalid") != nil || d.entry("waiting", "sign_again") != nil, d.story())

	late := enroll(t, s, early)
	good, _ = s.assign(t, s.authored(t, "for-the-late", "true", author2), late.device)
	late.once(t)
	s.awaitState(t, good, "succeeded")
}

// TestTrust_threshold: two authors must sign; one alone does not make a package, the second one's
// signature does.
func TestTrust_threshold(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	k := s.takeOver(t)
	second := filepath.Join(t.TempDir(), "second.pem")
	s.done(t, "trust", "add", publicOf(t, s, second), "--root", k.root, "--yes")
	s.done(t, "trust", "threshold", "author", "2", "--root", k.root, "--yes")

	file := filepath.Join(t.TempDir(), "a.tar.gz")
	require.NoError(t, os.WriteFile(file, tarGz(t, script("run.sh", "echo two have signed")), 0o600))
	id := s.createPackage(t, "--name", "of-two", "--version", "1", "--action", "launch", "--no-sign", file, "--", "run.sh")
	sign := func(key string) result {
		return s.muster(t, "package", "sign", id, "--key", key, "--archive", file, "--yes")
	}
	require.Contains(t, sign(k.author).stdout, "1 of 2 signatures")
	require.Contains(t, sign(k.author).stdout, "1 of 2 signatures", "the same key counts once")
	require.Contains(t, s.done(t, "package", "list"), "1 of 2 signatures")
	r := s.muster(t, "package", "activate", id)
	require.Equal(t, exitFailed, r.code)
	other := filepath.Join(t.TempDir(), "b.tar.gz")
	require.NoError(t, os.WriteFile(other, tarGz(t, script("run.sh", "echo something else")), 0o600))
	r = s.muster(t, "package", "sign", id, "--key", second, "--archive", other, "--yes")
	require.Equal(t, exitFailed, r.code, "the second author signs only what is in their own file")
	require.Zero(t, sign(second).code)
	s.done(t, "package", "activate", id)
	deployed, _ := s.assign(t, id, a.device)
	a.once(t)
	require.Contains(t, s.awaitState(t, deployed, "succeeded").Output, "two have signed")
}

// publicOf makes a key and returns its public half.
func publicOf(t *testing.T, s *server, file string) string {
	t.Helper()
	var made struct {
		Public string `json:"public"`
	}
	require.NoError(t, json.Unmarshal([]byte(s.done(t, "--json", "keygen", file)), &made))
	return made.Public
}

// authorOf is the id of the one author key.
func authorOf(t *testing.T, s *server) string {
	t.Helper()
	for _, k := range s.trust(t).Keys {
		if k.Roles[0] == "author" {
			return k.ID
		}
	}
	require.FailNow(t, "there is no author")
	return ""
}

// TestTrust_revoked: a package that is revoked runs nowhere, whoever signed it, also when it was assigned
// before.
func TestTrust_revoked(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	marker := filepath.Join(t.TempDir(), "marker")
	bad := s.offer(t, spec{Name: "bad", Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", "echo ran >> " + marker}})
	good := s.offer(t, spec{Name: "good", Priority: 5, Action: "execute", Command: []string{"true"}})
	badID, _ := s.assign(t, bad, a.device)
	goodID, _ := s.assign(t, good, a.device)
	s.done(t, "trust", "revoke", "bad", "--yes")
	a.once(t)
	s.awaitState(t, goodID, "succeeded")
	d := s.awaitState(t, badID, "refused")
	require.NotNil(t, d.entry("refused", "revoked"), d.story())
	require.NoFileExists(t, marker)
	r := s.muster(t, "package", "sign", bad)
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.stderr, "revoked")
	a.once(t)
	require.Empty(t, behind(t, s, s.trust(t).Version))
}

func behind(t *testing.T, s *server, version int) []device {
	t.Helper()
	var page struct {
		Items []device `json:"items"`
	}
	s.call(t, "GET", "/devices?"+url.Values{"trust_below": {strconv.Itoa(version)}}.Encode(), nil, &page)
	return page.Items
}
