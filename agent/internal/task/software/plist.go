package software

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// maxPlistDepth is how deep dictionaries and arrays of a property list may be nested.
const maxPlistDepth = 64

// plistTexts streams a property list in XML and yields each scalar of a dictionary: path is the keys that
// lead to it, joined by slashes. What is in arrays is passed over.
func plistTexts(r io.Reader, yield func(keys []string, text string)) error {
	limited := &io.LimitedReader{R: r, N: maxFile}
	d := xml.NewDecoder(limited)
	d.Strict = true
	var keys []string // one a dictionary that is open
	var text strings.Builder
	depth, arrays := 0, 0
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			if depth > 0 {
				return errors.New("the property list ends in the middle")
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the property list: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			text.Reset()
			if depth++; depth > maxPlistDepth {
				return fault.New(fault.TooLarge, "the property list is nested more than %d deep", maxPlistDepth)
			}
			switch t.Name.Local {
			case "dict":
				keys = append(keys, "")
			case "array":
				arrays++
			}
		case xml.CharData:
			if text.Len()+len(t) <= maxLine {
				text.Write(t)
			}
		case xml.EndElement:
			if depth--; depth < 0 {
				return errors.New("the property list closes what it has not opened")
			}
			switch name := t.Name.Local; {
			case name == "array":
				arrays = max(arrays-1, 0)
			case name == "dict" && len(keys) > 0:
				keys = keys[:len(keys)-1]
			case name == "key" && len(keys) > 0:
				keys[len(keys)-1] = text.String()
			case len(keys) > 0 && arrays == 0 && name != "plist":
				yield(keys, text.String())
			}
			text.Reset()
		}
	}
}

// xbpsDir holds pkgdb-0.38.plist: a dictionary of packages by name.
const xbpsDir = "var/db/xbps"

var xbpsEssential = map[string]bool{
	"base-files": true, "base-minimal": true, "base-system": true, "bash": true, "coreutils": true, "dash": true, "glibc": true, "musl": true,
	"runit": true, "runit-void": true, "xbps": true,
}

// readXBPS reads the database of Void Linux (https://github.com/void-linux/xbps).
func readXBPS(s *scan) error {
	names, err := s.tree.names(xbpsDir)
	problems := []error{err}
	for _, name := range names {
		if !strings.HasPrefix(name, "pkgdb-") || !strings.HasSuffix(name, ".plist") {
			continue
		}
		s.found = true
		file, _, err := s.tree.open(xbpsDir + "/" + name)
		if err == nil {
			err = parseXBPS(file, s.addXBPS)
			file.Close()
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("read /%s/%s: %w", xbpsDir, name, err))
		}
	}
	return joinSome(problems)
}

// parseXBPS yields the fields of each package.
func parseXBPS(r io.Reader, yield func(name string, fields map[string]string)) error {
	name, fields := "", map[string]string{}
	end := func() {
		if name != "" && name[0] != '_' && fields["pkgver"] != "" { // _XBPS_ALTERNATIVES_ is no package
			yield(name, fields)
		}
		fields = map[string]string{}
	}
	err := plistTexts(r, func(keys []string, text string) {
		if len(keys) != 2 {
			return
		}
		if keys[0] != name {
			end()
			name = keys[0]
		}
		if len(fields) < 100 {
			fields[keys[1]] = text
		}
	})
	end()
	return err
}

func (s *scan) addXBPS(name string, f map[string]string) {
	version := strings.TrimPrefix(f["pkgver"], name+"-")
	condition := f["state"]
	if condition == "installed" {
		condition = ""
	}
	row := protocol.Software{
		Row: protocol.Row{Name: name}, Version: version, Publisher: f["maintainer"], Summary: f["short_desc"], Arch: f["architecture"],
		SizeBytes: number(f["installed_size"]), Essential: xbpsEssential[name], Condition: condition,
		InstalledAt: date("2006-01-02 15:04 MST", f["install-date"]),
	}
	s.add(Ref{Name: name, Version: version, Arch: f["architecture"]}, row)
}
