package cli_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

func (f *fakeServer) releaseRoutes(handle func(string, func(*http.Request) (int, any))) {
	handle("POST /releases", func(r *http.Request) (int, any) {
		f.handedIn = body(r)
		made := object{"id": uuid.NewString(), "version": "1.4.0", "state": "active", "builds": []object{{"os": "linux", "arch": "amd64", "size": 5}}}
		f.releases = append(f.releases, made)
		return 201, made
	})
	handle("GET /releases", func(r *http.Request) (int, any) { return 200, page(r, f.releases) })
	one := func(change func(object)) func(*http.Request) (int, any) {
		return func(r *http.Request) (int, any) {
			o := find(f.releases, r.PathValue("id"))
			if o == nil {
				return 0, fault.New(fault.NotFound, "there is no such release")
			}
			change(o)
			return 200, o
		}
	}
	handle("GET /releases/{id}", one(func(object) {}))
	handle("POST /releases/{id}/retire", one(func(o object) { o["state"] = "retired" }))
	handle("POST /updates", func(r *http.Request) (int, any) {
		in, batch := body(r), uuid.NewString()
		made := []object{}
		ids, _ := in["device_ids"].([]any)
		for _, id := range ids {
			t := object{
				"id": uuid.NewString(), "device_id": id, "hostname": find(f.devices, id.(string))["hostname"], "kind": "update", "state": "assigned",
				"summary": "not yet picked up by the device", "created_at": time.Now(), "batch_id": batch,
				"update": object{"release_id": in["release_id"], "version": "1.4.0", "probation_seconds": in["probation_seconds"]},
			}
			made, f.tasks = append(made, t), append(f.tasks, t)
		}
		left := []object{}
		if in["group_id"] != nil && in["group_id"] == f.groups[0]["id"] {
			left = append(left, object{"device_id": "x", "hostname": "old", "why": "the agent of old cannot update itself"})
		}
		return 201, object{"batch_id": batch, "tasks": made[:min(1, len(made))], "made": len(made), "left_out": left} // not all that were made
	})
}

// releaseKey makes a key that devices trust for releases.
func (d *desk) releaseKey(name string) (string, trust.PrivateKey) {
	d.t.Helper()
	file := filepath.Join(d.dir, name)
	d.ok("keygen", file)
	k, err := trust.LoadKey(file)
	require.NoError(d.t, err)
	d.ok("trust", "add", hex.EncodeToString(k.PublicKey()), "--role", "release", "--yes")
	return file, k
}

// program is a file that stands for the agent of a version.
func (d *desk) program(name, version string) string {
	d.t.Helper()
	file := filepath.Join(d.dir, name)
	require.NoError(d.t, os.WriteFile(file, []byte(strings.Repeat("code ", 20_000)+version), 0o755))
	return file
}

func TestReleaseCreate_signsWhatItShows(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	file, key := d.releaseKey("first.pem")
	second, other := d.releaseKey("second.pem")
	linux, windows := d.program("agent", "1.4.0"), d.program("agent.exe", "1.4.0")
	code, out, shown := d.run("release", "create", "--version", "v1.4.0", "--build", "linux/amd64="+linux, "--build", "windows/amd64="+windows,
		"--downgrade-from", "1.5.0", "--notes", "less memory", "--key", file, "--key", second, "--expires-in-days", "30", "--yes")
	require.Zero(t, code, shown)
	require.Contains(t, out, "1.4.0")

	envelope, err := base64.StdEncoding.DecodeString(f.handedIn["envelope"].(string))
	require.NoError(t, err)
	doc := &trust.Document{
		Format: 1, Version: 1, IssuedAt: time.Now(), Keys: []trust.Key{key.Entry(trust.RoleRelease), other.Entry(trust.RoleRelease)},
		Thresholds: map[trust.Role]int{trust.RoleRelease: 2},
	}
	r, ids, err := doc.VerifyRelease(envelope)
	require.NoError(t, err)
	require.Len(t, ids, 2)
	require.Equal(t, "1.4.0", r.Version)
	require.Equal(t, []string{"1.5.0"}, r.DowngradeFrom)
	require.Equal(t, "less memory", r.Notes)
	require.Equal(t, []string{"linux/amd64", "windows/amd64"}, r.Platforms())
	require.InDelta(t, (30 * 24 * time.Hour).Hours(), r.ExpiresAt.Sub(r.IssuedAt).Hours(), 1)
	require.Len(t, f.handedIn["upload_ids"], 2)
	content, err := os.ReadFile(linux)
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	require.Equal(t, hex.EncodeToString(sum[:]), r.Builds[0].SHA256)
	require.Equal(t, int64(len(content)), r.Builds[0].Size)
	packed := sha256.Sum256(f.content) // the last upload
	require.Equal(t, hex.EncodeToString(packed[:]), r.Builds[1].Archive.SHA256)
	for _, want := range []string{r.ID, linux, r.Builds[0].SHA256, r.Builds[1].Archive.SHA256, "1.5.0", "less memory", key.ID(), other.ID()} {
		require.Contains(t, shown, want, "all that is signed was shown")
	}
	require.NotContains(t, shown, "does not hold the text")
}

