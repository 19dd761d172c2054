package deploy

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// check compares the package's requirements with this device.
func (d *deployment) check(context.Context) error {
	if r := d.doc.Requires; r != nil {
		if why := unmet(r, runtime.GOOS, runtime.GOARCH, buildinfo.Version); why != "" {
			return end(protocol.StateNotApplicable, protocol.ReasonRequirements, "%s", why)
		}
		if r.MinMemoryBytes > 0 {
			if have := facts.Read(nil).MemoryBytes; have > 0 && have < r.MinMemoryBytes {
				return end(protocol.StateNotApplicable, protocol.ReasonRequirements,
					"the package needs %d bytes of memory, this device has %d", r.MinMemoryBytes, have)
			}
		}
		if err := d.checkDisk(r.MinDiskBytes); err != nil {
			return err
		}
	}
	if d.doc.NeedsCleanBoot && d.rebootPending() {
		return d.wait(protocol.ReasonCleanBoot, "the package needs a freshly started computer, and a restart is pending")
	}
	return nil
}

// checkDisk: a disk that could never hold the package makes it not applicable, a full one makes it wait.
func (d *deployment) checkDisk(need int64) error {
	if need <= 0 {
		return nil
	}
	free, total, err := diskSpace(d.in.DataDir)
	if err != nil {
		return err
	}
	if total < need {
		return end(protocol.StateNotApplicable, protocol.ReasonRequirements, "the package needs %d bytes of disk, this disk has %d", need, total)
	}
	if free < need {
		return d.wait(protocol.ReasonDiskSpace, "the package needs %d bytes of free disk, there are %d", need, free)
	}
	return nil
}

// unmet says which requirement of the system a device does not meet; empty when all are met.
func unmet(r *instruction.Requirements, goos, goarch, version string) string {
	switch {
	case len(r.OS) > 0 && !slices.Contains(r.OS, goos):
		return "the package is for " + strings.Join(r.OS, ", ") + ", this device runs " + goos
	case len(r.Arch) > 0 && !slices.Contains(r.Arch, goarch):
		return "the package is for " + strings.Join(r.Arch, ", ") + ", this device is " + goarch
	case r.MinAgent != "" && older(version, r.MinAgent):
		return "the package needs agent " + r.MinAgent + ", this is " + version
	}
	return ""
}

// older compares versions as 1.2.3, ignoring what follows a dash or plus. A version that is no release,
// as that of a development build, is not older than anything.
func older(have, need string) bool {
	a, okA := release(have)
	b, okB := release(need)
	return okA && okB && slices.Compare(a, b) < 0
}

func release(version string) ([]int, bool) {
	version = strings.TrimPrefix(version, "v")
	if n := strings.IndexAny(version, "-+"); n >= 0 {
		version = version[:n]
	}
	parts := make([]int, 3)
	fields := strings.Split(version, ".")
	if len(fields) > len(parts) {
		return nil, false
	}
	for n, f := range fields {
		v, err := strconv.Atoi(f)
		if err != nil || v < 0 {
			return nil, false
		}
		parts[n] = v
	}
	return parts, true
}

// rebootFile holds the boot id during which a package asked for a restart.
const rebootFile = "reboot_needed"

func (d *deployment) rebootPending() bool {
	data, err := os.ReadFile(filepath.Join(d.in.DataDir, rebootFile))
	if err == nil && d.boot != "" && strings.TrimSpace(string(data)) == d.boot {
		return true
	}
	_, err = os.Stat("/var/run/reboot-required") // Debian and its children
	return err == nil && runtime.GOOS == "linux"
}

// noteReboot remembers the boot during which the command ran: one that has come since counts as the restart
// that the package asked for.
func (d *deployment) noteReboot() error {
	return atomicfile.Write(filepath.Join(d.in.DataDir, rebootFile), []byte(d.startedBoot()+"\n"), 0o600)
}

// cut shortens a text to at most limit bytes of valid UTF-8.
func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	at := limit - len("…")
	for !utf8.RuneStart(s[at]) {
		at--
	}
	return s[:at] + "…"
}
