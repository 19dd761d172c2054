package e2e_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/unabletest"
)

// file is one file of an archive.
type file struct {
	name string
	mode int64
	data []byte
}

func notes(text []byte) file { return file{"notes", 0o644, text} }

func script(name, body string) file { return file{name, 0o755, []byte("#!/bin/sh\n" + body + "\n")} }

func tarGz(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for _, f := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}))
		_, err := w.Write(f.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, gz.Close())
	return b.Bytes()
}

func zipped(t *testing.T, files ...file) []byte {
	t.Helper()
	return zipBy(t, zip.Deflate, files)
}

// stored is a zip whose files are not packed, so that its size is known.
func stored(t *testing.T, files ...file) []byte {
	t.Helper()
	return zipBy(t, zip.Store, files)
}

func zipBy(t *testing.T, method uint16, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: method}
		h.SetMode(os.FileMode(f.mode))
		e, err := w.CreateHeader(h)
		require.NoError(t, err)
		_, err = e.Write(f.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// cacheDir keeps what is costly to fetch between runs.
func cacheDir(t *testing.T) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		unabletest.Skip(t, "no cache folder: %v", err)
	}
	dir := filepath.Join(base, "muster-test")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

// debianPackage is a real .deb from this computer's package source.
func debianPackage(t *testing.T, name string) file {
	t.Helper()
	dir := filepath.Join(cacheDir(t), "deb")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	pattern := filepath.Join(dir, name+"_*.deb")
	if found, _ := filepath.Glob(pattern); len(found) == 0 {
		if find("apt-get") == "" {
			unabletest.Skip(t, "apt-get is not here, it downloads %s", name)
		}
		cmd := exec.Command("apt-get", "download", name)
		cmd.Dir = t.TempDir() // a half download must not look like a package
		if out, err := cmd.CombinedOutput(); err != nil {
			unabletest.Skip(t, "apt-get download %s: %v\n%s", name, err, out)
		}
		fresh, _ := filepath.Glob(filepath.Join(cmd.Dir, "*.deb"))
		require.Len(t, fresh, 1)
		data, err := os.ReadFile(fresh[0])
		require.NoError(t, err)
		return keep(t, filepath.Join(dir, filepath.Base(fresh[0])), data)
	}
	found, err := filepath.Glob(pattern)
	require.NoError(t, err)
	data, err := os.ReadFile(found[0])
	require.NoError(t, err)
	return file{filepath.Base(found[0]), 0o644, data}
}

func keep(t *testing.T, path string, data []byte) file {
	t.Helper()
	part, err := os.CreateTemp(filepath.Dir(path), "part-*")
	require.NoError(t, err)
	_, err = part.Write(data)
	require.NoError(t, err)
	require.NoError(t, part.Close())
	require.NoError(t, os.Rename(part.Name(), path))
	return file{filepath.Base(path), 0o644, data}
}

// making lets one test at a time fill the cache.
var making sync.Mutex

// debianRoot is a fresh minimal Debian in a folder, copied from one that debootstrap made once.
func debianRoot(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		unabletest.Skip(t, "a chroot needs root")
	}
	if find("debootstrap") == "" {
		unabletest.Skip(t, "debootstrap is not here: install it")
	}
	release, err := os.ReadFile("/etc/os-release")
	require.NoError(t, err)
	suite := "bookworm"
	for line := range strings.Lines(string(release)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			suite = name
		}
	}
	cached := filepath.Join(cacheDir(t), "debian-"+suite+"-minbase")
	bootstrap(t, suite, cached)
	root := filepath.Join(t.TempDir(), "root")
	out, err := exec.Command("cp", "-a", "--reflink=auto", cached, root).CombinedOutput()
	require.NoError(t, err, string(out))
	return root
}

// bootstrap makes a minimal Debian in a folder, unless it is there.
func bootstrap(t *testing.T, suite, dir string) {
	t.Helper()
	making.Lock()
	defer making.Unlock()
	if _, err := os.Stat(dir); err == nil {
		return
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "part-*")
	require.NoError(t, err)
	cmd := exec.Command(find("debootstrap"), "--variant=minbase", suite, fresh)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(fresh)
		unabletest.Skip(t, "debootstrap %s: %v\n%s", suite, err, tail(string(out), 2000))
	}
	require.NoError(t, os.Chmod(fresh, 0o755))
	require.NoError(t, os.Rename(fresh, dir))
}
