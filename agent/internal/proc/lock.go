package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Lock is a held lock. It belongs to an open file, not to a process: it is free when the last process
// that has this file open has closed it or died, however it died. That is what lets a runner go on
// holding the locks of the task that started it. So Unlock closes the file and never unlocks it
// explicitly, which would take the lock from the runner as well.
//
// On Windows locks cannot be handed on; there a lock ends with the process that took it.
type Lock struct {
	file *os.File
}

// holder is what a lock file says about who holds it. It is only true while the lock is held.
type holder struct {
	PID     int       `json:"pid"`
	Program string    `json:"program"`
	Since   time.Time `json:"since"`
}

// TryLock takes the lock at path, making the file if needed, and writes into it who holds it: owner says
// for what, as "deploy task"; on a full disk the lock is taken without. When another process holds the lock, the error is ErrHeld and holder
// describes that process for people.
func TryLock(path, owner string) (lock *Lock, heldBy string, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, "", fmt.Errorf("lock: %w", err)
	}
	held, err := lockFile(file, false)
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	if held {
		heldBy = describeHolder(file)
		return nil, heldBy, errors.Join(fmt.Errorf("lock %s: %w (%s)", path, ErrHeld, heldBy), file.Close())
	}
	if err := writeHolder(file, owner); err != nil {
		return nil, "", errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return &Lock{file: file}, "", nil
}

// AwaitLock takes a lock that a dying predecessor may still hold for a moment. When another process goes on
// holding it for the whole limit, the error is ErrHeld and heldBy describes that process.
func AwaitLock(ctx context.Context, path, owner string, limit time.Duration) (lock *Lock, heldBy string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(lockTick)
	defer tick.Stop()
	for {
		lock, heldBy, err := TryLock(path, owner)
		if !errors.Is(err, ErrHeld) {
			return lock, heldBy, err
		}
		select {
		case <-ctx.Done():
			return nil, heldBy, err
		case <-tick.C:
		}
	}
}

// lockTick is how often AwaitLock tries.
const lockTick = 20 * time.Millisecond

// Unlock gives the lock back. Where a runner was started with it, it stays held until that has ended. It
// may be repeated: on Windows starting a runner has given the lock back already.
func (l *Lock) Unlock() error {
	if err := l.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}

func writeHolder(file *os.File, owner string) error {
	data, err := json.Marshal(holder{PID: os.Getpid(), Program: owner, Since: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	if err := file.Truncate(0); err != nil {
		return err
	}
	if _, err := file.WriteAt(append(data, '\n'), 0); err != nil {
		return file.Truncate(0) // a full disk: who holds it is for people, and that it is held is not in the file
	}
	return nil
}

// describeHolder reads who holds the lock. The holder may be just writing it, so anything unreadable is
// no error.
func describeHolder(file *os.File) string {
	h, ok := readHolder(file)
	if !ok {
		return "another process"
	}
	return fmt.Sprintf("process %d, %s, since %s", h.PID, filepath.Base(h.Program), h.Since.Format(time.RFC3339))
}

func readHolder(file *os.File) (holder, bool) {
	var h holder
	data, err := io.ReadAll(io.NewSectionReader(file, 0, 4096))
	return h, err == nil && json.Unmarshal(data, &h) == nil && h.PID != 0
}

// Held reports whether somebody holds the lock at path for himself alone. It asks for a shared lock, so
// that two processes that probe do not take each other for the holder.
func Held(path string) (held bool, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	held, err = lockFile(file, true)
	return held, errors.Join(err, file.Close())
}

// Holder returns the process id of who holds the lock at path for himself alone; 0 when nobody does, or when
// the file does not say.
func Holder(path string) (pid int, err error) {
	if held, err := Held(path); err != nil || !held {
		return 0, err
	}
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	h, ok := readHolder(file)
	if !ok {
		h.PID = 0 // it is being written
	}
	return h.PID, file.Close()
}
