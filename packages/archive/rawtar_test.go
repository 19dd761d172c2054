package archive_test

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"
)

// rawEntry is a tar entry as bytes, for what no library writes.
type rawEntry struct {
	name   string
	typ    byte // '0' if not given
	link   string
	mode   string // as written; "0000644" if empty
	uid    string // as written; "0000000" if empty
	size   string // as written; the body's length if empty
	magic  string // "ustar\x0000" if empty; "-" for none, as tars of 1979 have it
	prefix string
	body   []byte
	sum    string            // wrong checksum, if not empty
	patch  func(head []byte) // last of all, before the checksum
}

func (e rawEntry) bytes() []byte {
	head := make([]byte, 512)
	def := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	copy(head, e.name)
	copy(head[100:108], def(e.mode, "0000644"))
	copy(head[108:116], def(e.uid, "0000000"))
	copy(head[116:124], "0000000")
	copy(head[124:136], def(e.size, fmt.Sprintf("%011o", len(e.body))))
	copy(head[136:148], "14610000000")
	head[156] = e.typ
	if e.typ == 0 && e.magic != "-" {
		head[156] = '0'
	}
	copy(head[157:257], e.link)
	if e.magic != "-" {
		copy(head[257:265], def(e.magic, "ustar\x0000"))
	}
	copy(head[345:500], e.prefix)
	if e.patch != nil {
		e.patch(head)
	}
	copy(head[148:156], "        ")
	sum := 0
	for _, b := range head {
		sum += int(b)
	}
	copy(head[148:156], def(e.sum, fmt.Sprintf("%06o\x00 ", sum)))
	body := append([]byte(nil), e.body...)
	return append(head, append(body, make([]byte, -len(body)&511)...)...)
}

// rawTar joins entries to a tar.gz.
func rawTar(t testing.TB, entries ...rawEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, e := range entries {
		b.Write(e.bytes())
	}
	b.Write(make([]byte, 1024))
	return gzipped(t, b.Bytes())
}

// pax is an extended header for the entry behind it; records are key, value, key, value.
func pax(typ byte, records ...string) rawEntry {
	var body []byte
	for i := 0; i < len(records); i += 2 {
		record := " " + records[i] + "=" + records[i+1] + "\n"
		n := len(record)
		for len(strconv.Itoa(n))+len(record) != n { // the length counts its own digits
			n = len(strconv.Itoa(n)) + len(record)
		}
		body = append(body, strconv.Itoa(n)+record...)
	}
	return rawEntry{name: "PaxHeaders/x", typ: typ, body: body}
}

// gnuLong is what GNU tar writes before an entry whose name (typ L) or link target (typ K) is long.
func gnuLong(typ byte, text string) rawEntry {
	return rawEntry{name: "././@LongLink", typ: typ, magic: "ustar  \x00", body: append([]byte(text), 0)}
}

// base256 is a number as GNU tar writes those that octal digits cannot hold, in a field of n bytes.
func base256(v int64, n int) string {
	b := make([]byte, n)
	for i := n - 1; i >= 0; i-- {
		b[i] = byte(v)
		v >>= 8
	}
	b[0] |= 0x80
	return string(b)
}
