package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestActions carries one package of each kind from an author's archive to its result.
func TestActions(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, database string) {
		s := startServer(t, database)
		a := startAgent(t, s)
		t.Run("launch installs a Debian package inside a chroot", func(t *testing.T) { launchInChroot(t, s, a) })
		t.Run("execute that exits 7 has failed", func(t *testing.T) { executeExits7(t, s, a) })
		t.Run("store of 2,000 files lands whole", func(t *testing.T) { storeManyFiles(t, s, a) })
		t.Run("execute with awkward output", func(t *testing.T) { awkwardOutput(t, s, a) })
		t.Run("execute needs no archive", func(t *testing.T) { executeWithoutArchive(t, s, a) })
	})
}

// launchInChroot does it all by the command line, as an author and an admin would.
func launchInChroot(t *testing.T, s *server, a *agent) {
	root := debianRoot(t)
	archive := tarGz(t, debianPackage(t, "hello"), script("install.sh", `set -eu
cp "$(dirname "$0")"/hello_*.deb "$1/tmp/hello.deb"
chroot "$1" dpkg -i /tmp/hello.deb
chroot "$1" /usr/bin/hello`))
	file := filepath.Join(t.TempDir(), "hello.tar.gz")
	require.NoError(t, os.WriteFile(file, archive, 0o600))

	id := s.createPackage(t, "--name", "hello", "--version", "2.10", "--action", "launch", "--no-sign", file, "--", "install.sh", root)
	for _, verb := range []string{"sign", "activate"} {
		r := s.muster(t, "package", verb, id)
		require.Zero(t, r.code, r.stderr)
	}
	r := s.muster(t, "assign", "--package", id, "--device", a.device, "--wait")
	require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
	require.Contains(t, r.stdout, "succeeded (exit code 0)")

	out, err := exec.Command("chroot", root, "/usr/bin/hello").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "Hello, world!\n", string(out))
	status, err := exec.Command("chroot", root, "dpkg-query", "-W", "-f", "${Status}", "hello").CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "install ok installed", string(status))

	d := s.deployment(t, s.onlyDeployment(t, id))
	require.Contains(t, d.Output, "Hello, world!", "the output came back")
	for _, state := range []string{"assigned", "accepted", "fetching", "fetched", "unpacked", "started", "succeeded"} {
		require.NotNil(t, d.entry(state, ""), "the timeline lacks %s: %s", state, d.story())
	}
}

func executeExits7(t *testing.T, s *server, a *agent) {
	archive := tarGz(t, script("work.sh", `echo "first line"; echo "the printer is on fire" >&2; exit 7`))
	id, _ := s.assign(t, s.offer(t, spec{Name: "seven", Priority: 5, Action: "execute", Command: []string{"/bin/sh", "work.sh"}, File: "seven.tar.gz", Archive: archive}), a.device)
	d := s.awaitState(t, id, "failed")
	require.Equal(t, "exit_code", d.Reason)
	require.NotNil(t, d.ExitCode)
	require.Equal(t, 7, *d.ExitCode)
	require.Contains(t, d.Summary, "exit code 7")
	require.Contains(t, d.Output, "first line")
	require.Contains(t, d.Output, "the printer is on fire")
}

func storeManyFiles(t *testing.T, s *server, a *agent) {
	const count = 2000
	files := make([]file, 0, count)
	for i := range count {
		name := fmt.Sprintf("folder %d/deep/file-%04d.txt", i%50, i)
		files = append(files, file{name, 0o640, bytes.Repeat([]byte(name+"\n"), 1+i%90)})
	}
	// Not under /tmp directly: a parent that other users can write to is refused, and rightly.
	target := filepath.Join(storeRoot(t), "placed")
	id, _ := s.assign(t, s.offer(t, spec{Name: "many-files", Priority: 5, Action: "store", Store: target, File: "many.zip", Archive: zipped(t, files...)}), a.device)
	d := s.awaitState(t, id, "succeeded")
	require.Equal(t, "stored", d.Reason)
	for _, f := range files {
		path := filepath.Join(target, filepath.FromSlash(f.name))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, f.data, got, f.name)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(f.mode), info.Mode().Perm(), f.name)
	}
	found := 0
	require.NoError(t, filepath.Walk(target, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			found++
		}
		return err
	}))
	require.Equal(t, count, found, "something more than the archive lies there")
}

func executeWithoutArchive(t *testing.T, s *server, a *agent) {
	id, _ := s.assign(t, s.offer(t, spec{Name: "no-archive", Priority: 5, Action: "execute", Command: []string{"/bin/echo", "it's; $HOME and `this` stay as they are"}}), a.device)
	d := s.awaitState(t, id, "succeeded")
	require.Equal(t, 0, *d.ExitCode)
	require.Equal(t, "it's; $HOME and `this` stay as they are\n", d.Output, "arguments pass no shell")
	require.Equal(t, "succeeded (exit code 0)", d.Summary)
}

// storeRoot is a folder whose parents nobody else can replace.
func storeRoot(t *testing.T) string {
	t.Helper()
	base := cacheDir(t)
	dir, err := os.MkdirTemp(base, "store-*")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