func TestReleaseCreate_refusesMistakesBeforeUploading(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	file, _ := d.releaseKey("release.pem")
	author, _ := d.keyFile()
	linux := "linux/amd64=" + d.program("agent", "1.4.0")
	with := func(more ...string) []string { return append([]string{"release", "create", "--key", file}, more...) }
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no build":         {with("--version", "1.4.0"), 2, "--build"},
		"no key":           {[]string{"release", "create", "--version", "1.4.0", "--build", linux}, 2, "--key"},
		"no version":       {with("--build", linux, "--yes"), 1, "is not a version"},
		"half a version":   {with("--version", "1.4", "--build", linux, "--yes"), 1, "is not a version"},
		"build of what":    {with("--version", "1.4.0", "--build", "agent", "--yes"), 2, "OS/ARCH=FILE"},
		"platform twice":   {with("--version", "1.4.0", "--build", linux, "--build", linux, "--yes"), 1, "two builds for linux/amd64"},
		"no such program":  {with("--version", "1.4.0", "--build", "linux/amd64=gone", "--yes"), 1, "gone"},
		"a folder":         {with("--version", "1.4.0", "--build", "linux/amd64="+d.dir, "--yes"), 1, "not a program"},
		"no such key":      {[]string{"release", "create", "--version", "1.4.0", "--build", linux, "--key", "gone.pem"}, 1, "gone.pem"},
		"nobody can agree": {with("--version", "1.4.0", "--build", linux), 2, "say --yes"},
		"an author's key":  {[]string{"release", "create", "--version", "1.4.0", "--build", linux, "--key", author, "--yes"}, 1, "--role release"},
		"downgrade upward": {with("--version", "1.4.0", "--build", linux, "--downgrade-from", "1.3.0", "--yes"), 1, "needs no allowance"},
	} {
		code, _, errs := d.run(c.args...)
		require.Equal(t, c.code, code, "%s: %s", name, errs)
		require.Contains(t, errs, c.says, name)
	}
	d.terminal, d.in = true, "n\n"
	code, _, errs := d.run(with("--version", "1.4.1", "--build", linux)...)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "was it built as another version?")
	require.False(t, f.called("POST /uploads"))
	require.False(t, f.called("POST /releases"))
}

func TestRelease_commands(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := at(t, f)
	f.releases = []object{
		{"id": uuid.NewString(), "version": "1.4.0", "state": "retired"}, {"id": uuid.NewString(), "version": "1.4.0", "state": "active", "refusal": "revoked"},
		{"id": uuid.NewString(), "version": "1.3.0", "state": "retired"}, {"id": uuid.NewString(), "version": "1.3.0", "state": "retired"},
	}
	list := d.ok("release", "list")
	require.Contains(t, list, "devices would refuse it: revoked")
	require.Contains(t, d.ok("release", "show", "v1.4.0"), f.releases[1]["id"], "the one that is not retired")
	require.Contains(t, d.ok("release", "retire", "1.4.0"), "retired")
	code, _, errs := d.run("release", "show", "1.3.0")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "say which id")
	code, _, errs = d.run("release", "show", "2.0.0")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "muster release list")
}

func TestUpdateStart(t *testing.T) {
	t.Parallel()
	f, d := fleet(t)
	id := uuid.NewString()
	f.releases = []object{{"id": id, "version": "1.4.0", "state": "active"}}
	out, errs, done := d.begin("update", "start", "1.4.0", "--device", "pc-1", "--device", deviceB, "--device", deviceA, "--probation", "90s", "--wait", "--timeout", "1m")
	require.Eventually(t, func() bool { return strings.Count(out.String(), "not yet picked up") == 2 }, time.Minute, 5*time.Millisecond, "a device named twice is one")
	f.mu.Lock()
	task := f.tasks[0]
	update, ok := task["update"].(object)
	require.True(t, ok)
	require.Equal(t, id, update["release_id"])
	require.Equal(t, 90.0, update["probation_seconds"])
	update["result"] = object{"from": "1.3.0", "to": "1.4.0", "outcome": "rolled_back"}
	f.mu.Unlock()
	f.finishTasks(protocol.StateFailed, "failed: the new agent did not check in within its time; the old one is back")
	require.Equal(t, 1, await(t, done), errs.String())
	shown := d.ok("task", "show", task["id"].(string))
	require.Contains(t, shown, "rolled back")
	require.Contains(t, shown, "1.3.0")

	listed := d.ok("update", "start", "1.4.0", "--device", "pc-1", "--device", deviceB)
	require.Equal(t, 2, strings.Count(listed, "not yet picked up"), "all are shown, also when the answer does not name all")
	f.groups = []object{{"id": uuid.NewString(), "name": "g1"}}
	code, text, notes := d.run("update", "start", id, "--group", "G1")
	require.Zero(t, code, notes)
	require.Contains(t, text, "none")
	require.Contains(t, notes, "left out: the agent of old cannot update itself")
	for _, wrong := range [][]string{
		{"update", "start", "1.4.0"}, {"update", "start", "1.4.0", "--device", "pc-1", "--group", "g"},
		{"update", "start", "1.4.0", "--device", "pc-1", "--probation", "1ms"}, {"update", "start"},
	} {
		code, _, errs := d.run(wrong...)
		require.Equal(t, 2, code, errs)
	}
}
