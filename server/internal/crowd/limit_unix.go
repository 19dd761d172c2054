//go:build unix

package crowd

import "syscall"

// Most is how many connections this process can hold and still have descriptors for its files and database.
func Most() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > unlimited {
		return unlimited
	}
	files := int(limit.Cur) // bounded above
	return max(files-max(256, files/10), files/2)
}
