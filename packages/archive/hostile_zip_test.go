package archive_test

import (
	stdzip "archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func hostileZips(t testing.TB) map[string]hostile {
	hostileZipsOnce.Do(func() { makeHostileZips(t, hostileZipsMade) })
	return hostileZipsMade
}

func makeHostileZips(t testing.TB, cases map[string]hostile) {
	for _, more := range []map[string]hostile{zipNames(t), zipLinks(t), zipKinds(t), zipBombs(t), zipLies(t), zipDamage(t)} {
		for name, c := range more {
			require.NotContains(t, cases, name)
			cases[name] = c
		}
	}
}

// besideZip puts entries behind a harmless one, which must not stay either.
func besideZip(t testing.TB, e ...zipEntry) []byte {
	return zipOf(t, append([]zipEntry{{name: "first.txt", body: "harmless"}}, e...)...)
}

func zipNames(t testing.TB) map[string]hostile {
	named := func(names ...string) []byte {
		entries := make([]zipEntry, 0, len(names))
		for _, name := range names {
			e := zipEntry{name: name}
			if !strings.HasSuffix(name, "/") {
				e.body = "x"
			}
			entries = append(entries, e)
		}
		return besideZip(t, entries...)
	}
	windows := func(name string) []byte {
		return patched(named(name), func(b []byte) { put16(central(t, b, 1)[zipCreator:], 20) })
	}
	return map[string]hostile{
		"Windows, dotdot":        {windows(`a\..\..\victim`), whyPath},
		"Windows, absolute":      {windows(`\victim`), whyAbsolute},
		"Windows, UNC":           {windows(`\\server\share\victim`), whyAbsolute},
		"Windows, drive":         {windows(`C:\victim`), whyBackslash},
		"Windows, mixed":         {windows(`a/..\..\victim`), whyBackslash},
		"dotdot":                 {named("../victim"), whyPath},
		"dotdot inside":          {named("a/../../victim"), whyPath},
		"dotdot directory":       {named("../"), whyPath},
		"absolute":               {named("/victim"), whyAbsolute},
		"UNC":                    {named("//server/share/victim"), whyAbsolute},
		"UNC with backslashes":   {named(`\\server\share\victim`), whyBackslash},
		"backslash":              {named(`a\..\..\victim`), whyBackslash},
		"drive letter":           {named("C:victim"), whyBackslash},
		"alternate data stream":  {named("a.txt:hidden"), whyBackslash},
		"no name":                {named(""), "has no name"},
		"NUL":                    {named("a\x00b"), whyControl},
		"NUL behind a good name": {named("a.txt\x00../victim"), whyControl},
		"not UTF-8":              {named("\xff"), "has a name that is not UTF-8"},
		"reserved":               {named("nul"), whyReserved},
		"reserved port":          {named("com¹.txt"), whyReserved},
		"trailing dot":           {named("a./b"), whyTrailing},
		"trailing space":         {named("a "), whyTrailing},
		"too deep":               {named(strings.Repeat("d/", 100) + "f"), "is nested deeper than 64 directories"},
		"element too long":       {named(strings.Repeat("n", 256)), "has an element of more than 255 bytes"},
		"too long":               {named(strings.Repeat("n/", 2100) + "f"), "has a name of more than 4096 bytes"},
		"twice":                  {named("a", "a"), whyTwice},
		"file becomes directory": {named("a", "a/b"), whyTwice},
		"directory becomes file": {named("a/", "a"), whyTwice},
		"case collision":         {named("FIRST.txt"), whyCase},
		"case of directories":    {named("d/", "D/"), whyCase},
		"Unicode form collision": {named("\u00e9", "e\u0301"), whyCase},
	}
}

