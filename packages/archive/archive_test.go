package archive_test

import (
	stdzip "archive/zip"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fault"
)

func unpack(t testing.TB, data []byte, format string, root *os.Root) ([]archive.Entry, int64, int64, error) {
	t.Helper()
	return unpackLimited(t, data, format, root, archive.DefaultLimits())
}

func unpackLimited(t testing.TB, data []byte, format string, root *os.Root, lim archive.Limits) ([]archive.Entry, int64, int64, error) {
	t.Helper()
	var seen []archive.Entry
	files, n, err := archive.Unpack(t.Context(), bytes.NewReader(data), int64(len(data)), format, root, lim,
		func(e archive.Entry) { seen = append(seen, e) })
	return seen, files, n, err
}

func TestUnpack_tarGz(t *testing.T) {
	t.Parallel()
	data := tarGz(t,
		tarEntry{name: "./", typ: '5', mode: 0o755},
		tarEntry{name: "./late.link", typ: '2', link: "bin/setup"},
		tarEntry{name: "./bin/", typ: '5', mode: 0o2755},
		tarEntry{name: "./bin/setup", body: "#!/bin/sh\n", mode: 0o4755},
		tarEntry{name: "./bin/setup2", typ: '1', link: "./bin/setup"},
		tarEntry{name: "docs/ü.txt", body: "hello", mode: 0o400},
		tarEntry{name: "docs/up", typ: '2', link: "../bin"},
	)
	root, dir := freshRoot(t)
	seen, files, n, err := unpack(t, data, archive.TarGz, root)
	require.NoError(t, err)
	require.Equal(t, int64(3), files)
	require.Equal(t, int64(15), n)
	requireVictimUntouched(t, dir)

	got, err := os.ReadFile(filepath.Join(dir, "docs", "up", "setup2"))
	require.NoError(t, err, "links work")
	require.Equal(t, "#!/bin/sh\n", string(got))
	if runtime.GOOS != "windows" {
		info, err := os.Stat(filepath.Join(dir, "bin", "setup"))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o755), info.Mode(), "setuid is dropped")
		info, err = os.Stat(filepath.Join(dir, "docs", "ü.txt"))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode(), "the owner can always remove it")
	}
	names := make([]string, 0, len(seen))
	for _, e := range seen {
		names = append(names, e.Name)
		require.Equal(t, 12, e.UID)
		require.Equal(t, 34, e.GID)
		require.Zero(t, e.Mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky), e.Name)
	}
	require.Equal(t, []string{"bin", "bin/setup", "bin/setup2", "docs/ü.txt", "late.link", "docs/up"}, names, "links come last")

	listed, err := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), archive.TarGz, archive.DefaultLimits())
	require.NoError(t, err)
	require.ElementsMatch(t, seen, listed)
	require.True(t, listed[2].Executable())
	require.False(t, listed[4].Executable())
}

func TestUnpack_zip(t *testing.T) {
	t.Parallel()
	stamp := time.Date(2024, 5, 6, 7, 8, 10, 0, time.UTC)
	data := zipped(t, map[string]string{"a/": "", "a/setup.sh": "go", "b/c.txt": "text"}, func(h *stdzip.FileHeader) {
		h.Modified = stamp
		if h.Name == "a/setup.sh" {
			h.SetMode(0o755)
			h.Extra = []byte{0x75, 0x78, 11, 0, 1, 4, 0xe8, 3, 0, 0, 4, 0xe9, 3, 0, 0}
		}
	})
	root, dir := freshRoot(t)
	seen, files, n, err := unpack(t, data, archive.Zip, root)
	require.NoError(t, err)
	require.Equal(t, int64(2), files)
	require.Equal(t, int64(6), n)
	require.Len(t, seen, 3)
	require.True(t, seen[0].Dir)
	require.Equal(t, []int{1000, 1001}, []int{seen[1].UID, seen[1].GID}, "the Info-ZIP field has the owner")
	require.Equal(t, []int{-1, -1}, []int{seen[2].UID, seen[2].GID}, "no owner recorded")
	info, err := os.Stat(filepath.Join(dir, "b", "c.txt"))
	require.NoError(t, err)
	require.True(t, info.ModTime().Equal(stamp))
}

