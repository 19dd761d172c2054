package software

import (
	"errors"
	"fmt"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// pacmanDir holds one folder a package, with its file desc (https://archlinux.org/pacman/alpm.html).
const pacmanDir = "var/lib/pacman/local"

var pacmanEssential = map[string]bool{
	"base": true, "bash": true, "coreutils": true, "filesystem": true, "glibc": true, "linux": true, "pacman": true, "systemd": true,
}

func readPacman(s *scan) error {
	folders, err := s.tree.names(pacmanDir)
	s.found = len(folders) > 0
	problems := []error{err}
	for _, folder := range folders {
		if folder == "ALPM_DB_VERSION" || s.ctx.Err() != nil {
			continue
		}
		data, err := s.tree.read(pacmanDir + "/" + folder + "/desc")
		fields := parsePacman(data)
		if err == nil && (fields["NAME"] == "" || fields["VERSION"] == "") {
			err = errors.New("it has no name or no version")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("read package %.60q: %w", folder, err))
			continue
		}
		s.addPacman(fields)
	}
	return joinSome(problems)
}

// parsePacman reads the first value of each field: its name between percent signs, then its values, one a
// line, up to an empty one.
func parsePacman(data []byte) map[string]string {
	fields := map[string]string{}
	field := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "":
			field = ""
		case field == "" && len(line) > 2 && line[0] == '%' && line[len(line)-1] == '%':
			field = line[1 : len(line)-1]
		case field != "" && fields[field] == "":
			fields[field] = line
		}
	}
	return fields
}

func (s *scan) addPacman(f map[string]string) {
	s.add(Ref{Namespace: s.namespace("arch"), Name: f["NAME"], Version: f["VERSION"], Arch: f["ARCH"]}, protocol.Software{
		Row: protocol.Row{Name: f["NAME"]}, Version: f["VERSION"], Publisher: f["PACKAGER"], Summary: f["DESC"], Arch: f["ARCH"],
		SizeBytes: number(f["SIZE"]), InstalledAt: seconds(number(f["INSTALLDATE"])), Essential: pacmanEssential[f["NAME"]],
	})
}

// joinSome joins errors, of many only the first few, and says how many there are.
func joinSome(all []error) error {
	const most = 5
	count := 0
	var kept []error
	for _, err := range all {
		if err == nil {
			continue
		}
		if count++; count <= most {
			kept = append(kept, err)
		}
	}
	if count > most {
		kept = append(kept, fmt.Errorf("and %d more", count-most))
	}
	return errors.Join(kept...)
}
