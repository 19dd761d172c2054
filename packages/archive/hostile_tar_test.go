package archive_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// hostile is an archive and a part of the reason that it must be refused for.
type hostile struct {
	data []byte
	why  string
}

// Reasons of many cases.
const (
	whyPath      = `has an empty, "." or ".." element`
	whyAbsolute  = "has an absolute path"
	whyBackslash = "has a backslash or colon in its name"
	whyControl   = "has a control character in its name"
	whyReserved  = "has a name that Windows reserves"
	whyTrailing  = "has an element that ends in a dot or space"
	whyCase      = "are the same file on systems that ignore case"
	whyTwice     = "occurs twice or lies below a file or link"
	whyOut       = "is a link that leads out of the archive or in circles"
	whyHard      = "which is no earlier file of the archive"
	whySpecial   = "is a device, pipe or another special file"
	whyRatio     = "unpacks to more than 200 times its size"
	whyDamaged   = "it is damaged"
	whyBehind    = "there is data behind its end"
	whyLarger    = "is larger than"
)

// paxHeader is an extended header that says nothing; any number may precede an entry.
func paxHeader() []byte {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	_ = tw.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{"MUSTER.x": "y"}})
	return buf.Bytes()[:1024] // without the entry itself
}

// noise does not compress.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte("noise"))).Read(b) // it never fails
	return string(b)
}

// The corpora are made once: some of their archives take a while.
var (
	hostileTarsOnce, hostileZipsOnce sync.Once
	hostileTarsMade, hostileZipsMade = map[string]hostile{}, map[string]hostile{}
)

func hostileTars(t testing.TB) map[string]hostile {
	hostileTarsOnce.Do(func() { makeHostileTars(t, hostileTarsMade) })
	return hostileTarsMade
}

func makeHostileTars(t testing.TB, cases map[string]hostile) {
	for _, more := range []map[string]hostile{tarNames(t), tarLinks(t), tarKinds(t), tarBombs(t), tarLies(t), tarDamage(t)} {
		for name, c := range more {
			require.NotContains(t, cases, name)
			cases[name] = c
		}
	}
}

// beside puts entries behind a harmless one, which must not stay either.
func beside(t testing.TB, e ...tarEntry) []byte {
	return tarGz(t, append([]tarEntry{{name: "first.txt", body: "harmless"}}, e...)...)
}

func tarNames(t testing.TB) map[string]hostile {
	named := func(names ...string) []byte {
		entries := make([]tarEntry, 0, len(names))
		for _, name := range names {
			entries = append(entries, tarEntry{name: name, body: "x"})
		}
		return beside(t, entries...)
	}
	cases := map[string]hostile{
		"dotdot":                    {named("../victim"), whyPath},
		"dotdot inside":             {named("a/../../victim"), whyPath},
		"dotdot alone":              {beside(t, tarEntry{name: "..", typ: '5'}), whyPath},
		"dotdot behind dots":        {named("././../victim"), whyPath},
		"dot inside":                {named("a/./b"), whyPath},
		"double slash":              {named("a//b"), whyPath},
		"absolute":                  {named("/tmp/victim"), whyAbsolute},
		"root":                      {beside(t, tarEntry{name: "/", typ: '5'}), "has no name"},
		"UNC":                       {named("//server/share/victim"), whyAbsolute},
		"UNC with backslashes":      {named(`\\server\share\victim`), whyBackslash},
		"device path":               {named(`\\?\C:\victim`), whyBackslash},
		"backslash":                 {named(`..\victim`), whyBackslash},
		"drive letter":              {named("C:/victim"), whyBackslash},
		"drive letter, relative":    {named("C:victim"), whyBackslash},
		"alternate data stream":     {named("a:b"), whyBackslash},
		"newline in name":           {named("a\nb"), whyControl},
		"escape in name":            {named("a\x1b[2Jb"), whyControl},
		"NUL in extended name":      {rawTar(t, pax('x', "path", "a\x00b"), rawEntry{name: "a", body: []byte("x")}), whyDamaged},
		"not UTF-8":                 {named("a\xff"), "has a name that is not UTF-8"},
		"reserved":                  {named("a/nul.txt"), whyReserved},
		"reserved folder":           {named("AUX/a"), whyReserved},
		"reserved, two extensions":  {named("con.tar.gz"), whyReserved},
		"reserved, space":           {named("prn .txt"), whyReserved},
		"reserved console":          {named("conin$"), whyReserved},
		"reserved port":             {named("COM1"), whyReserved},
		"reserved superscript port": {named("lpt².log"), whyReserved},
		"trailing dot":              {named("setup.exe."), whyTrailing},
		"trailing dots":             {named("a.../b"), whyTrailing},
		"trailing space":            {named("dir /x"), whyTrailing},
		"too deep":                  {named(strings.Repeat("d/", 100) + "f"), "is nested deeper than 64 directories"},
		"element too long":          {named(strings.Repeat("n", 256)), "has an element of more than 255 bytes"},
		"too long":                  {named(strings.Repeat(strings.Repeat("n", 200)+"/", 20) + strings.Repeat("n", 100)), "has a name of more than 4096 bytes"},
		"twice":                     {named("a", "a"), whyTwice},
		"file becomes directory":    {named("a", "a/b"), whyTwice},
		"directory becomes file":    {named("a/b", "a"), whyTwice},
		"file named as a directory": {rawTar(t, rawEntry{name: "a/", body: []byte("x")}), "is named as a directory but is none"},
	}
	for what, pair := range map[string][2]string{
		"": {"a", "A"}, " of parents": {"dir/a", "DIR/b"}, ", long s": {"s", "ſ"}, ", Kelvin": {"k", "\u212a"},
		", sigma": {"σ", "ς"}, ", Å": {"\u00c5", "\u212b"}, ", accents": {"É", "e\u0301"},
	} {
		cases["case collision"+what] = hostile{named(pair[0], pair[1]), whyCase}
	}
	cases["Unicode form collision"] = hostile{named("\u00e9", "e\u0301"), whyCase}
	cases["Unicode form collision, Hangul"] = hostile{named("\uac00", "\u1100\u1161"), whyCase}
	return cases
}

