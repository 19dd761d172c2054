// Package versionkey turns versions into text that sorts as the versions do, so that a database can tell which
// of two is older.
//
// Versions of programs are ordered as dpkg orders them (deb-version(7)), which is how rpm and most others do,
// too, in all but rare cases. It is a function without state; device and software keep its answers beside the
// versions. Who changes what it answers adds a migration that computes the kept ones anew.
package versionkey

import (
	"fmt"
	"strings"

	"golang.org/x/mod/semver"
)

// Max is the most characters of a key. Of longer versions only the beginning counts.
const Max = 255

// Of is the key of a program's version: [EPOCH:]VERSION[-REVISION]. It holds only digits and lower-case
// letters, which sort the same in every collation.
func Of(version string) string {
	var b strings.Builder
	epoch, rest, found := strings.Cut(version, ":")
	if !found || !digits(epoch) {
		epoch, rest = "", version
	}
	writeNumber(&b, epoch)
	revision := ""
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		rest, revision = rest[:i], rest[i+1:]
	}
	part(&b, rest)
	part(&b, revision)
	return b.String()[:min(b.Len(), Max)]
}

// OfRelease is the key of an agent's version, a semantic one, in the order of packages/release.Compare: what is
// no version, as that of a build by hand, has an empty key, which comes before all others.
func OfRelease(version string) string {
	version = strings.TrimPrefix(semver.Canonical("v"+strings.TrimPrefix(version, "v")), "v")
	if version == "" {
		return ""
	}
	numbers, before, found := strings.Cut(version, "-")
	var b strings.Builder
	part(&b, numbers)
	if !found {
		b.WriteByte(other) // after all that is before the release
		return b.String()
	}
	for id := range strings.SplitSeq(before, ".") {
		if digits(id) {
			fmt.Fprintf(&b, "%c%c", end, tilde)
			writeNumber(&b, id)
		} else {
			fmt.Fprintf(&b, "%c%c%x%c", end, letter, id, tilde)
		}
	}
	return b.String()[:min(b.Len(), Max)]
}

// The order of what is no digit: a tilde, the end, letters, all others.
const (
	tilde  = '0'
	end    = '1'
	letter = '2'
	other  = '3'
)

// part writes stretches without digits and numbers in turn, and the end.
func part(b *strings.Builder, s string) {
	for first := true; s != "" || first; first = false {
		n := strings.IndexAny(s, "0123456789")
		if n < 0 {
			n = len(s)
		}
		for _, c := range []byte(s[:n]) {
			switch {
			case c == '~':
				b.WriteByte(tilde)
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
				fmt.Fprintf(b, "%c%02x", letter, c)
			default:
				fmt.Fprintf(b, "%c%02x", other, c)
			}
		}
		b.WriteByte(end)
		s = s[n:]
		for n = 0; n < len(s) && '0' <= s[n] && s[n] <= '9'; n++ {
		}
		writeNumber(b, s[:n])
		s = s[n:]
	}
	b.WriteByte(end)
}

// writeNumber writes a number with its length before it. One of over 99 digits is the greatest.
func writeNumber(b *strings.Builder, s string) {
	s = strings.TrimLeft(s, "0")
	if len(s) > 99 {
		s = strings.Repeat("9", 99)
	}
	fmt.Fprintf(b, "%02d%s", len(s), s)
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
