package archive_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fault"
)

func folder(t *testing.T, stamp time.Time) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin", "setup.sh"), []byte("#!/bin/sh\n"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "readme.txt"), []byte("hi"), 0o640))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "readme.txt"), stamp, stamp))
	if runtime.GOOS != "windows" {
		require.NoError(t, os.Symlink("bin/setup.sh", filepath.Join(dir, "go")))
	}
	return dir
}

func TestPack_sameFolderSameBytes(t *testing.T) {
	t.Parallel()
	var a, b bytes.Buffer
	require.NoError(t, archive.Pack(t.Context(), &a, folder(t, time.Unix(1e9, 0)), archive.DefaultLimits()))
	require.NoError(t, archive.Pack(t.Context(), &b, folder(t, time.Unix(12e8, 0)), archive.DefaultLimits()))
	require.True(t, bytes.Equal(a.Bytes(), b.Bytes()))

	format, err := archive.Detect(bytes.NewReader(a.Bytes()), int64(a.Len()))
	require.NoError(t, err)
	require.Equal(t, archive.TarGz, format)
	root, dir := freshRoot(t)
	_, files, _, err := unpack(t, a.Bytes(), format, root)
	require.NoError(t, err)
	require.Equal(t, int64(2), files)
	if runtime.GOOS != "windows" {
		info, err := os.Stat(filepath.Join(dir, "go"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o755), info.Mode(), "the owner's right to execute is everybody's")
	}
}

func TestPack_refusesWhatDevicesWouldRefuse(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let such names be made")
	}
	dir := folder(t, time.Now())
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "out")))
	err := archive.Pack(t.Context(), &bytes.Buffer{}, dir, archive.DefaultLimits())
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	require.ErrorContains(t, err, "absolute path")

	require.True(t, fault.Is(archive.Pack(t.Context(), &bytes.Buffer{}, t.TempDir(), archive.DefaultLimits()), fault.Invalid), "empty")
	require.Error(t, archive.Pack(t.Context(), &bytes.Buffer{}, filepath.Join(dir, "missing"), archive.DefaultLimits()))
}
