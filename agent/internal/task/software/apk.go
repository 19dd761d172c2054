package software

import (
	"errors"
	"fmt"
	"io"

	"github.com/muster/muster/packages/protocol"
)

// apkEssential is what an Alpine system does not work without.
var apkEssential = map[string]bool{
	"alpine-base": true, "alpine-baselayout": true, "alpine-keys": true, "alpine-release": true, "apk-tools": true,
	"busybox": true, "libc-utils": true, "musl": true,
}

// readAPK reads Alpine's database (https://wiki.alpinelinux.org/wiki/Apk_spec). It holds no dates.
func readAPK(s *scan) error {
	var problems []error
	for _, name := range []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"} {
		file, _, err := s.tree.open(name)
		if missing(err) {
			continue
		}
		s.found = true
		if err == nil {
			err = parseAPK(file, s.addAPK)
			file.Close()
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("read /%s: %w", name, err))
		}
	}
	return errors.Join(problems...)
}

// apkPackage is one stanza of the database.
type apkPackage struct {
	name, version, arch, publisher, summary string
	size                                    int64
}

// parseAPK reads stanzas of lines that begin with a letter and a colon.
func parseAPK(r io.Reader, yield func(apkPackage)) error {
	var p apkPackage
	end := func() {
		if p.name != "" {
			yield(p)
		}
		p = apkPackage{}
	}
	err := lines(r, func(line []byte) {
		if len(line) == 0 {
			end()
			return
		}
		if len(line) < 2 || line[1] != ':' {
			return
		}
		switch value := line[2:]; line[0] {
		case 'P':
			p.name = string(value)
		case 'V':
			p.version = string(value)
		case 'A':
			p.arch = string(value)
		case 'T':
			p.summary = string(value)
		case 'm':
			p.publisher = string(value)
		case 'I':
			p.size = number(string(value))
		}
	})
	end()
	return err
}

func (s *scan) addAPK(p apkPackage) {
	s.add(Ref{Namespace: s.namespace("alpine"), Name: p.name, Version: p.version, Arch: p.arch}, protocol.Software{
		Row: protocol.Row{Name: p.name}, Version: p.version, Publisher: p.publisher, Summary: p.summary, Arch: p.arch,
		SizeBytes: p.size, Essential: apkEssential[p.name],
	})
}
