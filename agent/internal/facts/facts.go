// Package facts reads what a device tells about itself: name, system, processor, memory, addresses. It
// reads files and system calls directly, starts nothing and keeps nothing, so the resident may call it
// at every check-in. What cannot be read stays empty.
package facts

import (
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/protocol"
)

// Limits that the server holds facts to.
const (
	maxText      = 500 // bytes of one text
	maxAddresses = 64  // addresses of one kind
)

// Read collects the facts. allowed are the kinds of task that the server it is for may ask for.
func Read(allowed []string) protocol.Facts {
	f := protocol.Facts{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(),
		AgentVersion: buildinfo.Version, TasksAllowed: slices.Clone(allowed), Privileged: privileged(),
	}
	if f.TasksAllowed == nil {
		f.TasksAllowed = []string{}
	}
	f.Hostname, _ = os.Hostname()
	f.Timezone = timezone(time.Now())
	f.IPs, f.MACs = addresses()
	system(&f)
	f.BootID, f.BootedAt = BootID(), f.BootedAt.UTC().Truncate(time.Second)
	for _, s := range []*string{&f.Hostname, &f.OSName, &f.OSVersion, &f.Kernel, &f.CPU, &f.MachineID, &f.Timezone} {
		*s = clean(*s)
	}
	return f
}

// clean makes a text of the system fit for the wire.
func clean(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= maxText {
		return s
	}
	for cut := maxText; ; cut-- {
		if utf8.RuneStart(s[cut]) {
			return s[:cut]
		}
	}
}

func timezone(now time.Time) string {
	if name := now.Location().String(); name != "Local" {
		return name
	}
	if target, err := os.Readlink("/etc/localtime"); err == nil {
		if _, zone, ok := strings.Cut(target, "/zoneinfo/"); ok {
			return zone
		}
	}
	name, _ := now.Zone()
	return name
}

// addresses lists the addresses of interfaces that are up, without loopback and link-local ones.
func addresses() (ips, macs []string) {
	ips, macs = []string{}, []string{}
	interfaces, err := net.Interfaces()
	if err != nil {
		return ips, macs
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		if mac := i.HardwareAddr.String(); mac != "" && len(macs) < maxAddresses {
			macs = append(macs, mac)
		}
		list, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range list {
			n, ok := a.(*net.IPNet)
			if ok && n.IP.IsGlobalUnicast() && len(ips) < maxAddresses {
				ips = append(ips, n.IP.String())
			}
		}
	}
	slices.Sort(ips)
	slices.Sort(macs)
	return slices.Compact(ips), slices.Compact(macs)
}