func zipLinks(t testing.TB) map[string]hostile {
	sym := func(name, target string) zipEntry {
		return zipEntry{name: name, body: target, mode: fs.ModeSymlink | 0o777}
	}
	file := func(name string) zipEntry { return zipEntry{name: name, body: "x"} }
	// A link whose content a decompressor would have to be found for, before anybody asks.
	xz := patched(besideZip(t, sym("l", "x")), func(b []byte) { put16(central(t, b, 1)[zipMethod:], 95) })
	damaged := patched(besideZip(t, sym("l", "x")), func(b []byte) { central(t, b, 1)[zipCRC] ^= 1 })
	return map[string]hostile{
		"link out":               {besideZip(t, sym("l", "../victim")), whyOut},
		"link absolute":          {besideZip(t, sym("l", "/etc/passwd")), "is a link to an absolute path"},
		"link to nothing":        {besideZip(t, sym("l", "")), "is a link to nothing"},
		"link with NUL":          {besideZip(t, sym("l", "a\x00b")), "is a link whose target is not clean UTF-8"},
		"link of 20 KB":          {besideZip(t, sym("l", strings.Repeat("a/", 10_000))), "is a link with a target of more than 4096 bytes"},
		"link of 40 KB":          {besideZip(t, sym("l", strings.Repeat("a/", 20_000))), whyDamaged},
		"link as a folder":       {besideZip(t, zipEntry{name: "l/", mode: fs.ModeSymlink | 0o777}), "is a device, pipe or another special file"},
		"link then write":        {besideZip(t, sym("l", "d"), file("l/victim")), whyTwice},
		"link then write over":   {besideZip(t, sym("l", "../victim"), file("l")), whyTwice},
		"chain":                  {besideZip(t, file("d/e/f"), sym("d/e/up", "../.."), sym("out", "d/e/up/../victim")), whyOut},
		"circle":                 {besideZip(t, sym("a", "b"), sym("b", "a")), whyOut},
		"link compressed by xz":  {xz, "is compressed with method 95"},
		"link with damaged text": {damaged, whyDamaged},
	}
}

func zipKinds(t testing.TB) map[string]hostile {
	cases := map[string]hostile{
		"directory with content": {patched(besideZip(t, zipEntry{name: "d/", mode: fs.ModeDir | 0o755}), func(b []byte) { put32(central(t, b, 1)[zipUnpacked:], 1) }), "is a directory with content"},
		"encrypted":              {patched(besideZip(t), func(b []byte) { central(t, b, 0)[zipFlags] |= 1 }), "is encrypted"},
		"bzip2":                  {patched(besideZip(t), func(b []byte) { put16(central(t, b, 0)[zipMethod:], 12) }), "is compressed with method 12"},
		"unknown method":         {patched(besideZip(t), func(b []byte) { put16(central(t, b, 0)[zipMethod:], 77) }), "is compressed with method 77"},
	}
	for what, mode := range map[string]fs.FileMode{
		"block device": fs.ModeDevice, "character device": fs.ModeDevice | fs.ModeCharDevice, "pipe": fs.ModeNamedPipe, "socket": fs.ModeSocket,
	} {
		cases[what] = hostile{besideZip(t, zipEntry{name: "d", mode: mode | 0o600}), whySpecial}
	}
	return cases
}

func zipBombs(t testing.TB) map[string]hostile {
	// 80 times a MiB, compressed once: more than is always fine.
	var packed, bomb bytes.Buffer
	fw, err := flate.NewWriter(&packed, flate.BestSpeed)
	require.NoError(t, err)
	zeros := make([]byte, 1<<20)
	_, err = fw.Write(zeros)
	require.NoError(t, err)
	require.NoError(t, fw.Close())
	zw := stdzip.NewWriter(&bomb)
	many := make([]zipEntry, 80)
	for i := range many {
		many[i] = zipEntry{name: fmt.Sprintf("f%d", i), body: "zeros"}
		w, err := zw.CreateRaw(&stdzip.FileHeader{Name: many[i].name, Method: stdzip.Deflate, CRC32: crc32.ChecksumIEEE(zeros),
			CompressedSize64: uint64(packed.Len()), UncompressedSize64: uint64(len(zeros))})
		require.NoError(t, err)
		_, err = w.Write(packed.Bytes())
		require.NoError(t, err)
	}
	require.NoError(t, zw.Close())
	// All entries show the same bytes.
	same := patched(zipOf(t, many...), func(b []byte) {
		for i := range many {
			put32(central(t, b, i)[zipOffset:], 0)
		}
	})
	// The first entry's bytes hold the second entry whole, as those of a bomb that quotes local headers.
	quoted := zipOf(t, zipEntry{name: "a", body: "aaaa", store: true}, zipEntry{name: "b", body: "bbbb", store: true})
	quoted = patched(quoted, func(b []byte) {
		span := uint32(bytes.Index(b, []byte("bbbb")) + 4 - bytes.Index(b, []byte("aaaa")))
		put32(central(t, b, 0)[zipPacked:], span)
		put32(central(t, b, 0)[zipUnpacked:], span)
	})
	return map[string]hostile{
		"bomb":                {bomb.Bytes(), whyRatio},
		"entries in one":      {same, "share bytes"},
		"entry inside":        {quoted, "share bytes"},
		"millions declared":   {zip64Declaring(1 << 40), "it has more than 200000 entries"},
		"too large, declared": {patched(besideZip(t), func(b []byte) { put32(central(t, b, 0)[zipUnpacked:], 1<<32-2) }), whyRatio},
	}
}

