// Package atomicfile replaces files so that a crash at any moment leaves either the whole old file or
// the whole new one, never a mixture, an empty file or a missing one. It is the only way in which
// Muster's programs replace a file.
//
// After Write or WriteFrom has returned nil the new content survives a power cut: the data and the
// directory entry are both on disk. A crash in between may leave a temporary file named
// ".NAME.*.tmp" beside the target; it is never read and may be deleted at any time. Concurrent
// writers of one path do not mix: the last rename wins.
package atomicfile

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Write replaces the file at path with data and the given permissions.
func Write(path string, data []byte, perm os.FileMode) error {
	_, err := WriteFrom(path, bytes.NewReader(data), perm)
	return err
}

// WriteFrom replaces the file at path with all that r yields, and returns the number of bytes. When r
// fails, the old file stays as it was.
func WriteFrom(path string, r io.Reader, perm os.FileMode) (n int64, err error) {
	dir := filepath.Dir(path)
	// In the same directory, because a rename is atomic only within one file system.
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return 0, fmt.Errorf("create temporary file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close() // closing twice is harmless
			_ = os.Remove(tmp.Name())
		}
	}()
	if n, err = io.Copy(tmp, r); err != nil {
		return n, fmt.Errorf("write %s: %w", path, err)
	}
	// Chmod, not a mode at creation: the result must not depend on the umask.
	if err = tmp.Chmod(perm); err != nil {
		return n, fmt.Errorf("set mode of %s: %w", path, err)
	}
	// Before the rename: otherwise a power cut may leave the new name with no content.
	if err = tmp.Sync(); err != nil {
		return n, fmt.Errorf("sync %s: %w", path, err)
	}
	// Some file systems report a full disk only here.
	if err = tmp.Close(); err != nil {
		return n, fmt.Errorf("close %s: %w", path, err)
	}
	if err = replace(tmp.Name(), path); err != nil {
		return n, fmt.Errorf("replace %s: %w", path, err)
	}
	return n, SyncDir(dir)
}

// SyncDir makes the creation, renaming and removal of files in dir durable. On systems where that is
// neither possible nor needed it does nothing.
func SyncDir(dir string) error {
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
