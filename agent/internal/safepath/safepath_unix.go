//go:build unix

package safepath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks bounds the links followed on the way to a path.
const maxLinks = 40

// Parents walks from the root to target and refuses every existing directory that a user other than
// root and ourselves could swap while we write: one that others own, or that everybody may write without
// the sticky bit. Links are followed here, so that the directories they lie in are judged too.
func Parents(target string) error { return walk(target, 0o002) }

// Owned refuses a file or folder that a user other than root and ourselves may change, or whose place they may
// take: one that is a link, that others own, or that its group or everybody may write; and every folder above it
// as Parents does, where the group must not write either. What is not a regular file or folder is refused.
func Owned(path string) error {
	if err := walk(filepath.Dir(path), 0o022); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	return judge(path, info, 0o022)
}

// judge refuses what others may change.
func judge(path string, info fs.FileInfo, forbidden fs.FileMode) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return &UnsafeError{path, "it is a link"}
	case !info.IsDir() && !info.Mode().IsRegular():
		return &UnsafeError{path, "it is neither a file nor a folder"}
	case !ours(info):
		return &UnsafeError{path, fmt.Sprintf("another user owns it; it must belong to root or to the user of the agent (uid %d)", os.Geteuid())}
	case info.Mode().Perm()&forbidden != 0:
		return &UnsafeError{path, fmt.Sprintf("others may write there (mode %04o); take that right away: chmod go-w", info.Mode().Perm())}
	}
	return nil
}

// OwnedTree is Owned for a folder and all that is in it, which may be most files and folders.
func OwnedTree(folder string, most int) error {
	if err := Owned(folder); err != nil {
		return err
	}
	n := 0
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if n++; n > most {
			return &UnsafeError{folder, fmt.Sprintf("it holds more than %d files", most)}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return judge(path, info, 0o022)
	})
}

// walk judges the folders from the root to target, of which others may have none of the forbidden rights.
func walk(target string, forbidden fs.FileMode) error {
	dir, rest := "/", strings.Split(strings.Trim(filepath.Clean(target), "/"), "/")
	if err := safeDir(dir, forbidden); err != nil {
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
			if err := safeDir(dir, forbidden); err != nil {
				return err
			}
			continue
		}
		if links++; links > maxLinks {
			return &UnsafeError{next, "too many links"}
		}
		if !ours(info) {
			return &UnsafeError{next, "it is a link that another user owns"}
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

func safeDir(dir string, forbidden fs.FileMode) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch {
	case !info.IsDir():
		return &UnsafeError{dir, "it is not a directory"}
	case !ours(info):
		return &UnsafeError{dir, "another user owns it"}
	case info.Mode().Perm()&forbidden&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
		return &UnsafeError{dir, "everybody may write there"}
	case info.Mode().Perm()&forbidden != 0 && info.Mode()&fs.ModeSticky == 0:
		return &UnsafeError{dir, "its group may write there; take that right away: chmod g-w"}
	}
	return nil
}

// ours reports whether root or this agent's own user owns the file.
func ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// Owner is the user id of who owns the file.
func Owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
