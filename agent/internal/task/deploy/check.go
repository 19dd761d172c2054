package deploy

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/agent/internal/task/fetch"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
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
	free, total, err := fetch.DiskSpace(d.in.DataDir)
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

// older reports whether an agent's version is lower than the one that is needed. A version that is none, as
// that of a build by hand, is not older than anything.
func older(have, need string) bool {
	return release.IsVersion(have) && release.IsVersion(need) && release.Compare(have, need) < 0
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
