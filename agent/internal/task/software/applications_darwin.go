package software

import (
	"bytes"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// applicationDirs hold programs for all users; folders in them are looked into once.
var applicationDirs = []string{"Applications", "Applications/Utilities", "System/Applications", "System/Applications/Utilities"}

// readApplications reads the Info.plist of each program
// (https://developer.apple.com/documentation/bundleresources/information-property-list), and the receipts of
// what packages installed beside programs.
func readApplications(s *scan) error {
	var problems []error
	for _, dir := range applicationDirs {
		names, err := s.tree.names(dir)
		problems = append(problems, err)
		for _, name := range names {
			if strings.HasSuffix(name, ".app") && s.ctx.Err() == nil {
				problems = append(problems, s.addApplication(dir, name))
			}
		}
	}
	const receipts = "private/var/db/receipts"
	names, err := s.tree.names(receipts)
	problems = append(problems, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".plist") && !strings.HasPrefix(name, "com.apple.") && s.ctx.Err() == nil {
			problems = append(problems, s.addReceipt(receipts+"/"+name))
		}
	}
	return joinSome(problems)
}

// properties are the texts at the top of a property list; one in Apple's binary form is converted by
// plutil.
func (s *scan) properties(name string) (map[string]string, error) {
	data, err := s.tree.read(name)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data, []byte("bplist")) {
		file := filepath.Join(s.tree.dir, filepath.FromSlash(name))
		if data, err = s.Run(s.ctx, "/usr/bin/plutil", "-convert", "xml1", "-o", "-", "--", file); err != nil {
			return nil, err
		}
	}
	fields := map[string]string{}
	err = plistTexts(bytes.NewReader(data), func(keys []string, text string) {
		if len(keys) == 1 && len(fields) < 1000 {
			fields[keys[0]] = text
		}
	})
	return fields, err
}

func (s *scan) addApplication(dir, name string) error {
	file := path.Join(dir, name, "Contents/Info.plist")
	f, err := s.properties(file)
	if missing(err) {
		return nil
	}
	s.found = true
	if err != nil {
		return fmt.Errorf("read /%s: %w", file, err)
	}
	version := f["CFBundleShortVersionString"]
	if version == "" {
		version = f["CFBundleVersion"]
	}
	row := protocol.Software{
		Row: protocol.Row{Name: strings.TrimSuffix(name, ".app")}, Version: version, Publisher: publisherOf(f["CFBundleIdentifier"]),
		Summary: f["NSHumanReadableCopyright"], Essential: strings.HasPrefix(dir, "System/"),
	}
	if info, err := s.tree.stat(path.Join(dir, name)); err == nil {
		row.InstalledAt = seconds(info.ModTime().Unix())
	}
	s.add(Ref{Name: row.Name, Version: version, Qualifiers: map[string]string{"id": f["CFBundleIdentifier"]}}, row)
	return nil
}

func (s *scan) addReceipt(file string) error {
	f, err := s.properties(file)
	if err != nil || f["PackageIdentifier"] == "" {
		if missing(err) {
			err = nil
		}
		return err
	}
	id, version := f["PackageIdentifier"], f["PackageVersion"]
	s.add(Ref{Name: id, Version: version, Qualifiers: map[string]string{"kind": "receipt"}}, protocol.Software{
		Row: protocol.Row{Name: id}, Version: version, Publisher: publisherOf(id), InstalledAt: date("2006-01-02T15:04:05Z", f["InstallDate"]),
	})
	return nil
}

// publisherOf is the domain at the front of a bundle's identifier, as org.mozilla of org.mozilla.firefox.
func publisherOf(id string) string {
	parts := strings.Split(id, ".")
	if len(parts) < 3 {
		return ""
	}
	return parts[0] + "." + parts[1]
}
