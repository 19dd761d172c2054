package inventory

import "golang.org/x/sys/unix"

// space asks the system how large a file system is. Blocks are counted in fragments where a file system
// has those (FUSE), as statvfs(3) does.
func space(path string) (total, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	size := int64(st.Bsize)
	if st.Frsize > 0 {
		size = int64(st.Frsize)
	}
	return int64(st.Blocks) * size, int64(st.Bavail) * size, nil
}
