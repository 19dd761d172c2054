// Package facts reads what a device tells about itself: name, system, processor, memory, addresses. It
// reads files and system calls directly, starts nothing and keeps nothing, so the resident may call it
// at every check-in. What cannot be read stays empty.
package facts

import (
	"net"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/packages/protocol"
)

// maxAddresses is how many addresses of one kind the server takes.
const maxAddresses = 64

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
	for _, s := range []*string{
		&f.Hostname, &f.OSName, &f.OSVersion, &f.Kernel, &f.CPU, &f.MachineID, &f.Timezone,
		&f.Manufacturer, &f.Product, &f.ProductUUID, &f.Serial, &f.Virtualisation,
	} {
		*s = sysread.Clean(*s)
	}
	return f
}

func timezone(now time.Time) string {
	if name := now.Location().String(); name != "Local" {
		return name
	}
	if zone := sysread.Tree("/").Timezone(); zone != "" {
		return zone
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
