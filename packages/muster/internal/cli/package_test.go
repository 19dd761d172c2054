package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/trust"
)

// setup is a folder with something to launch.
func (d *desk) setup() string {
	d.t.Helper()
	dir := filepath.Join(d.dir, "setup")
	require.NoError(d.t, os.MkdirAll(filepath.Join(dir, "data"), 0o755))
	require.NoError(d.t, os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!/bin/sh\nexit 0\n"), 0o755))
	require.NoError(d.t, os.WriteFile(filepath.Join(dir, "data", "x"), []byte(strings.Repeat("abc", 5000)), 0o644))
	return dir
}

func (d *desk) keyFile() (string, trust.PrivateKey) {
	d.t.Helper()
	name := filepath.Join(d.dir, "author.pem")
	d.ok("keygen", name)
	k, err := trust.LoadKey(name)
	require.NoError(d.t, err)
	return name, k
}

func TestPackageCreate_folderSignedByServer(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	out := d.ok("package", "create", d.setup(), "--name", "tool", "--version", "1.0", "--action", "launch", "--priority", "0",
		"--env", "A=b=c", "--exit-code", "7=success", "--attempts", "3", "--detect-file", "/opt/tool", "--os", "linux", "--rerun-safe",
		"--time-limit", "90s", "--activate", "--", "./run.sh", "--quiet", "two words")
	require.Contains(t, out, "tool 1.0")
	require.Contains(t, out, "active")
	require.Contains(t, out, `run.sh --quiet "two words"`)

	p := f.packages[0]
	raw, err := json.Marshal(p)
	require.NoError(t, err)
	var spec instruction.Spec
	require.NoError(t, json.Unmarshal(raw, &spec))
	require.Equal(t, []string{"run.sh", "--quiet", "two words"}, spec.Command)
	require.Zero(t, *spec.Priority, "0 is sent")
	require.Equal(t, map[string]string{"A": "b=c"}, spec.Env)
	require.Equal(t, []instruction.ExitCode{{Code: 7, Outcome: instruction.OutcomeSuccess}}, spec.ExitCodes)
	require.Equal(t, &instruction.Retry{Attempts: 3, DelaySeconds: 30}, spec.Retry)
	require.Equal(t, "/opt/tool", spec.Detect.File.Path)
	require.Equal(t, []string{"linux"}, spec.Requires.OS)
	require.Equal(t, instruction.RerunSafe, spec.Rerun)
	require.Equal(t, 90, spec.TimeLimitSeconds)
	require.Equal(t, "u1", p["upload_id"])
	require.Equal(t, "setup.tar.gz", f.upload["file_name"])

	list := d.ok("package", "list")
	require.Contains(t, list, "tool")
	var items []map[string]any
	require.NoError(t, json.Unmarshal([]byte(d.ok("package", "list", "--json")), &items))
	require.Equal(t, "active", items[0]["state"])
	require.Contains(t, d.ok("package", "show", "tool@1.0"), "run.sh")
	require.Contains(t, d.ok("package", "retire", "TOOL"), "retired")
}

func TestPackageCreate_signedByTheAuthor(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	name, key := d.keyFile()
	folder := d.setup()
	code, _, shown := d.run("package", "create", folder, "--name", "tool", "--version", "1", "--action", "launch", "--key", name, "--yes",
		"--expires-in-days", "10", "--", "run.sh")
	require.Zero(t, code, shown)
	require.False(t, f.called("POST /packages/"+f.packages[0]["id"].(string)+"/sign"), "the server was not asked to sign")

	author := &trust.Document{Format: 1, Version: 1, IssuedAt: time.Now(), Keys: []trust.Key{key.Entry(trust.RoleAuthor)}}
	doc, ids, err := author.VerifyInstruction(f.envelope)
	require.NoError(t, err)
	require.Equal(t, []string{key.ID()}, ids)
	require.Equal(t, f.packages[0]["id"], doc.ID)
	require.Equal(t, []string{"run.sh"}, doc.Command)
	require.Equal(t, int64(len(f.content)), doc.Archive.Size)
	require.Equal(t, fragment.SizeFor(doc.Archive.Size), int64(fragment.DefaultSize))
	require.InDelta(t, (10 * 24 * time.Hour).Hours(), doc.ExpiresAt.Sub(doc.IssuedAt).Hours(), 1)
	for _, said := range []string{doc.Archive.SHA256, key.ID(), "run.sh", "tool 1"} {
		require.Contains(t, shown, said, "what is signed was shown")
	}

	// Signing again computes everything again, from the author's own file.
	id := doc.ID
	code, _, errs := d.run("package", "sign", id, "--key", name, "--yes")
	require.Equal(t, 2, code)
	require.Contains(t, errs, "--archive")
	first := f.envelope
	d.ok("package", "sign", id, "--key", name, "--archive", folder, "--yes")
	require.NotEqual(t, first, f.envelope)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "run.sh"), []byte("changed"), 0o755))
	code, _, errs = d.run("package", "sign", id, "--key", name, "--archive", folder, "--yes")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "not the archive that the server holds")
}

