package archive_test

import (
	"archive/tar"
	stdzip "archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fault"
)

// paxHeader is an extended header that says nothing; any number may precede an entry.
func paxHeader() []byte {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	_ = tw.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{"MUSTER.x": "y"}})
	return buf.Bytes()[:1024] // without the entry itself
}

func hostileTars(t testing.TB) map[string][]byte {
	ok := tarEntry{name: "first.txt", body: "harmless"}
	one := func(e ...tarEntry) []byte { return tarGz(t, append([]tarEntry{ok}, e...)...) }
	sym := func(name, target string) tarEntry { return tarEntry{name: name, typ: '2', link: target} }
	cases := map[string][]byte{
		"dotdot":                     one(tarEntry{name: "../victim", body: "x"}),
		"dotdot inside":              one(tarEntry{name: "a/../../victim", body: "x"}),
		"absolute":                   one(tarEntry{name: "/tmp/victim", body: "x"}),
		"double slash":               one(tarEntry{name: "a//b", body: "x"}),
		"backslash":                  one(tarEntry{name: `..\victim`, body: "x"}),
		"drive letter":               one(tarEntry{name: "C:/victim", body: "x"}),
		"alternate data stream":      one(tarEntry{name: "a:b", body: "x"}),
		"newline in name":            one(tarEntry{name: "a\nb", body: "x"}),
		"not UTF-8":                  one(tarEntry{name: "a\xff", body: "x"}),
		"reserved":                   one(tarEntry{name: "a/nul.txt", body: "x"}),
		"reserved port":              one(tarEntry{name: "COM1", body: "x"}),
		"reserved superscript port":  one(tarEntry{name: "lpt².log", body: "x"}),
		"trailing dot":               one(tarEntry{name: "setup.exe.", body: "x"}),
		"trailing space":             one(tarEntry{name: "dir /x", body: "x"}),
		"too deep":                   one(tarEntry{name: strings.Repeat("d/", 100) + "f", body: "x"}),
		"too long":                   one(tarEntry{name: strings.Repeat("n", 256), body: "x"}),
		"case collision":             one(tarEntry{name: "a", body: "x"}, tarEntry{name: "A", body: "y"}),
		"case collision of parents":  one(tarEntry{name: "dir/a", body: "x"}, tarEntry{name: "DIR/b", body: "y"}),
		"case collision, long s":     one(tarEntry{name: "s", body: "x"}, tarEntry{name: "ſ", body: "y"}),
		"Unicode form collision":     one(tarEntry{name: "\u00e9", body: "x"}, tarEntry{name: "e\u0301", body: "y"}),
		"twice":                      one(tarEntry{name: "a", body: "x"}, tarEntry{name: "a", body: "y"}),
		"file becomes directory":     one(tarEntry{name: "a", body: "x"}, tarEntry{name: "a/b", body: "y"}),
		"directory becomes file":     one(tarEntry{name: "a/b", body: "x"}, tarEntry{name: "a", body: "y"}),
		"link out":                   one(sym("l", "../victim")),
		"link absolute":              one(sym("l", "/etc/passwd")),
		"link to drive":              one(sym("l", "C:/Windows")),
		"link with backslash":        one(sym("l", `..\victim`)),
		"link to nothing":            one(sym("l", "")),
		"link then write":            one(sym("l", "d"), tarEntry{name: "l/victim", body: "x"}),
		"link over written":          one(tarEntry{name: "l/x", body: "x"}, sym("l", "..")),
		"chain":                      one(tarEntry{name: "d/e/", typ: '5'}, sym("d/e/up", "../.."), sym("out", "d/e/up/../victim")),
		"chain in reverse order":     one(sym("out", "d/e/up/../victim"), tarEntry{name: "d/e/", typ: '5'}, sym("d/e/up", "../..")),
		"chain by case":              one(sym("d/up", ".."), sym("out", "D/UP/../victim")),
		"lexically inside":           one(tarEntry{name: "a/b/c/", typ: '5'}, sym("s", "a"), sym("out", "s/../../victim")),
		"shallow alias":              one(tarEntry{name: "a/b/c/", typ: '5'}, sym("a/b/s", "../.."), sym("out", "a/b/s/../victim")),
		"circle":                     one(sym("a", "b"), sym("b", "a")),
		"self":                       one(sym("a", "a")),
		"hard link out":              one(tarEntry{name: "h", typ: '1', link: "../victim"}),
		"hard link absolute":         one(tarEntry{name: "h", typ: '1', link: "/etc/shadow"}),
		"hard link to later":         one(tarEntry{name: "h", typ: '1', link: "later"}, tarEntry{name: "later", body: "x"}),
		"hard link to symbolic link": one(sym("s", "first.txt"), tarEntry{name: "h", typ: '1', link: "s"}),
		"hard link to directory":     one(tarEntry{name: "d/", typ: '5'}, tarEntry{name: "h", typ: '1', link: "d"}),
		"character device":           one(tarEntry{name: "null", typ: '3'}),
		"block device":               one(tarEntry{name: "sda", typ: '4'}),
		"pipe":                       one(tarEntry{name: "fifo", typ: '6'}),
		"root is a file":             one(tarEntry{name: "./", typ: '2', link: "x"}),
		"bomb":                       one(tarEntry{name: "zeros", body: strings.Repeat("\x00", 80<<20)}),
		"bomb of headers":            gzipped(t, bytes.Repeat(paxHeader(), 80<<10)),
		"garbage":                    []byte("this is not an archive"),
		"empty":                      {},
		"data behind the end":        gzipped(t, append(make([]byte, 1024), "hidden"...)),
	}
	good := one(tarEntry{name: "a", body: strings.Repeat("text", 1000)})
	cases["cut short"] = good[:len(good)-12]
	cases["wrong checksum"] = append(bytes.Clone(good[:len(good)-8]), 1, 2, 3, 4, 5, 6, 7, 8)
	cases["trailing garbage"] = append(bytes.Clone(good), "garbage"...)
	return cases
}

