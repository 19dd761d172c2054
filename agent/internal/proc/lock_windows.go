package proc

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockOffset is far behind the end of the file: locks of Windows are mandatory, and the text in the file
// is for others to read.
const lockOffset = 1 << 30

// lockFile tries to lock an open file and reports whether another open file has it locked.
func lockFile(file *os.File, shared bool) (held bool, err error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if !shared {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	at := &windows.Overlapped{Offset: lockOffset}
	err = windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, at)
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return true, nil
	default:
		return false, os.NewSyscallError("LockFileEx", err)
	}
}