func tarLinks(t testing.TB) map[string]hostile {
	sym := func(name, target string) tarEntry { return tarEntry{name: name, typ: '2', link: target} }
	hard := func(name, target string) tarEntry { return tarEntry{name: name, typ: '1', link: target} }
	dir := func(name string) tarEntry { return tarEntry{name: name, typ: '5'} }
	file := func(name string) tarEntry { return tarEntry{name: name, body: "x"} }
	chain := make([]tarEntry, 0, 60)
	for i := range 60 {
		chain = append(chain, sym(fmt.Sprintf("l%d", i), fmt.Sprintf("l%d", i+1)))
	}
	return map[string]hostile{
		"link out":                  {beside(t, sym("l", "../victim")), whyOut},
		"link to the parent":        {beside(t, sym("l", "..")), whyOut},
		"link absolute":             {beside(t, sym("l", "/etc/passwd")), "is a link to an absolute path"},
		"link to drive":             {beside(t, sym("l", "C:/Windows")), "is a link with a backslash or colon"},
		"link with backslash":       {beside(t, sym("l", `..\victim`)), "is a link with a backslash or colon"},
		"link to nothing":           {beside(t, sym("l", "")), "is a link to nothing"},
		"link too long":             {beside(t, sym("l", strings.Repeat("d/", 2049))), "is a link with a target of more than 4096 bytes"},
		"link not UTF-8":            {beside(t, sym("l", "a\xff")), "is a link whose target is not clean UTF-8"},
		"link with a control":       {beside(t, sym("l", "a\nb")), "is a link whose target is not clean UTF-8"},
		"link named as a folder":    {beside(t, sym("l/", "first.txt")), "is named as a directory but is none"},
		"link then write":           {beside(t, sym("l", "d"), file("l/victim")), whyTwice},
		"link then write over":      {beside(t, sym("l", "../victim"), file("l")), whyTwice},
		"link then directory":       {beside(t, sym("l", "d"), dir("l")), whyTwice},
		"link over written":         {beside(t, file("l/x"), sym("l", "..")), whyTwice},
		"chain":                     {beside(t, dir("d/e/"), sym("d/e/up", "../.."), sym("out", "d/e/up/../victim")), whyOut},
		"chain in reverse order":    {beside(t, sym("out", "d/e/up/../victim"), dir("d/e/"), sym("d/e/up", "../..")), whyOut},
		"chain by case":             {beside(t, sym("d/up", ".."), sym("out", "D/UP/../victim")), whyOut},
		"chain too long":            {beside(t, chain...), whyOut},
		"lexically inside":          {beside(t, dir("a/b/c/"), sym("s", "a"), sym("out", "s/../../victim")), whyOut},
		"shallow alias":             {beside(t, dir("a/b/c/"), sym("a/b/s", "../.."), sym("out", "a/b/s/../victim")), whyOut},
		"through what is not there": {beside(t, sym("out", "missing/../../victim")), whyOut},
		"circle":                    {beside(t, sym("a", "b"), sym("b", "a")), whyOut},
		"self":                      {beside(t, sym("a", "a")), whyOut},
		"growing circle":            {beside(t, sym("a", "a/a/a")), whyOut},
		"hard link out":             {beside(t, hard("h", "../victim")), whyPath},
		"hard link absolute":        {beside(t, hard("h", "/etc/shadow")), whyAbsolute},
		"hard link to later":        {beside(t, hard("h", "later"), file("later")), whyHard},
		"hard link to never":        {beside(t, hard("h", "never")), whyHard},
		"hard link to itself":       {beside(t, hard("h", "h")), whyHard},
		"hard link by case":         {beside(t, hard("h", "FIRST.TXT")), whyHard},
		"hard link to symbolic":     {beside(t, sym("s", "first.txt"), hard("h", "s")), whyHard},
		"hard link through link":    {beside(t, file("d/f"), sym("s", "d"), hard("h", "s/f")), whyHard},
		"hard link to directory":    {beside(t, dir("d/"), hard("h", "d")), whyHard},
		"hard link twice":           {beside(t, hard("h", "first.txt"), hard("h", "first.txt")), whyTwice},
	}
}

