package archive_test

import (
	"archive/tar"
	stdzip "archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/unabletest"
)

// odd is an archive that is accepted, and what it unpacks to: names, and contents of files. The name of
// a folder ends in a slash, a link's content begins with an arrow.
type odd struct {
	data []byte
	want map[string]string
}

// oddZips are honest, or not honest and harmless: then it says why.
func oddZips(t testing.TB) map[string]odd {
	good := zipOf(t, zipEntry{name: "a", body: "content"})
	nested := zipOf(t, zipEntry{name: "../victim", body: "x"})
	var raw, many bytes.Buffer
	zw := stdzip.NewWriter(&raw) // sizes in front, no data descriptor
	w, err := zw.CreateRaw(&stdzip.FileHeader{Name: "a", Method: stdzip.Store, CRC32: crc32.ChecksumIEEE([]byte("content")), CompressedSize64: 7, UncompressedSize64: 7})
	require.NoError(t, err)
	_, err = w.Write([]byte("content"))
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	zw = stdzip.NewWriter(&many)
	require.NoError(t, zw.SetComment(strings.Repeat("c", math.MaxUint16)))
	_, err = zw.Create("a")
	require.NoError(t, err)
	require.NoError(t, zw.Close())
	windows := patched(zipOf(t, zipEntry{name: `dir\sub\a.txt`, body: "x"}, zipEntry{name: `dir\empty\`}), func(b []byte) {
		for i := range 2 {
			put16(central(t, b, i)[zipCreator:], 20)
			put32(central(t, b, i)[38:], 0x20) // attributes: archive
		}
	})
	return map[string]odd{
		"stored":                                             {zipOf(t, zipEntry{name: "a", body: "content", store: true}), map[string]string{"a": "content"}},
		"deflated as a stream":                               {good, map[string]string{"a": "content"}},
		"sizes in front":                                     {raw.Bytes(), map[string]string{"a": "content"}},
		"comment of 64 KiB":                                  {many.Bytes(), map[string]string{"a": ""}},
		"empty":                                              {zipOf(t), map[string]string{}},
		"backslashes of Windows":                             {windows, map[string]string{"dir/": "", "dir/sub/": "", "dir/sub/a.txt": "x", "dir/empty/": ""}},
		"folder packed with Java":                            {patched(zipOf(t, zipEntry{name: "d/", mode: fs.ModeDir | 0o755}), func(b []byte) { put16(central(t, b, 0)[zipMethod:], 8) }), map[string]string{"d/": ""}},
		"setuid, setgid, sticky":                             {zipOf(t, zipEntry{name: "a", mode: fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky | 0o755}), map[string]string{"a": ""}},
		"zip in a zip: just bytes":                           {zipOf(t, zipEntry{name: "a.zip", body: string(nested)}), map[string]string{"a.zip": string(nested)}},
		"two: the last counts":                               {slices.Concat(good, zipOf(t, zipEntry{name: "b", body: "x"})), map[string]string{"b": "x"}},
		"local name lies: the directory counts":              {patched(good, func(b []byte) { local(t, b, 0)[zipLocalName] = '/' }), map[string]string{"a": "content"}},
		"local method lies: likewise":                        {patched(good, func(b []byte) { put16(local(t, b, 0)[zipLocalMethod:], 99) }), map[string]string{"a": "content"}},
		"no checksum: the archive has a signed digest":       {patched(raw.Bytes(), func(b []byte) { put32(central(t, b, 0)[zipCRC:], 0) }), map[string]string{"a": "content"}},
		"link to its own folder: no tool of ours follows it": {zipOf(t, zipEntry{name: "d/l", body: ".", mode: fs.ModeSymlink | 0o777}), map[string]string{"d/": "", "d/l": "→."}},
	}
}

func oddTars(t testing.TB) map[string]odd {
	body := []byte("content")
	plain := rawEntry{name: "a", body: body}
	gnu := "ustar  \x00"
	long := strings.Repeat("long name/", 15) + "f" // 151 bytes
	longTree := map[string]string{long: "content"}
	for dir := filepath.Dir(long); dir != "."; dir = filepath.Dir(dir) {
		longTree[dir+"/"] = ""
	}
	linked := maps.Clone(longTree)
	linked["l"] = "→" + long
	unsplit := bytes.Join([][]byte{plain.bytes(), rawEntry{name: "b", body: body}.bytes(), make([]byte, 1024)}, nil)
	capability := pax('x', "SCHILY.xattr.security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	hard := func(name, target string) rawEntry { return rawEntry{name: name, typ: '1', link: target} }
	return map[string]odd{
		"V7":                      {rawTar(t, rawEntry{name: "d/", magic: "-"}, rawEntry{name: "d/a", magic: "-", body: body}), map[string]string{"d/": "", "d/a": "content"}},
		"name in the prefix":      {rawTar(t, rawEntry{name: "a", prefix: "d/e", body: body}), map[string]string{"d/": "", "d/e/": "", "d/e/a": "content"}},
		"GNU long name":           {rawTar(t, gnuLong('L', long), rawEntry{name: long[:99], magic: gnu, body: body}), longTree},
		"GNU long link":           {rawTar(t, gnuLong('L', long), rawEntry{name: long[:99], magic: gnu, body: body}, gnuLong('K', long), rawEntry{name: "l", typ: '2', link: long[:99], magic: gnu}), linked},
		"PAX long name and link":  {rawTar(t, pax('x', "path", long), rawEntry{name: "a", body: body}, pax('x', "linkpath", long), rawEntry{name: "l", typ: '2', link: "x"}), linked},
		"size in base 256":        {rawTar(t, rawEntry{name: "a", magic: gnu, size: base256(7, 12), body: body}), map[string]string{"a": "content"}},
		"size in PAX":             {rawTar(t, pax('x', "size", "7"), rawEntry{name: "a", size: "00000000000", body: body}), map[string]string{"a": "content"}},
		"members of gzip":         {slices.Concat(gzipped(t, unsplit[:700]), gzipped(t, nil), gzipped(t, unsplit[700:])), map[string]string{"a": "content", "b": "content"}},
		"comment for all, by git": {rawTar(t, pax('g', "comment", "0123456789abcdef"), plain), map[string]string{"a": "content"}},
		"no end":                  {gzipped(t, plain.bytes()), map[string]string{"a": "content"}},
		"much padding":            {gzipped(t, append(plain.bytes(), make([]byte, 64<<10)...)), map[string]string{"a": "content"}},
		"sparse": {rawTar(t, pax('x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", "s", "GNU.sparse.size", "10", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "3,4"), rawEntry{name: "x", body: []byte("data")}),
			map[string]string{"s": "\x00\x00\x00data\x00\x00\x00"}},
		"links of a library": {tarGz(t, tarEntry{name: "lib/libx.so.1.2", body: "elf"}, tarEntry{name: "lib/libx.so.1", typ: '2', link: "libx.so.1.2"},
			tarEntry{name: "lib/libx.so", typ: '2', link: "./libx.so.1"}, tarEntry{name: "current", typ: '2', link: "lib/../lib"}, tarEntry{name: "dangling", typ: '2', link: "lib/made-later"}),
			map[string]string{"lib/": "", "lib/libx.so.1.2": "elf", "lib/libx.so.1": "→libx.so.1.2", "lib/libx.so": "→./libx.so.1", "current": "→lib/../lib", "dangling": "→lib/made-later"}},
		"hard links in a row":                              {rawTar(t, plain, hard("b", "a"), hard("c", "b")), map[string]string{"a": "content", "b": "content", "c": "content"}},
		"path for all: nobody reads it":                    {rawTar(t, pax('g', "path", "../victim"), plain), map[string]string{"a": "content"}},
		"name with NUL: ends there":                        {rawTar(t, rawEntry{name: "a\x00/../../victim", body: body}), map[string]string{"a": "content"}},
		"mode says directory: the type counts":             {rawTar(t, rawEntry{name: "a", mode: "0040755", body: body}), map[string]string{"a": "content"}},
		"mode says device: likewise":                       {rawTar(t, rawEntry{name: "a", mode: "0060644", body: body}), map[string]string{"a": "content"}},
		"setuid, setgid, sticky: dropped":                  {rawTar(t, rawEntry{name: "a", mode: "0007755", body: body}), map[string]string{"a": "content"}},
		"capabilities: dropped":                            {rawTar(t, capability, plain), map[string]string{"a": "content"}},
		"owner negative: none":                             {rawTar(t, rawEntry{name: "a", magic: gnu, uid: base256(-2, 8), body: body}), map[string]string{"a": "content"}},
		"time beyond all: as near as the file system gets": {rawTar(t, pax('x', "mtime", "99999999999999"), plain), map[string]string{"a": "content"}},
		"extended header alone: says nothing":              {rawTar(t, pax('x', "path", "../victim")), map[string]string{}},
	}
}

func TestOdd(t *testing.T) {
	t.Parallel()
	for format, cases := range map[string]map[string]odd{archive.TarGz: oddTars(t), archive.Zip: oddZips(t)} {
		for name, c := range cases {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				requireTree(t, c.data, format, c.want)
			})
		}
	}
}

// requireTree unpacks and compares, also with what List says.
func requireTree(t *testing.T, data []byte, format string, want map[string]string) {
	t.Helper()
	root, dir := freshRoot(t)
	seen, files, _, err := unpack(t, data, format, root)
	require.NoError(t, err)
	requireVictimUntouched(t, dir)
	got := map[string]string{}
	regular := int64(0)
	require.NoError(t, fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case d.IsDir():
			got[name+"/"] = ""
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(filepath.Join(dir, name))
			got[name] = "→" + filepath.ToSlash(target)
			return err
		}
		regular++
		info, err := d.Info()
		require.NoError(t, err)
		require.Equal(t, info.Mode().Perm(), info.Mode(), name)
		content, err := fs.ReadFile(root.FS(), name)
		got[name] = string(content)
		return err
	}))
	require.Equal(t, want, got)
	require.Equal(t, regular, files)
	listed, err := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), format, archive.DefaultLimits())
	require.NoError(t, err)
	require.ElementsMatch(t, seen, listed)
}

func TestList_ownersThatNoSystemHas(t *testing.T) {
	t.Parallel()
	for uid, want := range map[int64]int{0: 0, 1000: 1000, 3_000_000: 3_000_000, math.MaxUint32 - 1: math.MaxUint32 - 1, math.MaxUint32: -1, 1 << 32: -1, -2: -1} {
		data := rawTar(t, rawEntry{name: "a", magic: "ustar  \x00", uid: base256(uid, 8)})
		entries, err := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), archive.TarGz, archive.DefaultLimits())
		require.NoError(t, err)
		require.Equal(t, want, entries[0].UID, "uid %d", uid)
	}
}

// TestList_zip64OfManyEntries has more entries than 16 bits count. More than 4 GiB take longer: see
// TestLarge of scripts/e2e.
func TestList_zip64OfManyEntries(t *testing.T) {
	t.Parallel()
	entries := make([]zipEntry, 66_000)
	for i := range entries {
		entries[i] = zipEntry{name: fmt.Sprintf("d%d/f%d", i%100, i), store: true}
	}
	data := zipOf(t, entries...)
	require.Contains(t, string(data[len(data)-200:]), "PK\x06\x06")
	listed, err := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), archive.Zip, archive.DefaultLimits())
	require.NoError(t, err)
	require.Len(t, listed, len(entries))
	require.Equal(t, "d99/f65999", listed[len(listed)-1].Name)
}

// TestList_fileOver8GiB has a size that tar can only say in base 256. The file is one hole, so that it
// costs no disk.
func TestList_fileOver8GiB(t *testing.T) {
	t.Parallel()
	const size = 8<<30 + 1
	data := rawTar(t, rawEntry{name: "huge", typ: tar.TypeGNUSparse, magic: "ustar  \x00", size: base256(0, 12), patch: func(head []byte) { copy(head[483:], base256(size, 12)) }})
	lim := archive.DefaultLimits()
	_, err := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), archive.TarGz, lim)
	require.ErrorContains(t, err, whyRatio)
	lim.RatioFloor = size
	entries, err := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), archive.TarGz, lim)
	require.NoError(t, err)
	require.Equal(t, int64(size), entries[0].Size)
}

// TestUnpack_whatTarWrites lets the tar of this computer write each of its formats.
func TestUnpack_whatTarWrites(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tar"); err != nil || runtime.GOOS != "linux" {
		unabletest.Skip(t, "GNU tar is not here")
	}
	src := t.TempDir()
	long := strings.Repeat("a long name ", 15) + "f"
	write := func(name, content string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(src, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(src, name), []byte(content), 0o644))
	}
	write("dir/ü.txt", "text")
	write(long, "long")
	require.NoError(t, os.Symlink("dir/ü.txt", filepath.Join(src, "link")))
	require.NoError(t, os.Link(filepath.Join(src, "dir/ü.txt"), filepath.Join(src, "dir/zz hard")))
	holes, err := os.Create(filepath.Join(src, "holes"))
	require.NoError(t, err)
	content := make([]byte, 1<<20)
	for at := int64(0); at < int64(len(content)); at += 100 << 10 { // more than four pieces
		copy(content[at:], "data")
		_, err = holes.WriteAt([]byte("data"), at)
		require.NoError(t, err)
	}
	require.NoError(t, holes.Truncate(int64(len(content))))
	require.NoError(t, holes.Close())
	want := map[string]string{"dir/": "", "dir/ü.txt": "text", "dir/zz hard": "text", "link": "→dir/ü.txt", "holes": string(content)}
	formats := map[string][]string{
		"v7": nil, "ustar": nil, "gnu": {"--sparse"}, "oldgnu": {"--sparse"},
		"pax 0.0": {"--sparse", "--sparse-version=0.0"}, "pax 0.1": {"--sparse", "--sparse-version=0.1"}, "pax 1.0": {"--sparse", "--sparse-version=1.0"},
	}
	for format, more := range formats {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			tree := maps.Clone(want)
			args := append([]string{"-C", src, "-cz", "-f", "-", "--sort=name", "--format=" + strings.Fields(format)[0]}, more...)
			if len(more) > 0 { // v7 and ustar have no room for the name
				tree[long] = "long"
			} else {
				args = append(args, "--exclude="+long)
			}
			data, err := exec.Command("tar", append(args, ".")...).Output()
			require.NoError(t, err)
			requireTree(t, data, archive.TarGz, tree)
		})
	}
}
