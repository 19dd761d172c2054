//go:build unix

package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// firstFile is the number of a child's first descriptor after the standard ones. A runner finds its lock
// there, a task its events.
const firstFile = 3

// startDetached starts a runner in a session of its own, at normal priority: one that is starved would keep
// its command from writing, and notice the time limit late. The locks go with it as open files: they stay
// held until it has ended, without a moment in which nobody holds them.
func startDetached(cmd *exec.Cmd, lock *Lock, hold []*Lock) error {
	cmd.Dir = "/" // a runner keeps no file system busy
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.ExtraFiles = []*os.File{lock.file}
	for _, held := range hold {
		cmd.ExtraFiles = append(cmd.ExtraFiles, held.file)
	}
	return startWithPriority(cmd, normal)
}

// adoptLock takes over the lock in the runner. It refuses to go on without it: a runner that was started
// by hand must not run a command a second time. The lock is held as long as the file is open;
// sealDescriptors keeps it from the command.
func adoptLock(dir string) (*Lock, error) {
	file := os.NewFile(firstFile, lockName)
	if file == nil {
		return nil, errors.New("the lock was not handed over")
	}
	got, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("the lock was not handed over: %w", err)
	}
	want, err := os.Stat(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	if !os.SameFile(got, want) {
		return nil, errors.New("another file was handed over in place of the lock")
	}
	if held, err := lockFile(file, false); err != nil || held {
		return nil, errors.Join(errors.New("the lock is held by another runner"), err)
	}
	return &Lock{file: file}, nil
}
