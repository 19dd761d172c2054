package atomicfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/atomicfile"
)

func TestWrite_createsAndReplaces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	require.NoError(t, atomicfile.Write(path, []byte("old"), 0o600))
	require.NoError(t, atomicfile.Write(path, []byte("new, longer"), 0o644))

	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new, longer", string(got))
	if runtime.GOOS != "windows" {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o644), info.Mode().Perm(), "the mode does not depend on the umask")
	}
	requireOnly(t, filepath.Dir(path), "state.json")
}

func TestWriteFrom_keepsTheOldFileWhenTheSourceFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	require.NoError(t, atomicfile.Write(path, []byte("old"), 0o600))

	cut := errors.New("connection cut")
	_, err := atomicfile.WriteFrom(path, io.MultiReader(strings.NewReader("half of the n"), iotest.ErrReader(cut)), 0o600)
	require.ErrorIs(t, err, cut)

	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(got))
	requireOnly(t, filepath.Dir(path), "state.json")
}

func TestWriteFrom_countsBytes(t *testing.T) {
	t.Parallel()
	n, err := atomicfile.WriteFrom(filepath.Join(t.TempDir(), "f"), strings.NewReader("12345"), 0o600)
	require.NoError(t, err)
	require.Equal(t, int64(5), n)
}

func TestWrite_refusesAMissingDirectory(t *testing.T) {
	t.Parallel()
	err := atomicfile.Write(filepath.Join(t.TempDir(), "no", "f"), nil, 0o600)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestWrite_doesNotReplaceADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "d", "sub"), 0o700))
	require.Error(t, atomicfile.Write(filepath.Join(dir, "d"), []byte("x"), 0o600))
	requireOnly(t, dir, "d")
}

func TestWrite_concurrentWritersNeverMix(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	var wg sync.WaitGroup
	for _, c := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			for range 20 {
				if err := atomicfile.Write(path, []byte(strings.Repeat(c, 10000)), 0o600); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat(string(got[:1]), 10000), string(got))
	requireOnly(t, filepath.Dir(path), "f")
}

func TestSyncDir(t *testing.T) {
	t.Parallel()
	require.NoError(t, atomicfile.SyncDir(t.TempDir()))
	if runtime.GOOS != "windows" {
		require.ErrorIs(t, atomicfile.SyncDir(filepath.Join(t.TempDir(), "no")), fs.ErrNotExist)
	}
}

func requireOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	require.Equal(t, names, got, "nothing else is left in the directory")
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "c")
	for range 2 { // may be repeated
		require.NoError(t, atomicfile.MkdirAll(path, 0o700))
		require.DirExists(t, path)
	}
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "a")))
	require.NoError(t, atomicfile.MkdirAll(path, 0o700), "and what somebody removed is made again")
	require.DirExists(t, path)

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	var pathError *os.PathError
	require.ErrorAs(t, atomicfile.MkdirAll(file, 0o700), &pathError)
	require.Error(t, atomicfile.MkdirAll(filepath.Join(file, "below"), 0o700))
}
