package archive

import (
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of names; they are those of the file systems we unpack to.
const (
	maxName    = 4096 // bytes of a whole name or link target
	maxElement = 255  // bytes of one element
	maxDepth   = 64   // elements
)

// cleanName brings an entry's name into the form of fs.ValidPath, or says why it is refused. A leading
// "./" and a trailing "/" are what tar and zip write; the root itself is ".".
func cleanName(raw string) (string, error) {
	name := raw
	for strings.HasPrefix(name, "./") {
		name = strings.TrimPrefix(name, "./")
	}
	name = strings.TrimSuffix(name, "/")
	if name == "" && strings.HasPrefix(raw, "./") {
		return ".", nil
	}
	if why := badName(name); why != "" {
		return "", refuse("entry %q %s", shorten(raw), why)
	}
	return name, nil
}

func badName(name string) string {
	switch {
	case name == "":
		return "has no name"
	case len(name) > maxName:
		return "has a name of more than 4096 bytes"
	case !utf8.ValidString(name):
		return "has a name that is not UTF-8: pack it again with UTF-8 names"
	case strings.HasPrefix(name, "/"):
		return "has an absolute path"
	case strings.ContainsAny(name, `\:`):
		return "has a backslash or colon in its name"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "has a control character in its name"
	case name == ".":
		return ""
	case !fs.ValidPath(name):
		return `has an empty, "." or ".." element in its path`
	}
	elements := strings.Split(name, "/")
	if len(elements) > maxDepth {
		return "is nested deeper than 64 directories"
	}
	for _, el := range elements {
		if why := badElement(el); why != "" {
			return why
		}
	}
	return ""
}

func badElement(el string) string {
	if len(el) > maxElement {
		return "has an element of more than 255 bytes in its path"
	}
	// Windows drops these, so that "a." and "a" become one file.
	if strings.HasSuffix(el, ".") || strings.HasSuffix(el, " ") {
		return "has an element that ends in a dot or space"
	}
	if reserved(el) {
		return "has a name that Windows reserves for a device"
	}
	return ""
}

// reserved reports whether Windows takes the element for a device, with any extension.
func reserved(el string) bool {
	base, _, _ := strings.Cut(el, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	port, ok := strings.CutPrefix(base, "COM")
	if !ok {
		port, ok = strings.CutPrefix(base, "LPT")
	}
	if !ok || utf8.RuneCountInString(port) != 1 {
		return false
	}
	return strings.ContainsAny(port, "0123456789¹²³")
}

// badTarget says why a symbolic link's target is refused whatever it leads to.
func badTarget(target string) string {
	switch {
	case target == "":
		return "is a link to nothing"
	case len(target) > maxName:
		return "is a link with a target of more than 4096 bytes"
	case !utf8.ValidString(target), strings.ContainsFunc(target, unicode.IsControl):
		return "is a link whose target is not clean UTF-8"
	case strings.ContainsAny(target, `\:`):
		return "is a link with a backslash or colon in its target"
	case strings.HasPrefix(target, "/"):
		return "is a link to an absolute path"
	}
	return ""
}

// fold maps names that some file system takes for the same to the same string: Windows and macOS
// ignore case, macOS also the Unicode form.
func fold(name string) string {
	ascii := true
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			ascii = false
			break
		}
	}
	if ascii {
		return strings.ToLower(name)
	}
	lowest := func(r rune) rune {
		low := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			low = min(low, f)
		}
		return unicode.ToLower(low)
	}
	// Decomposed first, so that a folded letter and its accents meet in one form.
	return norm.NFC.String(strings.Map(lowest, norm.NFD.String(name)))
}

// shorten keeps a hostile name from filling the log.
func shorten(s string) string {
	if len(s) <= 200 {
		return s
	}
	return s[:200] + "…"
}