func hostileZips(t testing.TB) map[string][]byte {
	one := func(name string, mutate func(*stdzip.FileHeader)) []byte {
		return zipped(t, map[string]string{"!first": "harmless", name: "content"}, func(h *stdzip.FileHeader) {
			if mutate != nil && h.Name == name {
				mutate(h)
			}
		})
	}
	mode := func(m fs.FileMode) func(*stdzip.FileHeader) {
		return func(h *stdzip.FileHeader) { h.SetMode(m) }
	}
	good := one("a", nil)
	patch := func(sig string, at int, with ...byte) []byte {
		b := bytes.Clone(good)
		i := bytes.LastIndex(b, []byte(sig))
		copy(b[i+at:], with)
		return b
	}
	link := func(target string) []byte {
		return zipped(t, map[string]string{"l": target}, mode(fs.ModeSymlink|0o777))
	}
	cases := map[string][]byte{
		"dotdot":            one("../victim", nil),
		"absolute":          one("/victim", nil),
		"backslash":         one(`a\..\..\victim`, nil),
		"drive letter":      one("C:victim", nil),
		"NUL":               one("a\x00b", nil),
		"not UTF-8":         one("\xff", nil),
		"device":            one("d", mode(fs.ModeDevice|0o600)),
		"pipe":              one("d", mode(fs.ModeNamedPipe|0o600)),
		"socket":            one("d", mode(fs.ModeSocket|0o600)),
		"case collision":    one("!FIRST", nil),
		"link out":          link("../victim"),
		"link absolute":     link("/etc/passwd"),
		"link as a folder":  zipped(t, map[string]string{"l/": ""}, mode(fs.ModeSymlink|0o777)),
		"encrypted":         patch("PK\x01\x02", 8, 0x01),
		"bzip2":             patch("PK\x01\x02", 10, 12),
		"unknown method":    patch("PK\x01\x02", 10, 77),
		"wrong checksum":    patch("PK\x01\x02", 16, 1, 2, 3, 4),
		"larger than said":  patch("PK\x01\x02", 24, 1, 0, 0, 0),
		"smaller than said": patch("PK\x01\x02", 24, 200, 0, 0, 0),
		"cut short":         good[:len(good)-30],
		"front cut off":     append([]byte("PK\x03\x04"), good[len(good)-22:]...),
		"millions declared": zip64Declaring(1 << 40),
		"bomb":              zipped(t, map[string]string{"zeros": strings.Repeat("\x00", 80<<20)}, nil),
		"garbage":           []byte("this is not an archive"),
		"empty":             {},
	}
	// A link whose content a decompressor would have to be found for, before anybody asks.
	bz := link("x")
	i := bytes.LastIndex(bz, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint16(bz[i+10:], 95)
	cases["link compressed with xz"] = bz
	return cases
}

// zip64Declaring is a zip whose directory announces n entries.
func zip64Declaring(n uint64) []byte {
	b := []byte("PK\x06\x06")
	b = binary.LittleEndian.AppendUint64(b, 44)
	b = append(b, make([]byte, 12)...)
	b = binary.LittleEndian.AppendUint64(b, n)
	b = binary.LittleEndian.AppendUint64(b, n)
	b = append(b, make([]byte, 16)...)
	b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
	b = append(b, make([]byte, 8)...)
	b = append(b, 1, 0, 0, 0)
	b = append(b, "PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff"...)
	return append(b, "\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
}

func TestUnpack_refusesHostileArchivesAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for format, cases := range map[string]map[string][]byte{archive.TarGz: hostileTars(t), archive.Zip: hostileZips(t)} {
		for name, data := range cases {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				root, dir := freshRoot(t)
				_, _, _, err := unpack(t, data, format, root)
				require.Error(t, err)
				require.True(t, archive.Refused(err), "%v", err)
				require.True(t, fault.Is(err, fault.Untrusted), "%v", err)
				require.Contains(t, err.Error(), "the archive is refused: ")
				requireEmptyDir(t, dir)
				requireVictimUntouched(t, dir)
			})
		}
	}
}

