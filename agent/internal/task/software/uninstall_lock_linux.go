package software

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// lockHolder names the process that holds a lock of fcntl(2) on the file; empty when there is none, or no
// such file. Asking takes no lock.
func lockHolder(path string) string {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer file.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_GETLK, &lock); err != nil || lock.Type == syscall.F_UNLCK {
		return ""
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", lock.Pid))
	if err != nil || lock.Pid <= 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d, %s,", lock.Pid, clean(strings.TrimSpace(string(name)), 40))
}
