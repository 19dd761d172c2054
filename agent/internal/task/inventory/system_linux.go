package inventory

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// findSystem describes the computer as a whole.
func findSystem(_ context.Context, h *host) ([]protocol.System, error) {
	release := h.OSRelease()
	memory := h.Bytes("proc/meminfo")
	s := protocol.System{
		Row:    protocol.Row{Key: "system", Name: h.First("proc/sys/kernel/hostname", "etc/hostname")},
		OS:     "linux",
		OSName: release.Name, OSVersion: release.Version, OSID: release.ID,
		Kernel: h.Line("proc/sys/kernel/osrelease"), Arch: h.arch, MachineID: h.MachineID(), Timezone: h.Timezone(),
		Virtualisation: h.Virtualisation(), Chassis: h.chassis(), Init: h.init(),
		MemoryBytes: sysread.Memory(memory, "MemTotal"), SwapBytes: sysread.Memory(memory, "SwapTotal"),
		InstalledAt: h.installed(), AgentVersion: h.agent,
	}
	s.Domain = domain(s.Name, string(h.Bytes("etc/hosts")), string(h.Bytes("etc/resolv.conf")))
	if at := h.BootTime(); !at.IsZero() {
		at = at.UTC().Truncate(time.Minute) // a clock that is set by some seconds is no news
		s.BootedAt = &at
	}
	return []protocol.System{s}, nil
}

// domain is the computer's DNS domain: of its own name, of the full name that hosts(5) gives it, or of
// resolv.conf(5). What a network hands out for searching is not the computer's.
func domain(name, hosts, resolv string) string {
	if _, d, ok := strings.Cut(name, "."); ok {
		return d
	}
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		for i, word := range strings.Fields(line) {
			if d, ok := strings.CutPrefix(word, name+"."); ok && i > 0 && name != "" && d != "localdomain" {
				return d
			}
		}
	}
	for line := range strings.Lines(resolv) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "domain" {
			return f[1]
		}
	}
	return ""
}

// installed is when the operating system was: the time of a file that installers write once.
func (h *host) installed() *time.Time {
	for _, path := range []string{
		"var/log/installer", "root/anaconda-ks.cfg", "root/original-ks.cfg", "var/lib/YaST2/install.inf", "var/adm/autoinstall/logs",
		"etc/ssh/ssh_host_rsa_key.pub", "etc/ssh/ssh_host_ed25519_key.pub", "etc/machine-id",
	} {
		if st, err := os.Stat(h.Path(path)); err == nil && st.ModTime().Unix() > 0 {
			at := st.ModTime().UTC().Truncate(time.Second)
			return &at
		}
	}
	return nil
}

// init is the program that runs the services.
func (h *host) init() string {
	switch {
	case h.Exists("run/systemd/system"):
		return "systemd"
	case h.Exists("run/openrc"):
		return "openrc"
	case h.Exists("run/runit"):
		return "runit"
	case h.Exists("run/s6"):
		return "s6"
	}
	return h.Line("proc/1/comm")
}

// chassis is the computer's form by the firmware; of one that says nothing useful, a laptop by its
// battery.
func (h *host) chassis() string {
	if c := chassisName(h.Line("sys/class/dmi/id/chassis_type")); c != "" {
		return c
	}
	for _, name := range h.Names("sys/class/power_supply") {
		if h.ownBattery(name) {
			return "laptop"
		}
	}
	return ""
}
