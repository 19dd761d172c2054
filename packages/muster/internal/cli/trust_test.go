package cli_test

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/trust"
)

// fakeTrust is the fake server's trust document, with real keys and signatures.
type fakeTrust struct {
	root     trust.PrivateKey // zero once it was taken over
	doc      *trust.Document
	envelope []byte
	show     []byte // what it shows in place of the truth
}

func (f *fakeServer) trustRoutes(handle func(string, func(*http.Request) (int, any))) {
	root, server := mustKey(f.t), mustKey(f.t)
	doc := &trust.Document{Format: 1, Version: 3, IssuedAt: time.Now().UTC().Truncate(time.Second), Keys: []trust.Key{
		root.Entry(trust.RoleRoot), server.Entry(trust.RoleServer),
	}}
	envelope, err := doc.Sign(root)
	require.NoError(f.t, err)
	f.trust = fakeTrust{root: root, doc: doc, envelope: envelope}

	handle("GET /trust", func(*http.Request) (int, any) { return 200, f.trustBody() })
	handle("PUT /trust", func(r *http.Request) (int, any) { return f.publish(envelopeOf(r)) })
	handle("POST /trust/signature", func(r *http.Request) (int, any) {
		if f.trust.root.ID() == "" {
			return 0, fault.New(fault.Conflict, "the root key is not on this server")
		}
		envelope, err := trust.Cosign(trust.PayloadType, envelopeOf(r), f.trust.root)
		if err != nil {
			return 0, fault.New(fault.Untrusted, "%v", err)
		}
		return f.publish(envelope)
	})
	handle("POST /trust/rotation", func(*http.Request) (int, any) {
		root := mustKey(f.t)
		next, err := f.trust.doc.Next(trust.Change{Remove: []string{f.trust.root.ID()}, Add: []trust.Key{root.Entry(trust.RoleRoot)}}, time.Now())
		require.NoError(f.t, err)
		envelope, err := next.Sign(f.trust.root, root)
		require.NoError(f.t, err)
		f.trust.root = root
		return f.publish(envelope)
	})
}

