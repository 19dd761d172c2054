package software

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// dpkgDir is dpkg's folder (https://manpages.debian.org/dpkg).
const dpkgDir = "var/lib/dpkg"

// dpkgPackage is one stanza of dpkg's status file.
type dpkgPackage struct {
	name, version, arch, publisher, summary string
	status                                  string // the last word of Status
	broken                                  bool   // dpkg wants it installed anew
	size                                    int64
	essential, sameInAll                    bool
}

// readDpkg reads Debian's database: the status file, and over it what dpkg has noted since it wrote that
// file, which is there while dpkg runs or after it was cut off. Container images without dpkg have one
// file a package in status.d instead.
func readDpkg(s *scan) error {
	var all []dpkgPackage
	var problems []error
	read := func(name string) {
		file, _, err := s.tree.open(name)
		if missing(err) {
			return
		}
		s.found = true
		if err == nil {
			err = parseDpkg(file, func(p dpkgPackage) { all = append(all, p) })
			file.Close()
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("read /%s: %w", name, err))
		}
	}
	read(dpkgDir + "/status")
	base := len(all)
	for _, folder := range []string{dpkgDir + "/updates", dpkgDir + "/status.d"} {
		names, err := s.tree.names(folder)
		if err != nil {
			problems = append(problems, fmt.Errorf("read /%s: %w", folder, err))
		}
		for _, name := range names {
			if s.ctx.Err() != nil {
				break
			}
			numbered := strings.Trim(name, "0123456789") == "" // what dpkg is about to write is called tmp.i
			if len(all) < protocol.MaxSectionRows && (numbered || strings.HasSuffix(folder, ".d") && !strings.HasSuffix(name, ".md5sums")) {
				read(folder + "/" + name)
			}
		}
	}
	for _, p := range latest(all, base) {
		s.addDpkg(p)
	}
	return errors.Join(problems...)
}

// latest lets the stanzas from base on replace earlier ones of the same package.
func latest(all []dpkgPackage, base int) []dpkgPackage {
	if base == len(all) {
		return all
	}
	type id struct{ name, arch string }
	at := map[id]int{}
	out := all[:0:0]
	for _, p := range all {
		key := id{p.name, p.arch}
		if i, ok := at[key]; ok {
			out[i] = p
			continue
		}
		at[key] = len(out)
		out = append(out, p)
	}
	return out
}

func (s *scan) addDpkg(p dpkgPackage) {
	condition := p.status
	switch p.status {
	case "config-files", "not-installed":
		return
	case "installed", "": // status.d says none
		condition = ""
	}
	if p.broken {
		condition = "reinstallation required"
	}
	row := protocol.Software{
		Row: protocol.Row{Name: p.name}, Version: p.version, Publisher: p.publisher, Summary: p.summary, Arch: p.arch,
		SizeBytes: p.size, Essential: p.essential, Condition: condition,
	}
	if p.name != "" && !strings.ContainsAny(p.name+p.arch, "/\x00") {
		lists := []string{p.name + ".list", p.name + ":" + p.arch + ".list"}
		if p.sameInAll {
			lists[0], lists[1] = lists[1], lists[0]
		}
		for _, list := range lists {
			if info, err := s.tree.stat(dpkgDir + "/info/" + list); err == nil {
				row.InstalledAt = seconds(info.ModTime().Unix())
				break
			}
		}
	}
	s.add(Ref{Namespace: s.namespace("debian"), Name: p.name, Version: p.version, Arch: p.arch}, row)
}

// parseDpkg reads stanzas of fields (deb822(5)). A stanza without a name is none.
func parseDpkg(r io.Reader, yield func(dpkgPackage)) error {
	var p dpkgPackage
	count := 0
	end := func() {
		if p.name != "" && count <= protocol.MaxSectionRows {
			yield(p)
			count++
		}
		p = dpkgPackage{}
	}
	err := lines(r, func(line []byte) {
		if len(line) == 0 {
			end()
			return
		}
		if line[0] == ' ' || line[0] == '\t' {
			return
		}
		colon := indexColon(line)
		if colon < 0 {
			return
		}
		value := func() string { return clean(string(line[colon+1:]), maxText) }
		switch string(line[:colon]) { // does not allocate
		case "Package":
			p.name = value()
		case "Version":
			p.version = value()
		case "Architecture":
			p.arch = value()
		case "Maintainer":
			p.publisher = value()
		case "Description":
			p.summary = value()
		case "Installed-Size":
			p.size = kibibytes(value())
		case "Essential", "Protected", "Important":
			p.essential = p.essential || value() == "yes"
		case "Priority":
			p.essential = p.essential || value() == "required"
		case "Multi-Arch":
			p.sameInAll = value() == "same"
		case "Status": // what is wanted, whether all is well, how it is
			words := strings.Fields(value())
			if len(words) > 0 {
				p.status = words[len(words)-1]
			}
			p.broken = len(words) == 3 && words[1] == "reinstreq"
		}
	})
	end()
	return err
}

// indexColon finds the end of a field's name, which is short.
func indexColon(line []byte) int {
	for i, c := range line[:min(len(line), 40)] {
		if c == ':' {
			return i
		}
	}
	return -1
}

func kibibytes(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<50 {
		return 0
	}
	return n << 10
}