func zipLies(t testing.TB) map[string]hostile {
	good := besideZip(t, zipEntry{name: "a", body: "content of a file, and more"})
	change := func(f func(entry []byte)) []byte {
		return patched(good, func(b []byte) { f(central(t, b, 1)) })
	}
	return map[string]hostile{
		"wrong checksum":           {change(func(e []byte) { e[zipCRC] ^= 1 }), whyDamaged},
		"wrong checksum behind":    {patched(good, func(b []byte) { record(t, b, "PK\x07\x08", 1)[4] ^= 1 }), whyDamaged},
		"larger than said":         {change(func(e []byte) { put32(e[zipUnpacked:], 1) }), whyDamaged},
		"smaller than said":        {change(func(e []byte) { put32(e[zipUnpacked:], 200) }), whyDamaged},
		"packed smaller than said": {change(func(e []byte) { e[zipPacked]-- }), whyDamaged},
		"packed beyond the end":    {change(func(e []byte) { put32(e[zipPacked:], 1<<20) }), "reaches beyond its end"},
		"local header elsewhere":   {change(func(e []byte) { e[zipOffset]++ }), whyDamaged},
		"local header beyond":      {change(func(e []byte) { put32(e[zipOffset:], 1<<30) }), whyDamaged},
		"local header, negative":   {zip64Offset(1 << 63), "it points before its beginning"},
		"local header, far":        {zip64Offset(1 << 62), whyDamaged},
		"another method":           {change(func(e []byte) { put16(e[zipMethod:], 0) }), whyDamaged},
		"size of 64 bits missing":  {change(func(e []byte) { put32(e[zipUnpacked:], 1<<32-1) }), whyRatio},
		"more entries declared":    {patched(good, func(b []byte) { zipEnd(t, b)[zipEndCount]++ }), whyDamaged},
		"fewer entries declared":   {patched(good, func(b []byte) { zipEnd(t, b)[zipEndCount]-- }), whyDamaged},
		"directory elsewhere":      {patched(good, func(b []byte) { zipEnd(t, b)[zipEndOffset]-- }), whyDamaged},
		"directory beyond":         {patched(good, func(b []byte) { put32(zipEnd(t, b)[zipEndOffset:], 1<<30) }), "it points before its beginning"},
		"comment longer":           {patched(good, func(b []byte) { put16(zipEnd(t, b)[zipEndComment:], 10) }), "there is data behind its end, or it is cut short"},
	}
}

func zipDamage(t testing.TB) map[string]hostile {
	good := besideZip(t, zipEntry{name: "a", body: "content"})
	const whyStart = "it does not begin like a zip archive"
	return map[string]hostile{
		"cut short":           {good[:len(good)-30], whyDamaged},
		"front cut off":       {slices.Concat([]byte("PK\x03\x04"), good[len(good)-22:]), whyDamaged},
		"data behind the end": {slices.Concat(good, []byte("x")), "there is data behind its end"},
		"program in front":    {slices.Concat([]byte("#!/bin/sh\nexit\n"), good), whyStart},
		"garbage":             {[]byte("this is not an archive"), whyStart},
		"empty":               {nil, whyStart},
	}
}
