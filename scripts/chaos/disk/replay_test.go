//go:build unix

package disk_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/scripts/chaos/disk"
	"github.com/muster/muster/scripts/chaos/recordos"
)

// TestReplay does whatever may be done to files, recorded, and wants the best power cut to leave what the
// real file system holds: nothing is missing from the record, and it is understood.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	d := disk.New()
	var failed error
	recordos.Capture(func(op recordos.Op) {
		if err := d.Do(op); err != nil && failed == nil {
			failed = err
		}
	})
	defer recordos.Capture(nil)
	r := rand.New(rand.NewPCG(1, 2)) // chance, no secret
	path := func() string { return filepath.Join(dir, fmt.Sprintf("d%d", r.IntN(3)), fmt.Sprintf("f%d", r.IntN(4))) }
	text := func() []byte { return make([]byte, r.IntN(40)) }
	for range 2000 {
		name := path()
		switch r.IntN(9) { // what fails is not recorded, and changes nothing
		case 0, 1:
			_ = recordos.MkdirAll(filepath.Dir(name), 0o700)
		case 2:
			_ = recordos.WriteFile(name, text(), 0o600)
		case 3:
			_ = recordos.Rename(name, filepath.Join(filepath.Dir(name), fmt.Sprintf("f%d", r.IntN(4))))
		case 4:
			_ = recordos.Remove(name)
		case 5:
			if r.IntN(10) == 0 {
				require.NoError(t, recordos.RemoveAll(filepath.Dir(name)))
			}
		case 6:
			if f, err := recordos.CreateTemp(filepath.Dir(name), ".tmp*"); err == nil {
				_, err = f.Write(text())
				require.NoError(t, err)
				require.NoError(t, f.Sync())
				require.NoError(t, f.Close())
				require.NoError(t, recordos.Rename(f.Name(), name))
			}
		case 7:
			if f, err := recordos.OpenFile(name, recordos.O_RDWR|recordos.O_CREATE|[]int{0, recordos.O_APPEND, recordos.O_TRUNC}[r.IntN(3)], 0o600); err == nil {
				change(t, f, r, text)
			}
		default:
			if f, err := recordos.Open(filepath.Dir(name)); err == nil {
				require.NoError(t, f.Sync())
				require.NoError(t, f.Close())
			}
		}
		require.NoError(t, failed)
	}
	want := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		want[path], err = os.ReadFile(path)
		return err
	}))
	require.NotEmpty(t, want)
	require.Equal(t, want, d.Cut(disk.Best()).Files)

	left := d.Cut(disk.Worst())
	require.NoError(t, left.Onto(dir, dir), "and the real directory can be made what the worst one leaves")
	for path, data := range left.Files {
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, data, got)
	}
}

func change(t *testing.T, f *recordos.File, r *rand.Rand, text func() []byte) {
	t.Helper()
	for range r.IntN(5) {
		var err error
		switch r.IntN(4) {
		case 0:
			_, err = f.Write(text())
		case 1:
			err = f.Truncate(r.Int64N(50))
		case 2:
			_, err = f.Seek(r.Int64N(60), 0)
		default:
			err = f.Sync()
		}
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
}
