//go:build unix

package proc

import (
	"errors"
	"os"
	"syscall"
)

// lockFile tries to lock an open file and reports whether another open file has it locked. flock, not
// fcntl: fcntl's locks belong to a process and are lost when it closes any descriptor of the file.
func lockFile(file *os.File, shared bool) (held bool, err error) {
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return false, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return true, nil
		case errors.Is(err, syscall.EINTR):
			continue
		default:
			return false, os.NewSyscallError("flock", err)
		}
	}
}
