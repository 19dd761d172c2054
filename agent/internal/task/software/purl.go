package software

import (
	"net/url"
	"slices"
	"strings"

	"github.com/muster/muster/packages/fault"
)

// Ref is what a key tells: a package URL by its parts, without percent signs. The specification is
// https://github.com/package-url/purl-spec (ECMA-427).
type Ref struct {
	Source    string // as protocol.Software's
	Namespace string // debian, fedora, …; a scope with npm
	Name      string // in the words of the source, but for what package URLs write in small letters
	Version   string // of rpm without the epoch
	Arch      string
	// Qualifiers are the key's others: epoch of rpm, branch and user of flatpak, id of Windows, …
	Qualifiers map[string]string
}

// types are the package URL types of the sources that have a registered one. All others are generic, with
// the source as a qualifier.
var types = map[string]string{
	"dpkg": "deb", "rpm": "rpm", "apk": "apk", "pacman": "alpm", "pip": "pypi", "npm": "npm", "gem": "gem",
}

// String is the key: a canonical package URL.
func (r Ref) String() string {
	kind, registered := types[r.Source]
	if !registered {
		kind = "generic"
	}
	namespace, name := normalize(kind, r.Namespace, r.Name)
	var b strings.Builder
	b.WriteString("pkg:" + kind + "/")
	for segment := range strings.SplitSeq(namespace, "/") {
		if segment != "" {
			b.WriteString(escape(segment, "") + "/")
		}
	}
	b.WriteString(escape(strings.Trim(name, "/"), ""))
	if r.Version != "" {
		b.WriteString("@" + escape(r.Version, ""))
	}
	var pairs []string
	pair := func(key, value string) {
		if value != "" {
			pairs = append(pairs, key+"="+escape(value, "/"))
		}
	}
	for key, value := range r.Qualifiers {
		pair(key, value)
	}
	pair("arch", r.Arch)
	if !registered {
		pair("source", r.Source)
	}
	slices.Sort(pairs)
	if len(pairs) > 0 {
		b.WriteString("?" + strings.Join(pairs, "&"))
	}
	return b.String()
}

// normalize writes namespace and name as the type's definition wants them.
func normalize(kind, namespace, name string) (string, string) {
	switch kind {
	case "deb", "apk", "alpm":
		return strings.ToLower(namespace), strings.ToLower(name)
	case "rpm":
		return strings.ToLower(namespace), name
	case "pypi":
		return namespace, strings.ReplaceAll(strings.ToLower(name), "_", "-")
	default:
		return namespace, name
	}
}

// escape writes percent signs as the specification wants them: letters, digits, .-_~ and the colon stand
// for themselves, in the values of qualifiers the slash, too.
func escape(s, also string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(".-_~:", c) >= 0 || strings.IndexByte(also, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// Parse takes a key apart. It takes what String writes, and nothing else: a key that is spelled otherwise
// was not made by this agent. The error is a fault of code invalid.
func Parse(key string) (Ref, error) {
	bad := func(why string) (Ref, error) {
		return Ref{}, fault.New(fault.Invalid, "%.80q is not the key of a program: %s", key, why)
	}
	rest, ok := strings.CutPrefix(key, "pkg:")
	if !ok || len(key) > maxKey {
		return bad("it is no package URL of 512 bytes at most")
	}
	rest, query, _ := strings.Cut(rest, "?")
	kind, rest, _ := strings.Cut(rest, "/")
	rest, version, _ := strings.Cut(rest, "@")
	namespace, name := "", rest
	if i := strings.LastIndexByte(rest, '/'); i >= 0 {
		namespace, name = rest[:i], rest[i+1:]
	}
	r := Ref{Source: sourceOf(kind), Namespace: unescape(namespace), Name: unescape(name), Version: unescape(version)}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch value = unescape(value); {
		case name == "":
		case name == "arch":
			r.Arch = value
		case name == "source" && kind == "generic":
			r.Source = value
		default:
			if r.Qualifiers == nil {
				r.Qualifiers = map[string]string{}
			}
			r.Qualifiers[name] = value
		}
	}
	switch {
	case r.Source == "":
		return bad("its source is not known")
	case r.Name == "":
		return bad("it has no name")
	case r.String() != key:
		return bad("it is not in the canonical form")
	}
	return r, nil
}

func sourceOf(kind string) string {
	for source, t := range types {
		if t == kind {
			return source
		}
	}
	return ""
}

func unescape(s string) string {
	out, err := url.PathUnescape(s)
	if err != nil {
		return s // not canonical then, as the comparison finds
	}
	return out
}
