package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// kept holds the directories that MkdirAll of this process knows to survive a power cut.
var kept sync.Map

// MkdirAll makes a directory and its missing parents like os.MkdirAll, and makes sure that they are there
// after a power cut: without that a file is lost with its directory, however well it was synced itself. A
// directory that is there may have been made, and files in it replaced, by a process that crashed before it
// could sync that. So both the directory and its own entry are synced too, once in each process: what is read
// there afterwards may be relied on. On a path that is no directory the error is an *os.PathError.
func MkdirAll(path string, perm os.FileMode) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	parent := filepath.Dir(path)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
		if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := syncReadable(parent); err != nil {
			return err
		}
	case err != nil:
		return err
	case !info.IsDir():
		return &os.PathError{Op: "mkdir", Path: path, Err: errors.New("it is there and is no directory")}
	default:
		if _, done := kept.Load(path); done || parent == path {
			return nil
		}
		for _, dir := range []string{path, parent} {
			if err := syncReadable(dir); err != nil {
				return err
			}
		}
	}
	kept.Store(path, true)
	return nil
}

// syncReadable leaves out a directory that may not be read: it belongs to somebody else, who cannot be held to
// what is promised here.
func syncReadable(dir string) error {
	if err := SyncDir(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
