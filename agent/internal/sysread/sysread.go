// Package sysread reads what a system tells in small files: bounded, never blocking on what is not a
// regular file, and cleaned, because firmware, mounted disks and other users write what is in them. It
// keeps nothing and starts nothing. The resident's facts and the inventory task read through it, so it
// imports little.
package sysread

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what is read.
const (
	MaxText    = 500      // bytes of one text that Clean returns
	MaxFile    = 64 << 10 // bytes of a file, unless its reader says otherwise
	maxEntries = 10_000   // entries of a folder
)

// errNotFile is of folders, pipes and devices where a file should be.
var errNotFile = errors.New("it is no regular file")

// Tree is the root of a system's files; "/" for this computer's own. Paths are given without a leading
// slash.
type Tree string

// Path is where a file of the tree lies.
func (t Tree) Path(path string) string { return filepath.Join(string(t), filepath.FromSlash(path)) }

// Read returns a regular file's content, of a longer one its first limit bytes.
func (t Tree) Read(path string, limit int) ([]byte, error) { return readFile(t.Path(path), limit) }

// Bytes is Read with the ordinary limit; what cannot be read is empty.
func (t Tree) Bytes(path string) []byte {
	data, err := t.Read(path, MaxFile)
	if err != nil {
		return nil
	}
	return data
}

// Line is a file's first line, cleaned; empty when there is none.
func (t Tree) Line(path string) string {
	text, _, _ := strings.Cut(string(t.Bytes(path)), "\n")
	return Clean(text)
}

// First is the first line, cleaned, of the first of the files that has one.
func (t Tree) First(paths ...string) string {
	for _, p := range paths {
		if line := t.Line(p); line != "" {
			return line
		}
	}
	return ""
}

// Names are the names in a folder, sorted; none when it cannot be read. Of a folder with more than 10,000
// some 10,000 are returned.
func (t Tree) Names(folder string) []string {
	dir, err := os.Open(t.Path(folder))
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxEntries) // what could be read counts
	slices.Sort(names)
	return names
}

// Exists reports whether there is something at the path.
func (t Tree) Exists(path string) bool {
	_, err := os.Stat(t.Path(path))
	return err == nil
}

// Link is where a symbolic link points, as it is written; empty when it is none.
func (t Tree) Link(path string) string {
	target, err := os.Readlink(t.Path(path))
	if err != nil {
		return ""
	}
	return filepath.ToSlash(target)
}

// Real is where a path of the tree leads after all links, itself a path of the tree; empty when it leads
// out of it or nowhere.
func (t Tree) Real(path string) string {
	root, err := filepath.EvalSymlinks(string(t))
	if err != nil {
		return ""
	}
	target, err := filepath.EvalSymlinks(t.Path(path))
	if err != nil {
		return ""
	}
	rel, err := filepath.Rel(root, target)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.ToSlash(rel)
}

// Clean makes a text of the system fit to be stored and shown: valid UTF-8, without control characters and
// such as turn the direction of writing, without white space around it, at most MaxText bytes.
func Clean(s string) string { return CleanTo(s, MaxText) }

// CleanTo is Clean with a limit of its own.
func CleanTo(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.TrimSpace(s)
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.TrimSpace(s[:limit])
}

// meaningless are what makers of computers leave where a name or a serial number belongs.
var meaningless = []string{
	"none", "n/a", "na", "not specified", "not available", "not applicable", "not present", "unknown", "default", "default string", "invalid",
	"to be filled by o.e.m.", "to be filled by oem", "o.e.m.", "oem", "system manufacturer", "system product name", "system serial number",
	"system version", "base board serial number", "chassis serial number", "chassis serial", "serial number", "product name", "empty",
	"asset tag", "asset-1234567890", "no asset tag", "no asset information", "sku", "all series", "no dimm", "[empty]", "undefined", "null",
	"123456789", "0123456789", "1234567890", "xxxxxxxx", "012345678", "unspecified", "........",
}

// Meant is a cleaned text that says something; else it is empty.
func Meant(s string) string {
	s = Clean(s)
	if strings.Trim(s, "0 .-_xX*?") == "" || strings.Trim(s, "fF") == "" && len(s) > 3 || slices.Contains(meaningless, strings.ToLower(s)) {
		return ""
	}
	return s
}
