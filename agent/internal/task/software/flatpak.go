package software

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// flatpakDir is the system's installation; a user's own is in the home.
const (
	flatpakDir     = "var/lib/flatpak"
	flatpakUserDir = ".local/share/flatpak"
)

// maxUsers bounds the homes that are looked into, and maxUserRows what each of them adds: its owner can
// write there what he likes.
const (
	maxUsers    = 1000
	maxUserRows = 1000
)

// readFlatpak reads the deployments of the system's installation and of each user whose home is in /home,
// apps and runtimes, without the parts of runtimes that come by themselves (translations, debug symbols).
func readFlatpak(s *scan) error {
	problems := []error{s.flatpaks(s.tree, flatpakDir, "", protocol.MaxSectionRows)}
	homes, err := s.tree.names("home")
	problems = append(problems, err)
	for _, user := range homes[:min(len(homes), maxUsers)] {
		if s.ctx.Err() != nil {
			break
		}
		home, err := s.tree.below("home/" + user)
		if err != nil { // no folder, or a link out of /home: nobody's installation
			continue
		}
		if err := s.flatpaks(home, flatpakUserDir, user, maxUserRows); err != nil { // what a user breaks is his own affair
			s.Log.Info("flatpaks of a user cannot all be read", "user", user, "err", err)
		}
		home.close()
	}
	return joinSome(problems)
}

// flatpaks reads one installation: KIND/ID/ARCH/BRANCH/active. It looks at ten times as many folders as it
// takes rows, so that nobody can make it look for ever.
func (s *scan) flatpaks(t *tree, dir, user string, most int) error {
	var problems []error
	looks := 10 * most
	names := func(parts ...string) []string {
		found, err := t.names(path.Join(append([]string{dir}, parts...)...))
		problems = append(problems, err)
		if looks -= len(found); looks < 0 {
			return nil
		}
		return found
	}
	for _, kind := range []string{"app", "runtime"} {
		for _, id := range names(kind) {
			if strings.HasSuffix(id, ".Locale") || strings.HasSuffix(id, ".Debug") || s.ctx.Err() != nil {
				continue
			}
			for _, arch := range names(kind, id) {
				if arch == "current" {
					continue
				}
				for _, branch := range names(kind, id, arch) {
					active := path.Join(dir, kind, id, arch, branch, "active")
					if !t.exists(active + "/metadata") {
						continue
					}
					s.found = true
					if most--; most < 0 {
						s.dropped++
						continue
					}
					d, err := t.read(active + "/deploy")
					if err != nil {
						problems = append(problems, fmt.Errorf("read flatpak %.60q: %w", id, err))
					}
					s.addFlatpak(t, kind, flatpakRef{id, arch, branch, user}, active, parseDeploy(d))
				}
			}
		}
	}
	if looks < 0 {
		problems = append(problems, fault.New(fault.TooLarge, "%s has more folders than are looked at", path.Join("/", dir)))
	}
	return joinSome(problems)
}

type flatpakRef struct{ id, arch, branch, user string }

func (s *scan) addFlatpak(t *tree, kind string, r flatpakRef, active string, d deployData) {
	version := d.version
	if version == "" && kind == "runtime" {
		version = r.branch // what people call the version of a runtime
	}
	name := d.name
	if name == "" {
		name = r.id
	}
	row := protocol.Software{
		Row: protocol.Row{Name: name}, Version: version, Summary: d.summary, Arch: r.arch, SizeBytes: d.size, Publisher: d.origin,
	}
	if info, err := t.stat(active + "/deploy"); err == nil {
		row.InstalledAt = seconds(info.ModTime().Unix())
	}
	qualifiers := map[string]string{"branch": r.branch, "user": r.user}
	if kind == "runtime" {
		qualifiers["kind"] = kind
	}
	s.add(Ref{Name: r.id, Version: version, Arch: r.arch, Qualifiers: qualifiers}, row)
}

// deployData is what flatpak notes of a deployment.
type deployData struct {
	origin                 string // the remote's name
	size                   int64
	name, version, summary string
}

// parseDeploy reads a deploy file: a GVariant of the type (ssasta{sv}), which are origin, commit, subpaths,
// installed size (big-endian whatever the computer) and metadata; serialised as
// https://docs.gtk.org/glib/gvariant-format.html says. What does not fit is left empty.
func parseDeploy(data []byte) deployData {
	var d deployData
	offset := offsetSize(len(data))
	if len(data) < 3*offset+8 {
		return d
	}
	// The ends of the first three members stand at the very end, the first one last.
	end := func(i int) int {
		at := len(data) - (i+1)*offset
		n := uint64(0)
		for k := offset - 1; k >= 0; k-- {
			n = n<<8 | uint64(data[at+k])
		}
		if n > uint64(len(data)) {
			return -1
		}
		return int(n)
	}
	first, second, third := end(0), end(1), end(2)
	if first < 1 || second < first || third < second || align8(third)+8 > len(data)-3*offset {
		return d
	}
	d.origin = string(bytes.TrimRight(data[:first], "\x00"))
	if size := binary.BigEndian.Uint64(data[align8(third):]); size < 1<<60 {
		d.size = int64(size)
	}
	metadata := data[:len(data)-3*offset]
	from := align8(third) + 8
	d.name = variantText(metadata, from, "appdata-name")
	d.version = variantText(metadata, from, "appdata-version")
	d.summary = variantText(metadata, from, "appdata-summary")
	return d
}

// variantText finds the entry of a key in a dictionary a{sv} and returns its text.
func variantText(data []byte, from int, key string) string {
	key += "\x00"
	for at := from; at < len(data); {
		i := bytes.Index(data[at:], []byte(key))
		if i < 0 {
			return ""
		}
		start := at + i
		at = start + len(key)
		value := align8(at)
		if start%8 != 0 || value >= len(data) {
			continue
		}
		text, rest, ok := bytes.Cut(data[value:], []byte{0})
		if ok && bytes.HasPrefix(rest, []byte("\x00s")) { // the variant's type
			return string(text)
		}
	}
	return ""
}

func align8(n int) int { return (n + 7) &^ 7 }

// offsetSize is how many bytes an offset takes in a container of that size.
func offsetSize(size int) int {
	switch {
	case size <= 0xff:
		return 1
	case size <= 0xffff:
		return 2
	default:
		return 4
	}
}
