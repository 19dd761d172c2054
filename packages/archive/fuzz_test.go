package archive_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/archive"
)

// small keeps fuzzing fast.
func small() archive.Limits {
	return archive.Limits{Entries: 100, Bytes: 1 << 20, FileBytes: 1 << 20, Ratio: 100, RatioFloor: 1 << 18}
}

func seed(f *testing.F) {
	add := func(data []byte) {
		if len(data) < 64<<10 {
			f.Add(data)
		}
	}
	for _, c := range hostileTars(f) {
		add(c.data)
	}
	for _, c := range hostileZips(f) {
		add(c.data)
	}
	add(tarGz(f, tarEntry{name: "a/b", body: "c"}, tarEntry{name: "l", typ: '2', link: "a/b"}))
	add(zipped(f, map[string]string{"a/": "", "a/b": "c"}, nil))
}

// FuzzUnpack also compares: what one of List and Unpack refuses, the other refuses for the same reason.
func FuzzUnpack(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range []string{archive.Zip, archive.TarGz} {
			requireSameVerdict(t, data, format, "")
		}
	})
}

// requireLinksInside lets the operating system resolve every link.
func requireLinksInside(t *testing.T, dir string) {
	t.Helper()
	real, err := filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		end, err := filepath.EvalSymlinks(p)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return nil // a file in the middle of a path: leads nowhere
		}
		require.True(t, end == real || strings.HasPrefix(end, real+string(filepath.Separator)), "%s leads to %s", p, end)
		return nil
	}))
}

func FuzzList(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = archive.Detect(bytes.NewReader(data), int64(len(data)))
		for _, format := range []string{archive.Zip, archive.TarGz} {
			entries, err := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), format, small())
			if err != nil {
				require.True(t, archive.Refused(err), "%v", err)
				continue
			}
			for _, e := range entries {
				require.True(t, fs.ValidPath(e.Name) && filepath.IsLocal(e.Name), "%q", e.Name)
			}
		}
	})
}
