//go:build unix

package fetch

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DiskSpace is what the file system of dir has for this user, and its size.
func DiskSpace(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}
