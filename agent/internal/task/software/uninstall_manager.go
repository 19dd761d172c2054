package software

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// manager knows how the programs of one source are uninstalled. It changes nothing itself: it looks, and
// names the command that does it. A name reaches a command only if the source could have such a name, as an
// argument of its own behind "--".
type manager struct {
	source string
	// plan says what it takes to uninstall a program that is there and may go.
	plan func(context.Context, *uninstalling, target) (plan, error)
	// locks are the files on which the manager holds a lock while it works; marks those that are there then.
	locks, marks []string
	// again is the exit code with which it did not get to work, as when another one locked it out; 0 for none.
	again int
	// owner is the command that prints which package a file belongs to; nil where programs own no files.
	owner []string
}

// target is a program that is to go.
type target struct {
	row *protocol.Software
	ref Ref
}

// plan is what uninstalling takes.
type plan struct {
	argv   []string
	others []string // would go too, because they depend on it
	with   []string // go too, because only it needed them
}

var managers = []manager{
	{
		source: "dpkg", plan: planDpkg, locks: []string{"var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock"}, again: 2,
		owner: []string{"dpkg-query", "-S", "--"},
	},
	{
		source: "rpm", plan: planRPM, locks: []string{"var/lib/rpm/.rpm.lock", "usr/lib/sysimage/rpm/.rpm.lock"},
		owner: []string{"rpm", "-qf", "--qf", `%{NAME}\n`, "--"},
	},
	{source: "apk", plan: planAPK}, // waits for its lock itself
	{
		source: "pacman", plan: planPacman, marks: []string{"var/lib/pacman/db.lck"},
		owner: []string{"pacman", "-Qoq", "--"},
	},
	{source: "snap", plan: planSnap},
	{source: "flatpak", plan: planFlatpak},
}

// managerOf is nil for a source from which this agent cannot uninstall.
func managerOf(source string) *manager {
	for n := range managers {
		if managers[n].source == source {
			return &managers[n]
		}
	}
	return nil
}

// busy names who is at work with the manager at this moment; empty is nobody.
func (m *manager) busy(root string) string {
	for _, name := range m.locks {
		if holder := lockHolder(filepath.Join("/", root, name)); holder != "" {
			return holder + " holds /" + name
		}
	}
	for _, name := range m.marks {
		if _, err := os.Lstat(filepath.Join("/", root, name)); err == nil {
			return "/" + name + " is there"
		}
	}
	return ""
}

// name returns the name of a program if its source could have it. What comes here was found on the system,
// whose database need not be sound.
func (t target) name(name string, allowed *regexp.Regexp) (string, error) {
	if len(name) > maxName || !allowed.MatchString(name) {
		return "", fault.New(fault.Invalid, "%.60q is no name that a program of %s could have", name, t.row.Source)
	}
	return name, nil
}

