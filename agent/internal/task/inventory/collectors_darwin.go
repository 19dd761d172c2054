package inventory

import (
	"context"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/muster/muster/packages/protocol"
)

// collectors of macOS, in the order in which they run. What it tells by its frameworks alone is left out.
var collectors = []collector{
	rows(protocol.SectionSystem, findSystem),
	rows(protocol.SectionCPUs, findCPUs),
	rows(protocol.SectionFilesystems, findFilesystems),
	rows(protocol.SectionInterfaces, findInterfaces),
}

// findCPUs asks sysctl(3); macOS runs on computers of one kind of processor.
func findCPUs(_ context.Context, h *host) ([]protocol.CPU, error) {
	name, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return nil, err
	}
	count := func(key string, otherwise uint32) int {
		n, err := unix.SysctlUint32(key)
		if err != nil || n == 0 || n > 1024 {
			n = otherwise
		}
		return int(n)
	}
	packages := count("hw.packages", 1)
	cores, threads := count("hw.physicalcpu_max", 1), count("hw.logicalcpu_max", 1)
	vendor, _ := unix.Sysctl("machdep.cpu.vendor") // of Intel's
	found := []protocol.CPU{}
	for i := range packages {
		found = append(found, protocol.CPU{
			Row: protocol.Row{Key: "socket-" + strconv.Itoa(i), Name: name}, Vendor: vendor, Arch: h.arch,
			Cores: cores / packages, Threads: threads / packages,
		})
	}
	return found, nil
}

// findFilesystems asks getfsstat(2) without waiting for servers.
func findFilesystems(context.Context, *host) ([]protocol.Filesystem, error) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return nil, err
	}
	list := make([]unix.Statfs_t, min(n+8, 4096))
	if n, err = unix.Getfsstat(list, unix.MNT_NOWAIT); err != nil {
		return nil, err
	}
	found := []protocol.Filesystem{}
	for i := range list[:n] {
		st := &list[i]
		local := st.Flags&unix.MNT_LOCAL != 0
		device, at := unix.ByteSliceToString(st.Mntfromname[:]), unix.ByteSliceToString(st.Mntonname[:])
		if local && (len(device) < 5 || device[:5] != "/dev/") || st.Flags&unix.MNT_DONTBROWSE != 0 && at != "/" {
			continue
		}
		f := protocol.Filesystem{
			Row: protocol.Row{Key: at, Name: at}, Device: device, Type: unix.ByteSliceToString(st.Fstypename[:]),
			ReadOnly: st.Flags&unix.MNT_RDONLY != 0, Remote: !local,
		}
		setSpace(&f, int64(st.Blocks)*int64(st.Bsize), int64(st.Bavail)*int64(st.Bsize))
		found = append(found, f)
	}
	return found, nil
}

// space asks the system how large a file system is.
func space(path string) (total, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Blocks) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize), nil
}