// contentOnly are the cases that only reading a zip's contents can show.
var contentOnly = map[string]bool{
	"zip/wrong checksum": true, "zip/larger than said": true, "zip/smaller than said": true,
}

func TestList_refusesWhatUnpackRefuses(t *testing.T) {
	t.Parallel()
	for format, cases := range map[string]map[string][]byte{archive.TarGz: hostileTars(t), archive.Zip: hostileZips(t)} {
		for name, data := range cases {
			if contentOnly[format+"/"+name] {
				continue
			}
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				_, err := archive.List(t.Context(), bytes.NewReader(data), int64(len(data)), format, archive.DefaultLimits())
				require.True(t, archive.Refused(err), "%v", err)
			})
		}
	}
}

func TestUnpack_limits(t *testing.T) {
	t.Parallel()
	loose := archive.DefaultLimits()
	many := make([]tarEntry, 50)
	for i := range many {
		many[i] = tarEntry{name: fmt.Sprintf("d%d/f", i), body: "12345"}
	}
	data := tarGz(t, many...)
	cases := map[string]struct {
		change func(*archive.Limits)
		ok     bool
	}{
		"just enough entries":           {func(l *archive.Limits) { l.Entries = 100 }, true},
		"implied directories count":     {func(l *archive.Limits) { l.Entries = 99 }, false},
		"just enough bytes":             {func(l *archive.Limits) { l.Bytes = 250 }, true},
		"too many bytes":                {func(l *archive.Limits) { l.Bytes = 249 }, false},
		"file too large":                {func(l *archive.Limits) { l.FileBytes = 4 }, false},
		"ratio":                         {func(l *archive.Limits) { l.RatioFloor, l.Ratio = 0, 1 }, false},
		"ratio does not apply to small": {func(l *archive.Limits) { l.Ratio = 1 }, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lim := loose
			c.change(&lim)
			root, dir := freshRoot(t)
			_, _, err := archive.Unpack(t.Context(), bytes.NewReader(data), int64(len(data)), archive.TarGz, root, lim, nil)
			if c.ok {
				require.NoError(t, err)
				return
			}
			require.True(t, archive.Refused(err), "%v", err)
			requireEmptyDir(t, dir)
		})
	}
}

func TestUnpack_acceptsOrdinaryLinks(t *testing.T) {
	t.Parallel()
	data := tarGz(t,
		tarEntry{name: "lib/libx.so.1.2", body: "elf"},
		tarEntry{name: "lib/libx.so.1", typ: '2', link: "libx.so.1.2"},
		tarEntry{name: "lib/libx.so", typ: '2', link: "./libx.so.1"},
		tarEntry{name: "current", typ: '2', link: "lib/../lib"},
		tarEntry{name: "dangling", typ: '2', link: "lib/made-by-the-installer"},
	)
	root, dir := freshRoot(t)
	_, _, _, err := unpack(t, data, archive.TarGz, root)
	require.NoError(t, err)
	require.FileExists(t, dir+"/current/libx.so")
}
