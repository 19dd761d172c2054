package inventory

import (
	"context"
	"strings"

	"golang.org/x/sys/windows"

	"github.com/muster/muster/packages/protocol"
)

// collectors of Windows, in the order in which they run.
var collectors = []collector{
	rows(protocol.SectionSystem, findSystem),
	rows(protocol.SectionBIOS, findBIOS),
	rows(protocol.SectionCPUs, findCPUs),
	rows(protocol.SectionMemory, findMemory),
	rows(protocol.SectionFilesystems, findFilesystems),
	rows(protocol.SectionInterfaces, findInterfaces),
}

// findFilesystems lists the drives that have a letter and can be read. Drives without a medium fail to
// tell their file system and are left out.
func findFilesystems(_ context.Context, h *host) ([]protocol.Filesystem, error) {
	letters, err := windows.GetLogicalDrives()
	if err != nil {
		return nil, err
	}
	found := []protocol.Filesystem{}
	for i := range 26 {
		if letters&(1<<i) == 0 {
			continue
		}
		at := string(rune('A'+i)) + `:\`
		path, err := windows.UTF16PtrFromString(at)
		if err != nil {
			return nil, err
		}
		f := protocol.Filesystem{Row: protocol.Row{Key: at, Name: at}, Device: strings.TrimSuffix(at, `\`)}
		switch windows.GetDriveType(path) {
		case windows.DRIVE_FIXED, windows.DRIVE_REMOVABLE, windows.DRIVE_CDROM:
		case windows.DRIVE_REMOTE:
			f.Remote = true
		default:
			continue
		}
		var label, kind [windows.MAX_PATH + 1]uint16
		var flags uint32
		if err := windows.GetVolumeInformation(path, &label[0], uint32(len(label)), nil, nil, &flags, &kind[0], uint32(len(kind))); err != nil {
			continue
		}
		f.Label, f.Type = windows.UTF16ToString(label[:]), windows.UTF16ToString(kind[:])
		f.ReadOnly = flags&windows.FILE_READ_ONLY_VOLUME != 0
		if total, free, err := h.space(at); err == nil {
			setSpace(&f, total, free)
		}
		found = append(found, f)
	}
	return found, nil
}

// space asks the system how large a drive is.
func space(path string) (total, free int64, err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0, err
	}
	var available, size, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &available, &size, &all); err != nil {
		return 0, 0, err
	}
	return int64(size), int64(available), nil
}
