package facts

import (
	"os"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// root is this computer's own tree.
const root = sysread.Tree("/")

func privileged() bool { return os.Geteuid() == 0 }

// system fills what Linux tells in files. Serial number and UUID are for root.
func system(f *protocol.Facts) {
	release := root.OSRelease()
	f.OSName, f.OSVersion = release.Name, release.Version
	f.Kernel = root.Line("proc/sys/kernel/osrelease")
	f.MachineID = root.MachineID()
	f.CPU = sysread.CPUModel(root.Bytes("proc/cpuinfo"))
	f.MemoryBytes = sysread.Memory(root.Bytes("proc/meminfo"), "MemTotal")
	f.BootedAt = root.BootTime()
	p := root.Product()
	f.Manufacturer, f.Product, f.Serial, f.ProductUUID = p.Manufacturer, p.Product, p.Serial, p.UUID
	f.Virtualisation = root.Virtualisation()
}

// BootID changes with every boot of the system, and only then.
func BootID() string { return root.Line("proc/sys/kernel/random/boot_id") }