func tarKinds(t testing.TB) map[string]hostile {
	cases := map[string]hostile{
		"root is a file": {beside(t, tarEntry{name: "./", typ: '2', link: "x"}), "is named as a directory but is none"},
		"dot is a link":  {beside(t, tarEntry{name: "./.", typ: '2', link: "x"}), "is not a directory"},
	}
	for what, typ := range map[string]byte{
		"character device": '3', "block device": '4', "pipe": '6', "contiguous file": '7', "GNU directory": 'D',
		"GNU continued": 'M', "GNU volume": 'V', "Solaris ACL": 'A', "unknown type": 'Z',
	} {
		cases[what] = hostile{rawTar(t, rawEntry{name: "a", typ: typ}), whySpecial}
	}
	return cases
}

func tarBombs(t testing.TB) map[string]hostile {
	links := []tarEntry{{name: "big", body: noise(1 << 20)}}
	for i := range 300 {
		links = append(links, tarEntry{name: fmt.Sprintf("h%d", i), typ: '1', link: "big"})
	}
	sparse := func(size string) []byte {
		return rawTar(t, pax('x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", "holes", "GNU.sparse.size", size, "GNU.sparse.numblocks", "0", "GNU.sparse.map", ""),
			rawEntry{name: "holes"})
	}
	return map[string]hostile{
		"bomb":                {slices.Concat(gzipped(t, rawEntry{name: "zeros", size: fmt.Sprintf("%011o", 80<<20)}.bytes()), bytes.Repeat(gzipped(t, make([]byte, 1<<20)), 80), gzipped(t, make([]byte, 1024))), whyRatio},
		"bomb of hard links":  {tarGz(t, links...), whyRatio},
		"sparse bomb":         {sparse("1073741824"), whyRatio},
		"sparse, larger":      {sparse("1099511627776"), whyLarger},
		"sparse, overflowing": {sparse("9223372036854775807"), whyLarger},
		"sparse, negative":    {sparse("-1"), whyDamaged},
		"said to be 8 GiB":    {rawTar(t, rawEntry{name: "a", size: base256(9<<30, 12), body: []byte("x")}), whyRatio},
		"said to be 8 EiB":    {rawTar(t, rawEntry{name: "a", size: base256(1<<62, 12), body: []byte("x")}), whyLarger},
	}
}

func tarLies(t testing.TB) map[string]hostile {
	body := []byte("x")
	return map[string]hostile{
		"extended path":            {rawTar(t, pax('x', "path", "../victim"), rawEntry{name: "honest", body: body}), whyPath},
		"extended link target":     {rawTar(t, pax('x', "linkpath", "../victim"), rawEntry{name: "l", typ: '2', link: "honest"}), whyOut},
		"extended hard link":       {rawTar(t, rawEntry{name: "honest", body: body}, pax('x', "linkpath", "../victim"), rawEntry{name: "l", typ: '1', link: "honest"}), whyPath},
		"extended size, less":      {rawTar(t, pax('x', "size", "0"), rawEntry{name: "a", body: bytes.Repeat(body, 600)}), whyDamaged},
		"extended size, more":      {rawTar(t, pax('x', "size", "60000"), rawEntry{name: "a", body: body}), whyDamaged},
		"extended size, negative":  {rawTar(t, pax('x', "size", "-1"), rawEntry{name: "a", body: body}), whyDamaged},
		"extended size, no number": {rawTar(t, pax('x', "size", "1x"), rawEntry{name: "a", body: body}), whyDamaged},
		"extended record, length":  {rawTar(t, rawEntry{name: "p", typ: 'x', body: []byte("999 path=a\n")}, rawEntry{name: "a"}), whyDamaged},
		"extended header, 2 MiB":   {rawTar(t, pax('x', "path", strings.Repeat("a", 2<<20)), rawEntry{name: "a"}), whyDamaged},
		"long name":                {rawTar(t, gnuLong('L', "../victim"), rawEntry{name: "honest", magic: "ustar  \x00", body: body}), whyPath},
		"long link target":         {rawTar(t, gnuLong('K', "../victim"), rawEntry{name: "l", typ: '2', link: "honest", magic: "ustar  \x00"}), whyOut},
		"long name, 2 MiB":         {rawTar(t, gnuLong('L', strings.Repeat("a", 2<<20)), rawEntry{name: "a", magic: "ustar  \x00"}), whyDamaged},
		"prefix":                   {rawTar(t, rawEntry{name: "victim", prefix: "..", body: body}), whyPath},
		"sparse name":              {rawTar(t, pax('x', "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "../victim", "GNU.sparse.realsize", "0"), rawEntry{name: "honest", body: append([]byte("0\n"), make([]byte, 510)...)}), whyPath},
		"sparse map, overlapping":  {rawTar(t, pax('x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", "s", "GNU.sparse.size", "10", "GNU.sparse.numblocks", "2", "GNU.sparse.map", "0,5,2,5"), rawEntry{name: "s", body: bytes.Repeat(body, 10)}), whyDamaged},
		"sparse map, beyond":       {rawTar(t, pax('x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", "s", "GNU.sparse.size", "10", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "8,5"), rawEntry{name: "s", body: bytes.Repeat(body, 5)}), whyDamaged},
		"sparse map, count":        {rawTar(t, pax('x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", "s", "GNU.sparse.size", "10", "GNU.sparse.numblocks", "9999999999", "GNU.sparse.map", "0,5"), rawEntry{name: "s", body: bytes.Repeat(body, 5)}), whyDamaged},
		"size, more":               {rawTar(t, rawEntry{name: "a", size: "00000060000", body: body}), whyDamaged},
		"size, less":               {rawTar(t, rawEntry{name: "a", size: "00000000001", body: bytes.Repeat([]byte("y"), 600)}), whyDamaged},
		"size, negative":           {rawTar(t, rawEntry{name: "a", size: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", body: body}), whyDamaged},
		"size, overflowing":        {rawTar(t, rawEntry{name: "a", size: "\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", body: body}), whyDamaged},
		"size, no number":          {rawTar(t, rawEntry{name: "a", size: "0000000000z", body: body}), whyDamaged},
		"checksum of a header":     {rawTar(t, rawEntry{name: "a", sum: "000001\x00 ", body: body}), whyDamaged},
	}
}

func tarDamage(t testing.TB) map[string]hostile {
	good := beside(t, tarEntry{name: "a", body: strings.Repeat("text", 1000)})
	return map[string]hostile{
		"garbage":             {[]byte("this is not an archive"), whyDamaged},
		"empty":               {nil, whyDamaged},
		"data behind the end": {gzipped(t, append(make([]byte, 1024), "hidden"...)), whyBehind},
		"second archive":      {slices.Concat(good, beside(t, tarEntry{name: "b", body: "x"})), whyBehind},
		"cut short":           {good[:len(good)-12], whyDamaged},
		"wrong checksum":      {slices.Concat(good[:len(good)-8], []byte{1, 2, 3, 4, 5, 6, 7, 8}), whyDamaged},
		"trailing garbage":    {slices.Concat(good, []byte("garbage")), whyDamaged},
	}
}
