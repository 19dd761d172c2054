package facts

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster/muster/packages/protocol"
)

func privileged() bool { return os.Geteuid() == 0 }

// system fills what macOS tells by sysctl. The hardware UUID needs a framework that is not linked, so
// the machine id stays empty.
func system(f *protocol.Facts) {
	f.OSName, f.Manufacturer = "macOS", "Apple"
	f.Product, _ = unix.Sysctl("hw.model")
	f.OSVersion, _ = unix.Sysctl("kern.osproductversion")
	f.Kernel, _ = unix.Sysctl("kern.osrelease")
	f.CPU, _ = unix.Sysctl("machdep.cpu.brand_string")
	if n, err := unix.SysctlUint64("hw.memsize"); err == nil {
		f.MemoryBytes = int64(n)
	}
	if tv, err := unix.SysctlTimeval("kern.boottime"); err == nil {
		f.BootedAt = time.Unix(tv.Sec, 0)
	}
}

// BootID changes with every boot of the system, and only then.
func BootID() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
}
