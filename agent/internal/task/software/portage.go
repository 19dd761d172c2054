package software

import (
	"path"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// portageDir holds CATEGORY/NAME-VERSION, each with small files of one value
// (https://wiki.gentoo.org/wiki//var/db/pkg).
const portageDir = "var/db/pkg"

var portageEssential = map[string]bool{
	"app-shells/bash": true, "sys-apps/baselayout": true, "sys-apps/coreutils": true, "sys-apps/openrc": true,
	"sys-apps/portage": true, "sys-apps/systemd": true, "sys-libs/glibc": true, "sys-libs/musl": true,
}

func readPortage(s *scan) error {
	categories, err := s.tree.names(portageDir)
	problems := []error{err}
	for _, category := range categories {
		packages, err := s.tree.names(path.Join(portageDir, category))
		problems = append(problems, err)
		for _, pf := range packages {
			if pf[0] == '-' || s.ctx.Err() != nil { // -MERGING-…, which is under way
				continue
			}
			dir := path.Join(portageDir, category, pf)
			if s.tree.exists(dir + "/PF") {
				s.addPortage(dir, category, pf)
			}
		}
	}
	return joinSome(problems)
}

func (s *scan) addPortage(dir, category, pf string) {
	value := func(file string) string {
		data, err := s.tree.read(dir + "/" + file)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(data[:min(len(data), maxLine)]))
	}
	name, version := splitVersion(pf)
	arch, _, _ := strings.Cut(value("CHOST"), "-")
	full := category + "/" + name
	row := protocol.Software{
		Row: protocol.Row{Name: full}, Version: version, Publisher: value("repository"), Summary: value("DESCRIPTION"),
		Arch: arch, SizeBytes: number(value("SIZE")), Essential: portageEssential[full],
	}
	if info, err := s.tree.stat(dir + "/PF"); err == nil {
		row.InstalledAt = seconds(info.ModTime().Unix())
	}
	slot, _, _ := strings.Cut(value("SLOT"), "/")
	s.add(Ref{Namespace: category, Name: name, Version: version, Arch: arch, Qualifiers: map[string]string{"slot": slot}}, row)
}
