//go:build unix

package disk_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/scripts/chaos/disk"
	"github.com/muster/muster/scripts/chaos/recordos"
)

func open(path string, file uint64) recordos.Op {
	return recordos.Op{Kind: recordos.OpOpen, Path: path, File: file, New: true}
}

func write(file uint64, offset int64, text string) recordos.Op {
	return recordos.Op{Kind: recordos.OpWrite, File: file, Offset: offset, Data: []byte(text)}
}

func sync(file uint64) recordos.Op { return recordos.Op{Kind: recordos.OpSync, File: file} }

func syncDir(path string) recordos.Op { return recordos.Op{Kind: recordos.OpSyncDir, Path: path} }

func rename(from, to string) recordos.Op {
	return recordos.Op{Kind: recordos.OpRename, Path: from, To: to}
}

// TestCut tells for each way of writing what the worst and the best power cut leave.
func TestCut(t *testing.T) {
	t.Parallel()
	old := recordos.Op{Kind: recordos.OpBase, Path: "/d/f", Data: []byte("old")}
	for name, c := range map[string]struct {
		ops         []recordos.Op
		worst, best map[string]string
	}{
		"a file without any sync":      {[]recordos.Op{open("/d/f", 1), write(1, 0, "new")}, map[string]string{}, map[string]string{"/d/f": "new"}},
		"its content alone synced":     {[]recordos.Op{open("/d/f", 1), write(1, 0, "new"), sync(1)}, map[string]string{}, map[string]string{"/d/f": "new"}},
		"its name alone synced":        {[]recordos.Op{open("/d/f", 1), write(1, 0, "new"), syncDir("/d")}, map[string]string{"/d/f": ""}, map[string]string{"/d/f": "new"}},
		"both synced":                  {[]recordos.Op{open("/d/f", 1), write(1, 0, "new"), sync(1), syncDir("/d")}, map[string]string{"/d/f": "new"}, map[string]string{"/d/f": "new"}},
		"more after the sync":          {[]recordos.Op{open("/d/f", 1), write(1, 0, "new"), sync(1), syncDir("/d"), write(1, 3, "er")}, map[string]string{"/d/f": "new"}, map[string]string{"/d/f": "newer"}},
		"replaced":                     {[]recordos.Op{old, open("/d/t", 1), write(1, 0, "new"), sync(1), rename("/d/t", "/d/f")}, map[string]string{"/d/f": "old"}, map[string]string{"/d/f": "new"}},
		"replaced, directory synced":   {[]recordos.Op{old, open("/d/t", 1), write(1, 0, "new"), sync(1), rename("/d/t", "/d/f"), syncDir("/d")}, map[string]string{"/d/f": "new"}, map[string]string{"/d/f": "new"}},
		"replaced by an unsynced file": {[]recordos.Op{old, open("/d/t", 1), write(1, 0, "new"), rename("/d/t", "/d/f"), syncDir("/d")}, map[string]string{"/d/f": ""}, map[string]string{"/d/f": "new"}},
		"removed":                      {[]recordos.Op{old, {Kind: recordos.OpRemove, Path: "/d/f"}}, map[string]string{"/d/f": "old"}, map[string]string{}},
		"cut short":                    {[]recordos.Op{old, {Kind: recordos.OpOpen, Path: "/d/f", File: 1, Size: 3}, {Kind: recordos.OpTruncate, File: 1, Size: 1}}, map[string]string{"/d/f": "old"}, map[string]string{"/d/f": "o"}},
		"in a directory that is new":   {[]recordos.Op{{Kind: recordos.OpMkdir, Path: "/d/n"}, open("/d/n/f", 1), write(1, 0, "x"), sync(1), syncDir("/d/n")}, map[string]string{}, map[string]string{"/d/n/f": "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := disk.New()
			require.NoError(t, d.Do(c.ops...))
			for want, left := range map[*map[string]string]disk.Left{&c.worst: d.Cut(disk.Worst()), &c.best: d.Cut(disk.Best())} {
				got := map[string]string{}
				for path, data := range left.Files {
					got[path] = string(data)
				}
				require.Equal(t, *want, got)
			}
		})
	}
}

// TestCut_tears shows that every part of a torn write can be left.
func TestCut_tears(t *testing.T) {
	t.Parallel()
	d := disk.New()
	require.NoError(t, d.Do(open("/d/f", 1), write(1, 0, "ab"), sync(1), syncDir("/d"), write(1, 2, "cd")))
	seen := map[string]bool{}
	for seed := range uint64(200) {
		seen[string(d.Cut(disk.Random(rand.New(rand.NewPCG(seed, 0)))).Files["/d/f"])] = true // chance, no secret
	}
	require.Equal(t, map[string]bool{"ab": true, "abc": true, "abcd": true, "ab\x00\x00": true}, seen)
}

// TestOnto makes a real directory what a power cut left, and goes on from there.
func TestOnto(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"kept": "whole", "lost": "gone", "torn": "all of it", "other": "not recorded", "new/f": "x"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	d := disk.New()
	require.NoError(t, d.Do(
		open("/d/kept", 1), write(1, 0, "whole"), sync(1), open("/d/torn", 2), write(2, 0, "all"), sync(2), syncDir("/d"),
		open("/d/lost", 3), write(2, 3, " of it"), recordos.Op{Kind: recordos.OpMkdir, Path: "/d/new"}, open("/d/new/f", 4),
	))
	left := d.Cut(disk.Worst())
	require.NoError(t, left.Onto("/d", dir))
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		got[e.Name()] = string(data)
	}
	require.Equal(t, map[string]string{"kept": "whole", "torn": "all", "other": "not recorded"}, got)

	again := disk.New()
	require.NoError(t, again.Do(left.Base()...))
	require.Equal(t, left.Files, again.Cut(disk.Worst()).Files)
}
