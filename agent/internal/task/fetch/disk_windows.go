package fetch

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// DiskSpace is what the file system of dir has for this user, and its size.
func DiskSpace(dir string) (free, total int64, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	var available, size, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &available, &size, &all); err != nil {
		return 0, 0, fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	return int64(available), int64(size), nil
}
