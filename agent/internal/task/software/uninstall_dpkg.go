package software

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster/muster/packages/fault"
)

// Names of Debian packages and architectures (Debian policy, 5.6.1 and 11.1).
var (
	dpkgName = grammar(`^[a-z0-9][a-z0-9+.-]+$`)
	dpkgArch = grammar(`^[a-z0-9][a-z0-9-]*$`)
)

// planDpkg finds who would have to go too in dpkg's own database. dpkg itself removes nothing but what it
// is told, half-configured packages too, and refuses when another one needs it.
func planDpkg(_ context.Context, u *uninstalling, t target) (plan, error) {
	name, err := t.name(t.row.Name, dpkgName())
	if err != nil {
		return plan{}, err
	}
	arg := name
	if t.row.Arch != "" && t.row.Arch != "all" {
		arch, err := t.name(t.row.Arch, dpkgArch())
		if err != nil {
			return plan{}, err
		}
		arg = name + ":" + arch
	}
	all, err := readRelations(u.Root)
	if err != nil {
		return plan{}, fmt.Errorf("look who needs %s: %w", name, err)
	}
	argv := []string{"dpkg", "--remove", "--", arg}
	if u.Root != "" {
		argv = slices.Insert(argv, 1, "--root="+filepath.Clean(u.Root))
	}
	return plan{argv: argv, others: dependants(all, name, t.row.Arch)}, nil
}

// readRelations reads the status file, and over it what dpkg has noted since, as readDpkg does.
func readRelations(root string) ([]relations, error) {
	files, err := openTree(root)
	if err != nil {
		return nil, err
	}
	defer files.close()
	updates, err := files.names(dpkgDir + "/updates")
	if err != nil {
		return nil, err
	}
	var all []relations
	at := map[[2]string]int{}
	for n, name := range append([]string{"status"}, updates...) {
		if n > 0 {
			if !digits().MatchString(name) { // what dpkg is about to write
				continue
			}
			name = "updates/" + name
		}
		file, _, err := files.open(dpkgDir + "/" + name)
		if missing(err) && n > 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = parseRelations(file, func(p relations) {
			if i, ok := at[[2]string{p.name, p.arch}]; ok {
				all[i] = p
			} else if len(all) < maxStanzas {
				at[[2]string{p.name, p.arch}] = len(all)
				all = append(all, p)
			}
		})
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("read /%s/%s: %w", dpkgDir, name, err)
		}
	}
	if len(all) == maxStanzas {
		return nil, fault.New(fault.TooLarge, "dpkg's database has more than %d packages", maxStanzas)
	}
	return slices.DeleteFunc(all, func(p relations) bool { return !p.there }), nil
}

// relations is what a stanza of dpkg's status file says of the package's part among the others.
type relations struct {
	name, arch string
	there      bool
	foreign    bool       // serves packages of other architectures
	needs      [][]string // each list needs one of its names
	provides   []string
}

// maxStanzas bounds the packages of a status file, and maxRelations the names that one of them relates to.
const (
	maxStanzas   = 100_000
	maxRelations = 2_000
)

// parseRelations reads stanzas. dpkg writes each relation in one line.
func parseRelations(r io.Reader, yield func(relations)) error {
	var p relations
	end := func() {
		if p.name != "" {
			yield(p)
		}
		p = relations{}
	}
	err := lines(r, func(line []byte) {
		colon := indexColon(line)
		if len(line) == 0 {
			end()
		}
		if colon < 0 || line[0] == ' ' || line[0] == '\t' {
			return
		}
		value := strings.TrimSpace(string(line[colon+1:]))
		switch string(line[:colon]) {
		case "Package":
			p.name = value
		case "Architecture":
			p.arch = value
		case "Multi-Arch":
			p.foreign = value == "foreign"
		case "Status":
			p.there = !strings.HasSuffix(value, " config-files") && !strings.HasSuffix(value, " not-installed")
		case "Depends", "Pre-Depends":
			for clause := range strings.SplitSeq(value, ",") {
				if len(p.needs) < maxRelations {
					p.needs = append(p.needs, relationNames(clause, "|"))
				}
			}
		case "Provides":
			p.provides = relationNames(value, ",")
		}
	})
	end()
	return err
}

// relationNames are the names in a list as "one (>= 2) | two:any". An architecture that a name is bound to
// stays with it.
func relationNames(list, separator string) []string {
	var names []string
	for part := range strings.SplitSeq(list, separator) {
		if end := strings.IndexAny(part, "([<"); end >= 0 {
			part = part[:end]
		}
		if part = strings.TrimSpace(part); part != "" && len(names) < maxRelations {
			names = append(names, part)
		}
	}
	return names
}

// dependants are the packages that would have to go with the named one, and those that would have to go with
// them: of each some need has nobody left who serves it. Versions are not looked at, so that it may miss
// one; dpkg refuses then.
func dependants(all []relations, name, arch string) []string {
	servers := map[string][]int{} // who serves a name
	for n, p := range all {
		servers[p.name] = append(servers[p.name], n)
		for _, also := range p.provides {
			if also != p.name {
				servers[also] = append(servers[also], n)
			}
		}
	}
	leaves := make([]bool, len(all))
	for n, p := range all {
		leaves[n] = p.name == name && (p.arch == arch || arch == "")
	}
	var others []string
	for again := true; again; {
		again = false
		for n, p := range all {
			if !leaves[n] && slices.ContainsFunc(p.needs, func(need []string) bool { return lost(all, servers, leaves, p, need) }) {
				leaves[n], again = true, true
				others = append(others, p.name)
			}
		}
	}
	slices.Sort(others)
	return slices.Compact(others)
}

// lost reports that a need of p was served, and is served no more.
func lost(all []relations, servers map[string][]int, leaves []bool, p relations, need []string) bool {
	was := false
	for _, name := range need {
		name, bound, _ := strings.Cut(name, ":")
		for _, n := range servers[name] {
			s := all[n]
			if s.arch != p.arch && s.arch != "all" && p.arch != "all" && !s.foreign && bound == "" {
				continue
			}
			if !leaves[n] {
				return false
			}
			was = true
		}
	}
	return was
}