func TestPackageCreate_asksBeforeSigning(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		terminal bool
		answer   string
		code     int
		signed   bool
	}{
		"yes":     {true, "y\n", 0, true},
		"no":      {true, "n\n", 1, false},
		"script":  {false, "y\n", 2, false},
		"hung up": {true, "", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			d := at(t, f)
			key, _ := d.keyFile()
			d.terminal, d.in = c.terminal, c.answer
			code, _, errs := d.run("package", "create", "--name", "u", "--version", "1", "--action", "execute", "--key", key, "--", "true")
			require.Equal(t, c.code, code, errs)
			require.Equal(t, c.signed, f.envelope != nil)
		})
	}
}

func TestPackageCreate_uploadSurvivesCuts(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.cuts = 3
	d := at(t, f)
	d.ok("package", "create", d.setup(), "--name", "tool", "--version", "1", "--action", "store", "--store-path", "/opt/x")
	require.Equal(t, "finished", f.upload["state"])
}

func TestPackageCreate_doesNotTrustTheServer(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.lieDigest = true
	d := at(t, f)
	key, _ := d.keyFile()
	code, _, errs := d.run("package", "create", d.setup(), "--name", "t", "--version", "1", "--action", "launch", "--key", key, "--yes", "--", "run.sh")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "does not have the archive that was sent")
	require.Nil(t, f.envelope)
	require.Empty(t, f.packages)
}

func TestPackageCreate_refusesMistakesBeforeUploading(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	folder := d.setup()
	text := filepath.Join(d.dir, "notes.txt")
	require.NoError(t, os.WriteFile(text, []byte("no archive"), 0o600))
	base := []string{"package", "create", "--name", "t", "--version", "1"}
	cases := map[string]struct {
		args []string
		code int
		says string
	}{
		"no name":             {[]string{"package", "create", folder, "--version", "1", "--action", "launch"}, 2, "--name"},
		"no action":           {append(base, folder), 2, "--action"},
		"two archives":        {append(base, folder, text, "--action", "store"), 2, "one archive at most"},
		"file not in archive": {append(base, folder, "--action", "launch", "--", "missing.sh"), 1, `no file "missing.sh"`},
		"launch, no archive":  {append(base, "--action", "launch", "--", "x"), 1, "archive"},
		"store, no path":      {append(base, folder, "--action", "store"), 1, "path"},
		"unknown action":      {append(base, folder, "--action", "install"), 1, "install"},
		"priority":            {append(base, "--action", "execute", "--priority", "11", "--", "x"), 1, "priority"},
		"exit code":           {append(base, "--action", "execute", "--exit-code", "x", "--", "x"), 2, "--exit-code"},
		"environment":         {append(base, "--action", "execute", "--env", "x", "--", "x"), 2, "--env"},
		"two rules":           {append(base, "--action", "execute", "--detect-file", "/a", "--detect-software", "b", "--", "x"), 2, "one of"},
		"command twice":       {append(base, "--action", "execute", "--command", "a", "--", "x"), 2, "either"},
		"no archive":          {append(base, text, "--action", "store", "--store-path", "/x"), 1, "neither a zip nor a tar.gz"},
		"missing file":        {append(base, filepath.Join(d.dir, "gone.zip"), "--action", "store", "--store-path", "/x"), 1, "gone.zip"},
		"missing key":         {append(base, "--action", "execute", "--key", "gone.pem", "--", "x"), 1, "gone.pem"},
	}
	for name, c := range cases {
		code, _, errs := d.run(c.args...)
		require.Equal(t, c.code, code, "%s: %s", name, errs)
		require.Contains(t, errs, c.says, name)
	}
	require.False(t, f.called("POST /uploads"))
	require.False(t, f.called("POST /packages"))
}

func TestPackage_namesMustBeClear(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	f.packages = []object{
		{"id": "1", "name": "tool", "version": "1", "state": "active"}, {"id": "2", "name": "tool", "version": "2", "state": "active"},
		{"id": "3", "name": "tool", "version": "3", "state": "draft"}, {"id": "4", "name": "toolbox", "version": "1", "state": "active"},
	}
	require.Contains(t, d.ok("package", "show", "toolbox"), "toolbox 1", "all pages are looked through")
	require.Contains(t, d.ok("package", "show", "tool@2"), "tool 2")
	require.Contains(t, d.ok("package", "activate", "tool"), "tool 3", "the only draft")
	code, _, errs := d.run("package", "show", "tool")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "tool@1")
	code, _, errs = d.run("package", "show", "nothing")
	require.Equal(t, 1, code)
	require.Contains(t, errs, `no package "nothing"`)
	require.Contains(t, d.ok("package", "list", "--limit", "1"), "tool")
}

func TestKeygen_neverOverwrites(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	name, key := d.keyFile()
	code, _, errs := d.run("keygen", name)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "exists")
	again, err := trust.LoadKey(name)
	require.NoError(t, err)
	require.Equal(t, key.ID(), again.ID())
}

func TestPackageCreate_saysBeforeTheUploadThatNobodyCanAgree(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	name, _ := d.keyFile()
	code, _, errs := d.run("package", "create", d.setup(), "--name", "tool", "--version", "1", "--action", "launch", "--key", name, "--", "run.sh")
	require.Equal(t, 2, code)
	require.Contains(t, errs, "say --yes to agree")
	require.Empty(t, f.packages, "no draft is left behind")
	require.Nil(t, f.upload)
}
