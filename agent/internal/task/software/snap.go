package software

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// snapDirs are where snaps are mounted: snapd's default, and what Fedora and Arch use.
var snapDirs = []string{"snap", "var/lib/snapd/snap"}

// snapFiles holds the snaps themselves, NAME_REVISION.snap.
const snapFiles = "var/lib/snapd/snaps"

// readSnap reads the descriptions of the snaps that are mounted (https://snapcraft.io/docs/snap-format). A
// disabled snap is not mounted and not listed.
func readSnap(s *scan) error {
	var problems []error
	seen := map[string]bool{}
	for _, dir := range snapDirs {
		names, err := s.tree.names(dir)
		problems = append(problems, err)
		for _, name := range names {
			if name == "bin" || name == "README" || seen[name] || s.ctx.Err() != nil {
				continue
			}
			data, err := s.tree.read(path.Join(dir, name, "current/meta/snap.yaml"))
			if missing(err) {
				continue
			}
			s.found, seen[name] = true, true
			d := parseSnap(data)
			if err == nil && d.name == "" {
				err = errors.New("its description has no name")
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("read snap %.60q: %w", name, err))
				continue
			}
			s.addSnap(dir, name, d)
		}
	}
	return joinSome(problems)
}

func (s *scan) addSnap(dir, instance string, d snapDescription) {
	row := protocol.Software{
		Row: protocol.Row{Name: instance}, Version: d.version, Summary: d.summary, Arch: d.arch,
		// snapd does not remove these, or nothing runs without them.
		Essential: d.kind == "base" || d.kind == "os" || d.kind == "kernel" || d.kind == "gadget" || d.kind == "snapd" || instance == "snapd" || instance == "core",
	}
	revision := s.tree.target(path.Join(dir, instance, "current"))
	if revision != "" {
		if info, err := s.tree.stat(snapFiles + "/" + instance + "_" + revision + ".snap"); err == nil {
			row.SizeBytes, row.InstalledAt = info.Size(), seconds(info.ModTime().Unix())
		}
	}
	s.add(Ref{Name: instance, Version: d.version, Arch: d.arch, Qualifiers: map[string]string{"revision": revision}}, row)
}

// snapDescription is what of a snap.yaml counts here.
type snapDescription struct{ name, version, summary, kind, arch string }

// parseSnap reads scalars at the top level of a snap.yaml, which snapd writes one a line, and the list of
// architectures in either form of YAML.
func parseSnap(data []byte) snapDescription {
	var d snapDescription
	key := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, " \r\n")
		if item, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "- "); ok && key == "architectures" {
			if d.arch == "" {
				d.arch = unquote(item)
			}
			continue
		}
		if line == "" || line[0] == ' ' || line[0] == '#' || line[0] == '-' {
			continue
		}
		var value string
		key, value, _ = strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "name":
			d.name = unquote(value)
		case "version":
			d.version = unquote(value)
		case "summary":
			d.summary = unquote(value)
		case "type":
			d.kind = unquote(value)
		case "architectures":
			first, _, _ := strings.Cut(strings.Trim(value, "[] "), ",")
			d.arch = unquote(strings.TrimSpace(first))
		}
	}
	return d
}

// unquote takes the quotes off a YAML scalar.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		quote := s[:1]
		s = s[1 : len(s)-1]
		if quote == "'" {
			return strings.ReplaceAll(s, "''", "'")
		}
		return strings.ReplaceAll(s, `\"`, `"`)
	}
	return s
}