func TestList_zipFromASystemWithoutModes(t *testing.T) {
	t.Parallel()
	data := zipped(t, map[string]string{"x.exe": "MZ"}, func(h *stdzip.FileHeader) {
		h.CreatorVersion, h.ExternalAttrs = 0, 0x20
	})
	entries, err := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), archive.Zip, archive.DefaultLimits())
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o644), entries[0].Mode, "not writable by everybody")
}

func TestUnpack_wantsAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	root, dir := freshRoot(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600))
	_, _, _, err := unpack(t, tarGz(t, tarEntry{name: "a"}), archive.TarGz, root)
	require.True(t, fault.Is(err, fault.Conflict), "%v", err)
	require.False(t, archive.Refused(err))
	require.FileExists(t, filepath.Join(dir, "mine"))
}

func TestUnpack_leavesTheDiskItsRoom(t *testing.T) {
	t.Parallel()
	data := tarGz(t, tarEntry{name: "a", body: "12345"}, tarEntry{name: "h", typ: '1', link: "a"}, tarEntry{name: "b", body: "12345"})
	lim := archive.DefaultLimits()
	for room, fits := range map[int64]bool{10: true, 9: false} {
		root, dir := freshRoot(t)
		lim.Room = room
		_, _, _, err := unpackLimited(t, data, archive.TarGz, root, lim)
		if fits {
			require.NoError(t, err, "a hard link takes no room")
			continue
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.False(t, archive.Refused(err), "it is not the archive's fault")
		requireEmptyDir(t, dir)
	}
}

func TestUnpack_unknownFormat(t *testing.T) {
	t.Parallel()
	root, _ := freshRoot(t)
	_, _, _, err := unpack(t, nil, "rar", root)
	require.True(t, fault.Is(err, fault.Unsupported), "%v", err)
}

func TestUnpack_cancelled(t *testing.T) {
	t.Parallel()
	root, dir := freshRoot(t)
	data := tarGz(t, tarEntry{name: "a", body: "x"}, tarEntry{name: "b", body: "y"})
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err := archive.Unpack(ctx, bytes.NewReader(data), int64(len(data)), archive.TarGz, root, archive.DefaultLimits(),
		func(archive.Entry) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, archive.Refused(err))
	requireEmptyDir(t, dir)
}

// failing is a disk that breaks at an offset.
type failing struct {
	*bytes.Reader
	from int64
}

var errDisk = errors.New("input/output error")

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from && off < f.from+1 {
		return 0, errDisk
	}
	return f.Reader.ReadAt(p, off)
}

func TestUnpack_readErrorIsNotTheArchivesFault(t *testing.T) {
	t.Parallel()
	cases := map[string][]byte{
		archive.TarGz: tarGz(t, tarEntry{name: "a", body: "x"}),
		archive.Zip:   zipped(t, map[string]string{"a": "x"}, nil),
	}
	for format, data := range cases {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			root, dir := freshRoot(t)
			for from := range int64(len(data)) {
				_, _, err := archive.Unpack(t.Context(), failing{bytes.NewReader(data), from}, int64(len(data)), format, root, archive.DefaultLimits(), nil)
				if err == nil { // the byte was not needed
					require.NoError(t, root.RemoveAll("a"))
					continue
				}
				require.ErrorIs(t, err, errDisk)
				require.False(t, archive.Refused(err))
				requireEmptyDir(t, dir)
			}
		})
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		data []byte
		want string
	}{
		"zip":               {zipped(t, map[string]string{"a": "b"}, nil), archive.Zip},
		"empty zip":         {zipped(t, nil, nil), archive.Zip},
		"tar.gz":            {tarGz(t, tarEntry{name: "a"}), archive.TarGz},
		"gzip without tar":  {gzipped(t, []byte("just text")), ""},
		"damaged gzip":      {[]byte{0x1f, 0x8b, 9, 9, 9}, ""},
		"executable":        {[]byte("MZ\x90\x00 and so on"), ""},
		"nothing":           {nil, ""},
		"one byte":          {[]byte("P"), ""},
		"7z":                {[]byte("7z\xbc\xaf\x27\x1c"), ""},
		"endless pax chain": {gzipped(t, bytes.Repeat(paxHeader(), 20000)), ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := archive.Detect(bytes.NewReader(c.data), int64(len(c.data)))
			if c.want == "" {
				require.True(t, fault.Is(err, fault.Unsupported), "%v", err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
	_, err := archive.Detect(failing{bytes.NewReader(make([]byte, 10)), 0}, 10)
	require.ErrorIs(t, err, errDisk)
}
