package instruction

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Limits of lists that have no constant of their own.
const (
	maxFragments = 8192
	maxExitCodes = 256
	maxList      = 64
	maxText      = 4 << 10 // bytes of a path, a notice, an environment key
	maxSerial    = 1 << 53 // exact in every JSON reader
)

// problems collects faults, so that an author sees all of them at once.
type problems struct{ list []error }

func (p *problems) add(field, format string, args ...any) {
	p.list = append(p.list, fault.Field(field, format, args...))
}

// Validate returns all problems of the document joined, each a fault with the field's name, or nil.
func (i *Instruction) Validate() error {
	var p problems
	i.checkHead(&p)
	i.checkAction(&p)
	if i.Archive != nil {
		i.Archive.check(&p, "archive")
	}
	i.checkCommand(&p)
	i.checkPolicies(&p)
	i.checkDetect(&p)
	i.checkRequires(&p)
	i.checkCarried(&p)
	return errors.Join(p.list...)
}

func (i *Instruction) checkHead(p *problems) {
	if i.Format != Format {
		p.add("format", "the format is %d, it must be %d", i.Format, Format)
	}
	if !isUUID(i.ID) {
		p.add("id", "the id %q is not a lower-case UUID", short(i.ID))
	}
	checkWord(p, "name", i.Name, MaxName)
	checkWord(p, "version", i.Version, MaxVersion)
	if i.Serial == 0 || i.Serial > maxSerial {
		p.add("serial", "the serial %d is not between 1 and %d", i.Serial, uint64(maxSerial))
	}
	if i.Priority < 0 || i.Priority > MaxPriority {
		p.add("priority", "the priority %d is not between 0 and %d", i.Priority, MaxPriority)
	}
	if i.IssuedAt.IsZero() {
		p.add("issued_at", "the issue time is missing")
	}
	if !i.ExpiresAt.After(i.IssuedAt) {
		p.add("expires_at", "the expiry time is not after the issue time")
	}
	if y := i.ExpiresAt.Year(); y > 9999 || i.IssuedAt.Year() < 1970 {
		p.add("expires_at", "the times are out of range")
	}
}

// checkAction holds what each action needs and what has no meaning for it.
func (i *Instruction) checkAction(p *problems) {
	switch i.Action {
	case Launch:
		if i.Archive == nil {
			p.add("archive", "launch needs an archive: the command is a file inside it")
		}
		if len(i.Command) > 0 && !isArchivePath(i.Command[0]) {
			p.add("command[0]", "%q is not the path of a file inside the archive: use forward slashes, no leading slash and no \"..\"", short(i.Command[0]))
		}
	case Execute:
	case Store:
		i.checkStore(p)
		return
	default:
		p.add("action", "the action %q is not one of launch, execute, store", short(string(i.Action)))
		return
	}
	if len(i.Command) == 0 {
		p.add("command", "%s needs a command", i.Action)
	}
	if i.StorePath != "" {
		p.add("store_path", "a store path has no meaning for %s", i.Action)
	}
}

func (i *Instruction) checkStore(p *problems) {
	if i.Archive == nil {
		p.add("archive", "store needs an archive: its contents are what is stored")
	}
	if len(i.Command) > 0 {
		p.add("command", "store runs no command")
	}
	if len(i.ExitCodes) > 0 {
		p.add("exit_codes", "store runs no command, so there are no exit codes")
	}
	if len(i.Env) > 0 {
		p.add("env", "store runs no command, so there is no environment")
	}
	if !IsDevicePath(i.StorePath) {
		p.add("store_path", "%q is not an absolute path of a device without \"..\"", short(i.StorePath))
	}
}

// Validate returns all problems of the description joined, each a fault with the field's name below
// field, or nil.
func (a *Archive) Validate(field string) error {
	var p problems
	a.check(&p, field)
	return errors.Join(p.list...)
}

func (a *Archive) check(p *problems, field string) {
	if a.Format != "zip" && a.Format != "tar.gz" {
		p.add(field+".format", "the format %q is not zip or tar.gz", short(a.Format))
	}
	if a.Size < 1 || a.Size > MaxArchive {
		p.add(field+".size", "the size of %d bytes is not between 1 and %d", a.Size, int64(MaxArchive))
	}
	if !protocol.IsSHA256(a.SHA256) {
		p.add(field+".sha256", "%q is not a SHA-256 digest in lower-case hex", short(a.SHA256))
	}
	if len(a.Fragments) == 0 || len(a.Fragments) > maxFragments {
		p.add(field+".fragments", "%d fragments are not between 1 and %d", len(a.Fragments), maxFragments)
		return
	}
	var sum int64
	for n, f := range a.Fragments {
		if !protocol.IsSHA256(f.SHA256) {
			p.add(fmt.Sprintf("%s.fragments[%d].sha256", field, n), "%q is not a SHA-256 digest in lower-case hex", short(f.SHA256))
			return
		}
		if f.Length < 1 || f.Length > protocol.MaxFragment {
			p.add(fmt.Sprintf("%s.fragments[%d].length", field, n), "the length of %d bytes is not between 1 and %d", f.Length, protocol.MaxFragment)
			return
		}
		sum += f.Length
	}
	if sum != a.Size {
		p.add(field+".fragments", "the fragments hold %d bytes, the archive %d", sum, a.Size)
	}
}