// grammar is a regular expression that is compiled when it is needed: the resident agent, which is the same program
// and whose memory counts, never does.
func grammar(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// The grammars. None takes what begins with a dash, a space, or what a path or a pattern needs.
var (
	rpmName    = grammar(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)
	rpmVersion = grammar(`^[A-Za-z0-9._+~^-]+$`)
	apkName    = grammar(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`) // .virtual ones are not listed
	pacmanName = grammar(`^[A-Za-z0-9@_+][A-Za-z0-9@._+-]*$`)
	snapName   = grammar(`^[a-z0-9][a-z0-9_-]*$`)
	flatpakID  = grammar(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	digits     = grammar(`^[0-9]+$`)
)

// neededBy is what rpm writes of each package that stands in the way, and needs pacman's.
var (
	neededBy   = grammar(`(?m)is needed by \(installed\) (\S+)$`)
	requiredBy = grammar(`(?m)^:: removing .* breaks dependency .* required by (\S+)$`)
)

func matches(text string, pattern *regexp.Regexp) []string {
	var out []string
	for _, m := range pattern.FindAllStringSubmatch(text, protocol.MaxSectionRows) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// refusal is the error of a look that did not say who stands in the way.
func refusal(s *proc.Status, argv ...string) error {
	return fmt.Errorf("%s refuses (%s): %s", strings.Join(argv, " "), ending(s), strings.Join(strings.Fields(tail(s.Output, 400)), " "))
}

// planRPM names version and architecture, too: several of one name may be installed, as of kernels.
func planRPM(ctx context.Context, u *uninstalling, t target) (plan, error) {
	name, err := t.name(t.ref.Name, rpmName())
	if err != nil {
		return plan{}, err
	}
	version, err := t.name(t.ref.Version, rpmVersion())
	if err != nil {
		return plan{}, err
	}
	if epoch := t.ref.Qualifiers["epoch"]; epoch != "" && digits().MatchString(epoch) {
		version = epoch + ":" + version
	}
	full := name + "-" + version
	if t.ref.Arch != "" && rpmName().MatchString(t.ref.Arch) {
		full += "." + t.ref.Arch
	}
	look := []string{"rpm", "-e", "--test", "--", full}
	status, err := u.dry(ctx, look...)
	if err != nil {
		return plan{}, err
	}
	p := plan{argv: []string{"rpm", "-e", "--", full}, others: matches(status.Output, neededBy())}
	for n, other := range p.others {
		p.others[n] = rpmShort(other)
	}
	if status.ExitCode != 0 && len(p.others) == 0 {
		return plan{}, refusal(status, look...)
	}
	return p, nil
}

// rpmShort is the name in name-version-release.arch.
func rpmShort(full string) string {
	for range 2 {
		if i := strings.LastIndexByte(full, '-'); i > 0 {
			full = full[:i]
		}
	}
	return full
}

// planAPK asks apk what it would purge. It keeps what others need, and takes what only this one needed.
func planAPK(ctx context.Context, u *uninstalling, t target) (plan, error) {
	name, err := t.name(t.row.Name, apkName())
	if err != nil {
		return plan{}, err
	}
	look := []string{"apk", "del", "--simulate", "--no-progress", "--", name}
	status, err := u.dry(ctx, look...)
	if err != nil {
		return plan{}, err
	}
	purged, kept := apkAnswer(status.Output, name)
	switch {
	case len(kept) > 0:
		return plan{others: kept}, nil
	case status.ExitCode != 0, !slices.Contains(purged, name):
		return plan{}, refusal(status, look...)
	}
	purged = slices.DeleteFunc(purged, func(other string) bool { return other == name })
	return plan{argv: []string{"apk", "del", "--no-progress", "--wait", "300", "--", name}, with: purged}, nil
}

var (
	apkPurging = grammar(`(?m)^\( *\d+/\d+\) Purging (\S+) \(`)
	apkKept    = grammar(`^  (\S+):((?: \S+)*)$`)
)

// apkAnswer reads what apk would purge, and which others need the package that it would keep: a line
// "  NAME: OTHER OTHER", with more of them in further lines, indented deeper.
func apkAnswer(text, name string) (purged, needed []string) {
	purged = matches(text, apkPurging())
	about := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n ")
		others := line
		if m := apkKept().FindStringSubmatch(line); m != nil {
			about, others = m[1], m[2]
		} else if !strings.HasPrefix(line, "    ") {
			about = ""
		}
		if about == name {
			needed = append(needed, strings.Fields(others)...)
		}
	}
	slices.Sort(needed)
	needed = slices.DeleteFunc(slices.Compact(needed), func(other string) bool { return other == name })
	return purged, needed
}

func planPacman(ctx context.Context, u *uninstalling, t target) (plan, error) {
	name, err := t.name(t.row.Name, pacmanName())
	if err != nil {
		return plan{}, err
	}
	look := []string{"pacman", "-R", "--print", "--print-format", "%n", "--", name}
	status, err := u.dry(ctx, look...)
	if err != nil {
		return plan{}, err
	}
	p := plan{argv: []string{"pacman", "-R", "--noconfirm", "--", name}, others: matches(status.Output, requiredBy())}
	if status.ExitCode != 0 && len(p.others) == 0 {
		return plan{}, refusal(status, look...)
	}
	return p, nil
}

// planSnap leaves it to snapd to refuse what others need.
func planSnap(_ context.Context, _ *uninstalling, t target) (plan, error) {
	name, err := t.name(t.ref.Name, snapName())
	if err != nil {
		return plan{}, err
	}
	return plan{argv: []string{"snap", "remove", "--", name}}, nil
}

// planFlatpak uninstalls from the system's installation; flatpak itself would take a runtime away from the
// applications that run in it.
func planFlatpak(ctx context.Context, u *uninstalling, t target) (plan, error) {
	if t.ref.Qualifiers["user"] != "" {
		return plan{}, fault.New(fault.Unsupported, "it belongs to the user %.40q, not to the computer", t.ref.Qualifiers["user"])
	}
	id, err := t.name(t.ref.Name, flatpakID())
	if err != nil {
		return plan{}, err
	}
	full := id
	for _, part := range []string{t.ref.Arch, t.ref.Qualifiers["branch"]} {
		if part != "" {
			if part, err = t.name(part, flatpakID()); err != nil {
				return plan{}, err
			}
		}
		full += "/" + part
	}
	look := []string{"flatpak", "list", "--system", "--app", "--columns=application,runtime"}
	status, err := u.dry(ctx, look...)
	if err != nil {
		return plan{}, err
	}
	if status.ExitCode != 0 {
		return plan{}, refusal(status, look...)
	}
	p := plan{argv: []string{"flatpak", "uninstall", "--system", "--noninteractive", "-y", "--", full}}
	for line := range strings.Lines(status.Output) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == full {
			p.others = append(p.others, f[0])
		}
	}
	return p, nil
}
