//go:build unix

package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// unsafeParentError names a directory that another user can replace.
type unsafeParentError struct {
	dir string
	why string
}

// Error says which directory and why.
func (e *unsafeParentError) Error() string {
	return fmt.Sprintf("%s is not safe to write under: %s", e.dir, e.why)
}

// maxLinks bounds the links followed on the way to a path.
const maxLinks = 40

// safeParents walks from the root to target and refuses every existing directory that a user other than
// root and ourselves could swap while we write: one that others own, or that everybody may write without
// the sticky bit. Links are followed here, so that the directories they lie in are judged too.
func safeParents(target string) error {
	dir, rest := "/", strings.Split(strings.Trim(filepath.Clean(target), "/"), "/")
	if err := safeDir(dir); err != nil {
		return err
	}
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			dir = filepath.Dir(dir)
			continue
		}
		next := filepath.Join(dir, name)
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // made by us, under safe parents
		}
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			dir = next
			if err := safeDir(dir); err != nil {
				return err
			}
			continue
		}
		if links++; links > maxLinks {
			return &unsafeParentError{next, "too many links"}
		}
		if !ours(info) {
			return &unsafeParentError{next, "it is a link that another user owns"}
		}
		to, err := os.Readlink(next)
		if err != nil {
			return err
		}
		if filepath.IsAbs(to) {
			dir = "/"
		}
		rest = append(strings.Split(strings.Trim(to, "/"), "/"), rest...)
	}
	return nil
}

func safeDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch {
	case !info.IsDir():
		return &unsafeParentError{dir, "it is not a directory"}
	case !ours(info):
		return &unsafeParentError{dir, "another user owns it"}
	case info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
		return &unsafeParentError{dir, "everybody may write there"}
	}
	return nil
}

// ours reports whether root or this agent's own user owns the file.
func ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}
