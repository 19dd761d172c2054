package software

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// The package managers of programming languages: only what an administrator installed for all users, in
// /usr/local and other places that a system's own packages leave alone.

// readPip reads the metadata of Python packages
// (https://packaging.python.org/specifications/recording-installed-packages).
func readPip(s *scan) error {
	var problems []error
	interpreters, err := s.tree.names("usr/local/lib")
	problems = append(problems, err)
	for _, python := range interpreters {
		if !strings.HasPrefix(python, "python3") {
			continue
		}
		for _, folder := range []string{"dist-packages", "site-packages"} {
			dir := path.Join("usr/local/lib", python, folder)
			names, err := s.tree.names(dir)
			problems = append(problems, err)
			for _, name := range names {
				if !strings.HasSuffix(name, ".dist-info") || s.ctx.Err() != nil {
					continue
				}
				file := path.Join(dir, name, "METADATA")
				data, err := s.tree.read(file)
				if missing(err) {
					continue
				}
				if err != nil {
					problems = append(problems, err)
					continue
				}
				row := parseMetadata(data)
				if info, err := s.tree.stat(file); err == nil {
					row.InstalledAt = seconds(info.ModTime().Unix())
				}
				s.add(Ref{Name: row.Name, Version: row.Version, Qualifiers: map[string]string{"python": strings.TrimPrefix(python, "python")}}, row)
			}
		}
	}
	return joinSome(problems)
}

// parseMetadata reads the fields of a METADATA file, up to the empty line before its text.
func parseMetadata(data []byte) protocol.Software {
	var row protocol.Software
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok {
			break
		}
		switch value = strings.TrimSpace(value); key {
		case "Name":
			row.Name = value
		case "Version":
			row.Version = value
		case "Summary":
			row.Summary = value
		case "Author":
			row.Publisher = value
		}
	}
	return row
}

// npmDirs hold what npm installed globally.
var npmDirs = []string{"usr/local/lib/node_modules"}

func readNpm(s *scan) error {
	var problems []error
	for _, dir := range npmDirs {
		names, err := s.tree.names(dir)
		problems = append(problems, err)
		for _, name := range names {
			switch {
			case s.ctx.Err() != nil || name[0] == '.':
			case name[0] == '@': // a scope
				scoped, err := s.tree.names(path.Join(dir, name))
				problems = append(problems, err)
				for _, inner := range scoped {
					problems = append(problems, s.addNpm(dir, name, inner))
				}
			default:
				problems = append(problems, s.addNpm(dir, "", name))
			}
		}
	}
	return joinSome(problems)
}

func (s *scan) addNpm(dir, scope, name string) error {
	full := path.Join(scope, name)
	file := path.Join(dir, full, "package.json")
	data, err := s.tree.read(file)
	if missing(err) {
		return nil
	}
	var p npmPackage
	if err == nil {
		p, err = parseNpm(data)
	}
	if err != nil {
		return fmt.Errorf("read npm package %.60q: %w", full, err)
	}
	row := protocol.Software{Row: protocol.Row{Name: full}, Version: p.Version, Summary: p.Description}
	if info, err := s.tree.stat(file); err == nil {
		row.InstalledAt = seconds(info.ModTime().Unix())
	}
	s.add(Ref{Namespace: scope, Name: name, Version: p.Version}, row)
	return nil
}

type npmPackage struct {
	Version     string `json:"version"`
	Description string `json:"description"`
}

func parseNpm(data []byte) (npmPackage, error) {
	var p npmPackage
	if err := json.Unmarshal(data, &p); err != nil {
		return npmPackage{}, err
	}
	return p, nil
}

// gemDirs hold a folder for each version of Ruby, where gem installed as root.
var gemDirs = []string{"var/lib/gems", "usr/local/lib/ruby/gems"}

// readGem reads the names of gem specifications, NAME-VERSION.gemspec; what is in them is a program.
func readGem(s *scan) error {
	var problems []error
	for _, dir := range gemDirs {
		rubies, err := s.tree.names(dir)
		problems = append(problems, err)
		for _, ruby := range rubies {
			specifications := path.Join(dir, ruby, "specifications")
			names, err := s.tree.names(specifications)
			problems = append(problems, err)
			for _, file := range names {
				text, ok := strings.CutSuffix(file, ".gemspec")
				if !ok {
					continue
				}
				name, version := splitVersion(text)
				row := protocol.Software{Row: protocol.Row{Name: name}, Version: version}
				if info, err := s.tree.stat(path.Join(specifications, file)); err == nil {
					row.InstalledAt = seconds(info.ModTime().Unix())
				}
				s.add(Ref{Name: name, Version: version, Qualifiers: map[string]string{"ruby": ruby}}, row)
			}
		}
	}
	return joinSome(problems)
}