func (i *Instruction) checkCommand(p *problems) {
	checkArgs(p, "command", i.Command)
	if s := i.TimeLimitSeconds; s < 1 || s > int(MaxTimeLimit/time.Second) {
		p.add("time_limit_seconds", "the time limit of %d seconds is not between 1 and %d", s, int(MaxTimeLimit/time.Second))
	}
	if len(i.Env) > MaxEnv {
		p.add("env", "%d environment variables are more than %d", len(i.Env), MaxEnv)
	}
	seen := map[string]bool{}
	for _, k := range slices.Sorted(maps.Keys(i.Env)) {
		v := i.Env[k]
		if k == "" || strings.ContainsAny(k, "=\x00") || !isText(k, maxText) {
			p.add("env", "%q is not the name of an environment variable", short(k))
		}
		if strings.Contains(v, "\x00") || !isText(v, MaxArg) {
			p.add("env", "the value of %q holds a NUL or broken text, or is longer than %d bytes", short(k), MaxArg)
		}
		// Names differ in case only: one variable on Windows, two elsewhere.
		if low := strings.ToLower(k); seen[low] {
			p.add("env", "%q is there twice, in different case", short(k))
		} else {
			seen[low] = true
		}
	}
	if len(i.ExitCodes) > maxExitCodes {
		p.add("exit_codes", "%d exit codes are more than %d", len(i.ExitCodes), maxExitCodes)
		return
	}
	codes := map[int]bool{}
	for n, e := range i.ExitCodes {
		i.checkExitCode(p, n, e, codes)
	}
}

func (i *Instruction) checkExitCode(p *problems, n int, e ExitCode, seen map[int]bool) {
	field := fmt.Sprintf("exit_codes[%d]", n)
	if int64(e.Code) < -1<<31 || int64(e.Code) > 1<<32-1 {
		p.add(field+".code", "%d is not an exit code", e.Code)
	}
	if seen[e.Code] {
		p.add(field+".code", "the exit code %d is mapped twice", e.Code)
	}
	seen[e.Code] = true
	switch e.Outcome {
	case OutcomeSuccess, OutcomeReboot, OutcomeRetry, OutcomeFailure:
	default:
		p.add(field+".outcome", "the outcome %q is not one of success, reboot, retry, failure", short(string(e.Outcome)))
	}
}

func (i *Instruction) checkPolicies(p *problems) {
	if r := i.Retry; r != nil {
		if r.Attempts < 1 || r.Attempts > 100 {
			p.add("retry.attempts", "%d attempts are not between 1 and 100", r.Attempts)
		}
		if r.DelaySeconds < 0 || r.DelaySeconds > 3600 {
			p.add("retry.delay_seconds", "a delay of %d seconds is not between 0 and 3600", r.DelaySeconds)
		}
	}
	switch i.Rerun {
	case "", RerunNever, RerunSafe:
	default:
		p.add("rerun", "%q is not never or safe", short(string(i.Rerun)))
	}
}

func (i *Instruction) checkDetect(p *problems) {
	d := i.Detect
	if d == nil {
		return
	}
	rules := 0
	if d.Software != nil {
		rules++
		checkWord(p, "detect.software.name", d.Software.Name, MaxName*2)
		if d.Software.Version != "" {
			checkWord(p, "detect.software.version", d.Software.Version, MaxName*2)
		}
	}
	if d.File != nil {
		rules++
		if !IsDevicePath(d.File.Path) {
			p.add("detect.file.path", "%q is not an absolute path of a device without \"..\"", short(d.File.Path))
		}
		if d.File.SHA256 != "" && !protocol.IsSHA256(d.File.SHA256) {
			p.add("detect.file.sha256", "%q is not a SHA-256 digest in lower-case hex", short(d.File.SHA256))
		}
	}
	if len(d.Command) > 0 {
		rules++
		checkArgs(p, "detect.command", d.Command)
	}
	if rules != 1 {
		p.add("detect", "exactly one of software, file and command is needed, there are %d", rules)
	}
}

