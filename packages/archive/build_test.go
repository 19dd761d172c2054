package archive_test

import (
	"archive/tar"
	stdzip "archive/zip"
	"bytes"
	"compress/gzip"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tarEntry is one entry of a test archive; zero values are a regular file.
type tarEntry struct {
	name string
	body string
	typ  byte
	link string
	mode int64
}

func tarGz(t testing.TB, entries ...tarEntry) []byte {
	t.Helper()
	var buf bytes.Buffer
	gz := gzip.NewWriter(&buf)
	tw := tar.NewWriter(gz)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.typ, Linkname: e.link, Mode: e.mode, Size: int64(len(e.body)), Uid: 12, Gid: 34}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		require.NoError(t, tw.WriteHeader(h))
		_, err := tw.Write([]byte(e.body))
		require.NoError(t, err)
	}
	require.NoError(t, tw.Close())
	require.NoError(t, gz.Close())
	return buf.Bytes()
}

func zipped(t testing.TB, headers map[string]string, mutate func(*stdzip.FileHeader)) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := stdzip.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		h := &stdzip.FileHeader{Name: name, Method: stdzip.Deflate}
		h.SetMode(0o644)
		if strings.HasSuffix(name, "/") {
			h.SetMode(fs.ModeDir | 0o755)
		}
		if mutate != nil {
			mutate(h)
		}
		w, err := zw.CreateHeader(h)
		require.NoError(t, err)
		if !strings.HasSuffix(name, "/") {
			_, err = w.Write([]byte(headers[name]))
			require.NoError(t, err)
		}
	}
	require.NoError(t, zw.Close())
	return buf.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	gz := gzip.NewWriter(&buf)
	_, err := gz.Write(data)
	require.NoError(t, err)
	require.NoError(t, gz.Close())
	return buf.Bytes()
}

// freshRoot is an empty directory "inside" with a file and a folder beside it that nothing may touch.
func freshRoot(t testing.TB) (*os.Root, string) {
	t.Helper()
	outer := t.TempDir()
	require.NoError(t, os.WriteFile(outer+"/victim", []byte("untouched"), 0o600))
	require.NoError(t, os.Mkdir(outer+"/beside", 0o700))
	dir := outer + "/inside"
	require.NoError(t, os.Mkdir(dir, 0o700))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	return root, dir
}

func requireVictimUntouched(t testing.TB, dir string) {
	t.Helper()
	got, err := os.ReadFile(dir + "/../victim")
	require.NoError(t, err)
	require.Equal(t, "untouched", string(got))
	if runtime.GOOS != "windows" {
		info, err := os.Lstat(dir + "/../victim")
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode())
	}
	entries, err := os.ReadDir(dir + "/..")
	require.NoError(t, err)
	require.Len(t, entries, 3, "something was written outside")
	requireEmptyDir(t, dir+"/../beside")
}

func requireEmptyDir(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "a refused archive leaves nothing")
}
