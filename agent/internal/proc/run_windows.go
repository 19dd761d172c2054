package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

// goAhead is what the starter and the runner tell each other.
var goAhead = []byte("go\n")

// startDetached starts a runner that is in no job of ours. Windows cannot hand on a lock, so the runner
// takes it itself, says so, and waits for the word to go on. When this process dies before it has given
// the word, the runner ends without having started anything.
func startDetached(cmd *exec.Cmd, lock *Lock, _ []*Lock) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_BREAKAWAY_FROM_JOB |
		windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_NO_WINDOW | windows.NORMAL_PRIORITY_CLASS}
	word, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := lock.Unlock(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = exchange(word, ready)
	if err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return nil
}

func exchange(word io.WriteCloser, ready io.Reader) error {
	answer := make([]byte, len(goAhead))
	if _, err := io.ReadFull(ready, answer); err != nil {
		return fmt.Errorf("the runner did not take its lock: %w", err)
	}
	_, err := word.Write(goAhead)
	return errors.Join(err, word.Close())
}

// adoptLock takes the lock in the runner, see startDetached.
func adoptLock(dir string) (*Lock, error) {
	lock, _, err := TryLock(filepath.Join(dir, lockName), "runner")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stdout.Write(goAhead); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	answer := make([]byte, len(goAhead))
	if _, err := io.ReadFull(os.Stdin, answer); err != nil {
		return nil, errors.Join(fmt.Errorf("the starter has gone: %w", err), lock.Unlock())
	}
	return lock, nil
}