func (i *Instruction) checkRequires(p *problems) {
	r := i.Requires
	if r == nil {
		return
	}
	checkPlatforms(p, "requires.os", r.OS)
	checkPlatforms(p, "requires.arch", r.Arch)
	if r.MinDiskBytes < 0 {
		p.add("requires.min_disk_bytes", "%d is below 0", r.MinDiskBytes)
	}
	if r.MinMemoryBytes < 0 {
		p.add("requires.min_memory_bytes", "%d is below 0", r.MinMemoryBytes)
	}
	if r.MinAgent != "" && !isRelease(r.MinAgent) {
		p.add("requires.min_agent", "%q is not a version such as 1.4.0", short(r.MinAgent))
	}
}

func checkPlatforms(p *problems, field string, list []string) {
	if len(list) > maxList {
		p.add(field, "%d entries are more than %d", len(list), maxList)
		return
	}
	for _, w := range list {
		if w == "" || len(w) > 32 || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			p.add(field, "%q is not a name such as linux or amd64", short(w))
		}
	}
}

// checkCarried holds the rule for fields that only later agents implement: whoever sets one says that
// it is critical, so that no agent runs the document without it.
func (i *Instruction) checkCarried(p *problems) {
	carried := []struct {
		name string
		set  bool
	}{
		{"reboot", i.Reboot != ""}, {"notice", i.Notice != ""},
		{"supersedes", len(i.Supersedes) > 0}, {"depends_on", len(i.DependsOn) > 0},
	}
	for _, c := range carried {
		if c.set && !slices.Contains(i.Critical, c.name) {
			p.add(c.name, "%s must also be listed in critical", c.name)
		}
	}
	if len(i.Critical) > maxList {
		p.add("critical", "%d entries are more than %d", len(i.Critical), maxList)
	}
	if len(i.Supersedes) > maxList || len(i.DependsOn) > maxList {
		p.add("depends_on", "more than %d packages are named", maxList)
	}
}

func checkArgs(p *problems, field string, args []string) {
	if len(args) > MaxArgs {
		p.add(field, "%d arguments are more than %d", len(args), MaxArgs)
		return
	}
	for n, a := range args {
		at := fmt.Sprintf("%s[%d]", field, n)
		if n == 0 && strings.TrimSpace(a) == "" {
			p.add(at, "the program's name is empty")
		}
		if strings.Contains(a, "\x00") || !isText(a, MaxArg) {
			p.add(at, "the argument holds a NUL or broken text, or is longer than %d bytes", MaxArg)
		}
	}
}

// checkWord holds for names that people read in lists: no control characters, no blanks around.
func checkWord(p *problems, field, s string, limit int) {
	switch {
	case s == "":
		p.add(field, "the %s is missing", label(field))
	case !utf8.ValidString(s) || utf8.RuneCountInString(s) > limit:
		p.add(field, "the %s is longer than %d characters or broken text", label(field), limit)
	case strings.TrimSpace(s) != s:
		p.add(field, "the %s %q starts or ends with a blank", label(field), short(s))
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		p.add(field, "the %s %q holds a character that cannot be shown", label(field), short(s))
	}
}

func label(field string) string { return field[strings.LastIndexByte(field, '.')+1:] }

func isText(s string, limit int) bool { return len(s) <= limit && utf8.ValidString(s) }

// isArchivePath reports whether s names a file inside an archive on every system.
func isArchivePath(s string) bool {
	return s != "." && fs.ValidPath(s) && !strings.ContainsAny(s, "\\:\x00") && isText(s, maxText)
}

// IsDevicePath reports whether s is an absolute path of some system, POSIX ("/opt/x") or Windows
// ("C:\x", "C:/x"), without "..", NUL or doubled separators. The device checks the rest.
func IsDevicePath(s string) bool {
	if s == "" || !isText(s, maxText) || strings.Contains(s, "\x00") {
		return false
	}
	rest, posix := strings.CutPrefix(s, "/")
	if !posix {
		if len(s) < 3 || s[1] != ':' || !isLetter(s[0]) || (s[2] != '\\' && s[2] != '/') {
			return false
		}
		rest = strings.ReplaceAll(s[3:], "\\", "/")
		if strings.Contains(rest, ":") { // an alternate data stream
			return false
		}
	}
	rest = strings.TrimSuffix(rest, "/")
	return rest == "" || (fs.ValidPath(rest) && rest != ".")
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isUUID reports whether s is a UUID in lower-case canonical form.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for n := range len(s) {
		switch c := s[n]; n {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// isRelease reports whether s is MAJOR.MINOR.PATCH in digits, with an optional -pre part.
func isRelease(s string) bool {
	core, _, _ := strings.Cut(strings.TrimPrefix(s, "v"), "-")
	parts := strings.Split(core, ".")
	if len(parts) != 3 || len(s) > MaxVersion {
		return false
	}
	for _, part := range parts {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}

// short keeps hostile values out of messages at full length.
func short(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
