package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
)

func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o600, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(files[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// Whatever a backup file holds, restoring writes below its work directory and nowhere else, no more than the
// file holds, and takes nothing that the manifest does not list with its digest.
func FuzzUnpack(f *testing.F) {
	empty := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	f.Add(tarOf(f, sqliteName, "", manifestName, `{"format":1,"database":"`+sqliteName+`","files":[{"name":"`+sqliteName+`","size":0,"sha256":"`+empty+`"}]}`))
	f.Add(tarOf(f, dataPrefix+"../../x", "y", manifestName, `{"format":1}`))
	f.Add(tarOf(f, dataPrefix+"a", "y", dataPrefix+"a/b", "z", manifestName, `{"files":null}`))
	f.Add(tarOf(f, manifestName, `{"format":2}`))
	f.Add([]byte("no tar"))
	f.Add(sparse(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		outer := t.TempDir()
		work := filepath.Join(outer, "work")
		require.NoError(t, os.Mkdir(work, 0o700))
		m, err := unpack(context.Background(), bytes.NewReader(data), work)
		var size int64
		require.NoError(t, filepath.WalkDir(outer, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			require.NoError(t, err)
			require.True(t, info.Mode().IsRegular(), path)
			require.True(t, inside(work, path), path)
			size += info.Size()
			return nil
		}))
		require.LessOrEqual(t, size, int64(len(data)), "a small file cannot fill the disk")
		if err == nil {
			require.Equal(t, format, m.Format)
			require.NotEmpty(t, m.Files)
		} else if code := fault.CodeOf(err); code != fault.Internal {
			require.Contains(t, []fault.Code{fault.Untrusted, fault.Unsupported}, code, "%v", err)
		}
	})
}

// sparse is a tar of 10 KB, made by GNU tar, whose one file has 20 MB.
func sparse(t testing.TB) []byte {
	t.Helper()
	file, err := os.Open("testdata/sparse.tar.gz")
	require.NoError(t, err)
	defer file.Close()
	gz, err := gzip.NewReader(file)
	require.NoError(t, err)
	data, err := io.ReadAll(gz)
	require.NoError(t, err)
	return data
}

func TestUnpack_refusesWhatWouldFillTheDisk(t *testing.T) {
	t.Parallel()
	_, err := unpack(context.Background(), bytes.NewReader(sparse(t)), t.TempDir())
	require.Equal(t, fault.Untrusted, fault.CodeOf(err))
	require.ErrorContains(t, err, "sparse")
}

func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
