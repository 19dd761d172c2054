package software

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// rpmFormat asks rpm for a package's fields, between separators that no text of a package holds.
const rpmFormat = "%{NAME}\x1f%{EPOCH}\x1f%{VERSION}\x1f%{RELEASE}\x1f%{ARCH}\x1f%{LONGSIZE}\x1f%{INSTALLTIME}\x1f%{VENDOR}\x1f%{SUMMARY}\x1e"

// rpmFields are in rpmFormat.
const rpmFields = 9

// rpmDatabases are the files that show that a system has packages of rpm, whose own formats (Berkeley DB,
// ndb, SQLite) are rpm's business.
var rpmDatabases = []string{"Packages", "Packages.db", "rpmdb.sqlite"}

// rpmEssential go first among what nobody can do without; dnf and yum name more in protected.d.
var rpmEssential = []string{"basesystem", "bash", "coreutils", "dnf", "dnf5", "filesystem", "glibc", "libzypp", "rpm", "setup", "systemd", "yum", "zypper"}

// readRPM runs rpm -qa, where there is a database of rpm.
func readRPM(s *scan) error {
	exists := func(dir string) bool {
		return slices.ContainsFunc(rpmDatabases, func(name string) bool { return s.tree.exists(dir + "/" + name) })
	}
	if !exists("var/lib/rpm") && !exists("usr/lib/sysimage/rpm") {
		return nil
	}
	s.found = true
	args := []string{"-qa", "--qf", rpmFormat}
	if s.tree.root != nil {
		args = append([]string{"--root", s.tree.dir}, args...)
	}
	out, err := s.Run(s.ctx, "rpm", args...)
	essential := s.rpmProtected()
	for _, p := range parseRPM(out) {
		s.addRPM(p, essential[p.name])
	}
	if err == nil && len(out) == 0 {
		err = fault.New(fault.Invalid, "rpm has a database but lists no package")
	}
	return err
}

// rpmPackage is one package of rpm's list.
type rpmPackage struct {
	name, epoch, version, arch, publisher, summary string
	size, installed                                int64
}

// parseRPM reads what rpm printed by rpmFormat; a record that is cut off is left out.
func parseRPM(out []byte) []rpmPackage {
	var all []rpmPackage
	for len(out) > 0 && len(all) <= protocol.MaxSectionRows {
		var record []byte
		var whole bool
		record, out, whole = bytes.Cut(out, []byte{0x1e})
		fields := strings.Split(string(record), "\x1f")
		if !whole || len(fields) != rpmFields || fields[0] == "gpg-pubkey" { // keys are kept beside packages
			continue
		}
		for i, field := range fields {
			if fields[i] = strings.TrimSpace(field); fields[i] == "(none)" {
				fields[i] = ""
			}
		}
		all = append(all, rpmPackage{
			name: fields[0], epoch: fields[1], version: fields[2] + "-" + fields[3], arch: fields[4],
			size: number(fields[5]), installed: number(fields[6]), publisher: fields[7], summary: fields[8],
		})
	}
	return all
}

func (s *scan) addRPM(p rpmPackage, essential bool) {
	version, qualifiers := p.version, map[string]string(nil)
	if p.epoch != "" && p.epoch != "0" {
		version, qualifiers = p.epoch+":"+p.version, map[string]string{"epoch": p.epoch}
	}
	s.add(Ref{Namespace: s.namespace("redhat"), Name: p.name, Version: p.version, Arch: p.arch, Qualifiers: qualifiers}, protocol.Software{
		Row: protocol.Row{Name: p.name}, Version: version, Publisher: p.publisher, Summary: p.summary, Arch: p.arch,
		SizeBytes: p.size, InstalledAt: seconds(p.installed), Essential: essential,
	})
}

// rpmProtected are the names of packages that dnf and yum do not remove (dnf.conf(5), protected_packages).
func (s *scan) rpmProtected() map[string]bool {
	protected := map[string]bool{}
	for _, name := range rpmEssential {
		protected[name] = true
	}
	for _, dir := range []string{"etc/dnf/protected.d", "etc/yum/protected.d"} {
		files, _ := s.tree.names(dir)
		for _, file := range files[:min(len(files), 100)] {
			data, err := s.tree.read(dir + "/" + file)
			if err != nil {
				if !errors.Is(err, s.ctx.Err()) {
					s.Log.Info("a list of protected packages cannot be read", "err", err)
				}
				continue
			}
			for line := range strings.Lines(string(data)) {
				if name := strings.TrimSpace(line); name != "" && name[0] != '#' {
					protected[name] = true
				}
			}
		}
	}
	return protected
}

// number reads a size or a time; 0 for what is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