func envelopeOf(r *http.Request) []byte {
	var in struct {
		Envelope []byte `json:"envelope"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	return in.Envelope
}

func (f *fakeServer) publish(envelope []byte) (int, any) {
	next, err := trust.VerifyChain("", f.trust.doc, [][]byte{envelope})
	if err != nil {
		return 0, fault.New(fault.Untrusted, "%v", err)
	}
	f.trust.doc, f.trust.envelope = next, envelope
	if _, still := next.Key(f.trust.root.ID()); !still {
		f.trust.root = trust.PrivateKey{}
	}
	return 200, f.trustBody()
}

func (f *fakeServer) trustBody() object {
	shown := f.trust.envelope
	if f.trust.show != nil {
		shown = f.trust.show
	}
	doc, _, err := trust.Read(shown, nil)
	require.NoError(f.t, err)
	signers, err := trust.Signers(shown)
	require.NoError(f.t, err)
	keys := []object{}
	canSign := false
	for _, k := range doc.Keys {
		keys = append(keys, object{"id": k.ID, "roles": k.Roles})
		canSign = canSign || k.Has(trust.RoleServer)
	}
	return object{
		"version": doc.Version, "root_fingerprint": signers[0], "server_can_sign": canSign, "root_on_server": f.trust.root.ID() != "",
		"keys": keys, "thresholds": doc.Thresholds, "revoked": doc.Revoked, "envelope": shown,
		"devices": object{"total": len(f.devices), "behind": len(f.devices)},
	}
}

func mustKey(t *testing.T) trust.PrivateKey {
	t.Helper()
	k, err := trust.GenerateKey()
	require.NoError(t, err)
	return k
}

func public(k trust.PrivateKey) string { return hex.EncodeToString(k.PublicKey()) }

// key puts a private key into a file.
func (d *desk) key(name string, k trust.PrivateKey) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	require.NoError(d.t, trust.SaveKey(path, k))
	return path
}

// TestTrust_byTheServer: every change is shown and asked for, and the server that holds the root signs.
func TestTrust_byTheServer(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	require.Contains(t, d.ok("trust", "show"), "This server can sign")
	require.Contains(t, d.ok("trust", "show", "--json"), `"version": 3`)
	author, second := mustKey(t), mustKey(t)

	code, _, errs := d.run("trust", "add", public(author))
	require.Equal(t, 2, code)
	require.Contains(t, errs, "--yes")
	require.Equal(t, 3, f.trust.doc.Version, "nothing happens without agreement")
	d.terminal, d.in = true, "n\n"
	code, _, errs = d.run("trust", "add", public(author))
	require.Equal(t, 1, code)
	require.Contains(t, errs, "add key    "+author.ID()+" (author)", "what changes was shown")
	require.Equal(t, 3, f.trust.doc.Version)
	d.in = "y\n"
	require.Contains(t, d.ok("trust", "add", public(author)), "trust document 4 is in force")
	require.Contains(t, d.ok("trust", "add", public(second), "--role", "author,release"), "trust document 5")
	d.ok("trust", "threshold", "author", "2")
	require.Equal(t, 2, f.trust.doc.Threshold(trust.RoleAuthor))
	code, _, errs = d.run("trust", "remove", author.ID()[:12])
	require.Equal(t, 1, code)
	require.Contains(t, errs, "threshold 2 for author", "a threshold that nobody can reach is refused before anything is asked")
	d.ok("trust", "threshold", "author", "1")
	third := mustKey(t)
	d.ok("trust", "replace", author.ID()[:12], public(third))
	_, there := f.trust.doc.Key(author.ID())
	require.False(t, there)
	d.ok("trust", "remove", second.ID())
	digest := strings.Repeat("ab", 32)
	d.ok("trust", "revoke", digest)
	require.Equal(t, []string{digest}, f.trust.doc.Revoked)
	code, _, errs = d.run("trust", "revoke", digest)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "nothing would change")
	root := f.trust.root.ID()
	require.Contains(t, d.ok("trust", "rotate-root"), "trust document 11")
	require.NotEqual(t, root, f.trust.root.ID())
}

func TestTrust_usage(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	stranger := d.key("stranger.pem", mustKey(t))
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"add my.key", 2, "64 hex digits"},
		{"add " + strings.Repeat("ab", 32) + " --role server", 2, "no role"},
		{"remove abc", 2, "too short"},
		{"remove 0123456789abcdef", 1, "has no key"},
		{"threshold author none", 2, "number of keys"},
		{"threshold king 2", 2, "no role"},
		{"threshold author 2", 1, "threshold 2"},
		{"rotate-root --root x", 2, "--new-root"},
		{"take-over", 2, "root-file"},
		{"take-over --root-file a --author-file a", 2, "two files"},
		{"take-over --root-file " + stranger + " --author-file b --yes", 1, "never overwritten"},
		{"publish /nowhere", 1, "no such file"},
		{"sign x", 2, "root"},
		{"revoke 0123 --root " + stranger, 1, "no package"},
		{"add " + strings.Repeat("ab", 32) + " --yes --root " + stranger, 1, "no root of trust document"},
	} {
		code, out, errs := d.run(append([]string{"trust"}, strings.Fields(c.args)...)...)
		require.Equal(t, c.code, code, "%s: %s", c.args, errs)
		require.Contains(t, errs, c.want, c.args)
		require.Empty(t, out)
	}
	require.Equal(t, 3, f.trust.doc.Version)
}

// TestTrust_takeOver: the keys are made here, the server's are gone from the document, and what follows
// is signed by the root key in the file.
func TestTrust_takeOver(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	f.devices = []object{{"id": "d1", "hostname": "pc-1", "trust_version": 3}}
	rootFile, authorFile := filepath.Join(d.dir, "root.pem"), filepath.Join(d.dir, "author.pem")
	out := d.ok("trust", "take-over", "--root-file", rootFile, "--author-file", authorFile, "--yes")
	require.Contains(t, out, "This server cannot sign")
	require.Contains(t, out, "pc-1", "who has not followed yet")
	root, err := trust.LoadKey(rootFile)
	require.NoError(t, err)
	author, err := trust.LoadKey(authorFile)
	require.NoError(t, err)
	require.Equal(t, []trust.Key{root.Entry(trust.RoleRoot), author.Entry(trust.RoleAuthor)}, f.trust.doc.Keys)
	require.Empty(t, f.trust.root.ID())

	code, _, errs := d.run("trust", "add", strings.Repeat("ab", 32), "--yes")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "0 of 1 needed root signatures")
	require.Contains(t, d.ok("trust", "add", public(mustKey(t)), "--root", rootFile, "--yes"), "trust document 5")
	newRoot := filepath.Join(d.dir, "root2.pem")
	d.ok("trust", "rotate-root", "--root", rootFile, "--new-root", newRoot, "--yes")
	code, _, errs = d.run("trust", "revoke", strings.Repeat("ab", 32), "--root", rootFile, "--yes")
	require.Equal(t, 1, code, "the root that was replaced signs nothing")
	require.Contains(t, errs, "no root of trust document 6")
	d.ok("trust", "revoke", strings.Repeat("ab", 32), "--root", newRoot, "--yes")
	require.FileExists(t, rootFile+".trust-4.json", "a server restored from an old backup needs it")
	code, _, errs = d.run("trust", "publish", rootFile+".trust-4.json", "--yes")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "version 7 is in force")
}

// TestTrust_interruptedTakeOver: an answer that is lost is looked up; keys of an earlier try are used
// only when asked for.
func TestTrust_interruptedTakeOver(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	root, author := d.key("root.pem", mustKey(t)), d.key("author.pem", mustKey(t))
	code, _, _ := d.run("trust", "take-over", "--root-file", root, "--author-file", author, "--yes")
	require.Equal(t, 1, code)
	require.Equal(t, 3, f.trust.doc.Version)
	d.ok("trust", "take-over", "--root-file", root, "--author-file", author, "--existing", "--yes")
	require.Equal(t, 4, f.trust.doc.Version)
}

// TestTrust_aDishonestServer: what it shows is signed by its own root, and lists ours: signing a small
// change of that would make its keys trusted.
func TestTrust_aDishonestServer(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	root := filepath.Join(d.dir, "root.pem")
	d.ok("trust", "take-over", "--root-file", root, "--author-file", filepath.Join(d.dir, "author.pem"), "--yes")
	ours, err := trust.LoadKey(root)
	require.NoError(t, err)
	enemy := mustKey(t)
	made := &trust.Document{Format: 1, Version: 9, IssuedAt: time.Now().UTC(), Keys: []trust.Key{enemy.Entry(trust.RoleRoot, trust.RoleAuthor), ours.Entry(trust.RoleRoot)}}
	f.trust.show, err = made.Sign(enemy)
	require.NoError(t, err)
	code, out, errs := d.run("trust", "revoke", strings.Repeat("ab", 32), "--root", root, "--yes")
	require.Equal(t, 1, code, out)
	require.Contains(t, errs, "none of your root keys signed")
	require.False(t, f.called("PUT /trust"), "nothing that our root signed leaves the desk")
	file := filepath.Join(d.dir, "next.json")
	d.ok("trust", "revoke", strings.Repeat("ab", 32), "--out", file, "--yes")
	code, _, errs = d.run("trust", "sign", file, "--root", root, "--yes")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "none of your root keys signed")

	made.Keys = made.Keys[1:]
	made.Keys[0].Roles = []trust.Role{trust.RoleAuthor}
	made.Keys = append(made.Keys, enemy.Entry(trust.RoleRoot))
	f.trust.show, err = made.Sign(enemy)
	require.NoError(t, err)
	_, _, errs = d.run("trust", "revoke", strings.Repeat("ab", 32), "--root", root, "--yes")
	require.Contains(t, errs, "no root of trust document 9")
}

// TestTrust_twoRoots: a document goes from hand to hand until enough roots have signed it.
func TestTrust_twoRoots(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	one, two := filepath.Join(d.dir, "one.pem"), filepath.Join(d.dir, "two.pem")
	d.ok("trust", "take-over", "--root-file", one, "--author-file", filepath.Join(d.dir, "author.pem"), "--yes")
	d.ok("keygen", two)
	k2, err := trust.LoadKey(two)
	require.NoError(t, err)
	d.ok("trust", "add", public(k2), "--role", "root", "--root", one, "--yes")
	file := filepath.Join(d.dir, "next.json")
	require.Contains(t, d.ok("trust", "threshold", "root", "2", "--root", one, "--out", file, "--yes"), "signed by 1 of 2")
	code, _, errs := d.run("trust", "sign", file, "--root", two, "--yes")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "--compared", "it has signed nothing yet and cannot know the present document")
	require.Contains(t, d.ok("trust", "sign", file, "--root", two, "--compared", "--yes"), "publish it with")
	d.ok("trust", "publish", file, "--yes")
	require.Equal(t, 2, f.trust.doc.Threshold(trust.RoleRoot))

	code, _, errs = d.run("trust", "revoke", strings.Repeat("ab", 32), "--root", one, "--yes")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "1 of 2 needed root signatures")
	d.ok("trust", "revoke", strings.Repeat("ab", 32), "--root", one, "--root", two, "--yes")

	// Unsigned from the desk with the server, signed where there is none.
	d.ok("trust", "revoke", strings.Repeat("cd", 32), "--out", file, "--yes")
	away := newDesk(t)
	require.Contains(t, away.ok("trust", "sign", file, "--root", one, "--yes"), "signed by 1 of 2")
	code, _, errs = d.run("trust", "publish", file, "--yes")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "1 of 2")
	stranger := away.key("stranger.pem", mustKey(t))
	code, _, errs = away.run("trust", "sign", file, "--root", stranger, "--yes")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "a root neither of")
	away.ok("trust", "sign", file, "--root", two, "--yes")
	d.ok("trust", "publish", file, "--yes")
	require.Len(t, f.trust.doc.Revoked, 2)
	require.NoError(t, os.WriteFile(file, []byte(`{"present":{},"next":{}}`), 0o600))
	code, _, _ = d.run("trust", "publish", file, "--yes")
	require.Equal(t, 1, code)
}
