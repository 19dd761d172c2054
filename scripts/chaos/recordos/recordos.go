//go:build unix

// Package recordos stands in for package os in the agent's packages that keep state, when a test wants to
// know what a power cut could leave of their files. It passes every call through and records those that
// change files or directories, or make changes durable, in the order in which they happened over all
// processes of one agent. Package disk reads the record.
//
// Only a build with the overlay of scripts/chaos/overlay imports it. It has the names that those packages
// use and no others; a name that is missing shows itself when that build fails.
package recordos

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// What is the same as in package os.
type (
	FileMode  = os.FileMode
	FileInfo  = os.FileInfo
	DirEntry  = os.DirEntry
	LinkError = os.LinkError
	PathError = os.PathError
)

// Flags of OpenFile.
const (
	O_RDONLY = os.O_RDONLY
	O_WRONLY = os.O_WRONLY
	O_RDWR   = os.O_RDWR
	O_APPEND = os.O_APPEND
	O_CREATE = os.O_CREATE
	O_EXCL   = os.O_EXCL
	O_TRUNC  = os.O_TRUNC
	ModePerm = os.ModePerm
)

// Errors of package os.
var (
	ErrClosed     = os.ErrClosed
	ErrExist      = os.ErrExist
	ErrNotExist   = os.ErrNotExist
	ErrPermission = os.ErrPermission
)

// Reading needs no record.
func ReadFile(name string) ([]byte, error)       { return os.ReadFile(name) }
func ReadDir(name string) ([]os.DirEntry, error) { return os.ReadDir(name) }
func Stat(name string) (os.FileInfo, error)      { return os.Stat(name) }
func Lstat(name string) (os.FileInfo, error)     { return os.Lstat(name) }

// Chmod needs none either: a power cut here takes contents and names, not modes.
func Chmod(name string, mode os.FileMode) error { return os.Chmod(name, mode) }

// File is an open file whose changes are recorded.
type File struct {
	*os.File
	id     uint64
	dir    bool
	append bool
}

// OpenFile opens or makes a file.
func OpenFile(name string, flag int, perm os.FileMode) (*File, error) {
	var f *File
	err := do(func() ([]Op, error) {
		before, statErr := os.Stat(name)
		file, err := os.OpenFile(name, flag, perm)
		if err != nil {
			return nil, err
		}
		f = &File{File: file, id: nextID(), append: flag&os.O_APPEND != 0}
		op := Op{Kind: OpOpen, Path: absolute(name), File: f.id, New: statErr != nil}
		if statErr == nil {
			f.dir, op.Size = before.IsDir(), before.Size()
		}
		ops := []Op{op}
		if flag&os.O_TRUNC != 0 {
			ops = append(ops, Op{Kind: OpTruncate, File: f.id})
		}
		return ops, nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Open opens a file or directory for reading.
func Open(name string) (*File, error) { return OpenFile(name, os.O_RDONLY, 0) }

// CreateTemp makes a file with a new name.
func CreateTemp(dir, pattern string) (*File, error) {
	var f *File
	err := do(func() ([]Op, error) {
		file, err := os.CreateTemp(dir, pattern)
		if err != nil {
			return nil, err
		}
		f = &File{File: file, id: nextID()}
		return []Op{{Kind: OpOpen, Path: absolute(file.Name()), File: f.id, New: true}}, nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Write writes at the file's position, or at its end when it was opened for appending.
func (f *File) Write(p []byte) (n int, err error) {
	err = do(func() ([]Op, error) {
		at, err := f.position()
		if err != nil {
			return nil, err
		}
		n, err = f.File.Write(p)
		return []Op{{Kind: OpWrite, File: f.id, Offset: at, Data: p[:n]}}, err
	})
	return n, err
}

// WriteString is Write.
func (f *File) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// WriteAt writes at an offset.
func (f *File) WriteAt(p []byte, offset int64) (n int, err error) {
	err = do(func() ([]Op, error) {
		n, err = f.File.WriteAt(p, offset)
		return []Op{{Kind: OpWrite, File: f.id, Offset: offset, Data: p[:n]}}, err
	})
	return n, err
}

// ReadFrom copies through Write, so that nothing goes past the record.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{f}, r)
}

func (f *File) position() (int64, error) {
	if f.append {
		info, err := f.File.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	return f.File.Seek(0, io.SeekCurrent)
}

// Truncate cuts or extends the file.
func (f *File) Truncate(size int64) error {
	return do(func() ([]Op, error) {
		return []Op{{Kind: OpTruncate, File: f.id, Size: size}}, f.File.Truncate(size)
	})
}

// Sync makes the file's content durable, or the directory's entries.
func (f *File) Sync() error {
	return do(func() ([]Op, error) {
		if f.dir {
			return []Op{{Kind: OpSyncDir, Path: absolute(f.Name())}}, f.File.Sync()
		}
		return []Op{{Kind: OpSync, File: f.id}}, f.File.Sync()
	})
}

// WriteFile makes or replaces a file, without any sync.
func WriteFile(name string, data []byte, perm os.FileMode) error {
	f, err := OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Mkdir makes a directory.
func Mkdir(name string, perm os.FileMode) error {
	return do(func() ([]Op, error) {
		return []Op{{Kind: OpMkdir, Path: absolute(name)}}, os.Mkdir(name, perm)
	})
}

// MkdirAll makes a directory with its parents.
func MkdirAll(name string, perm os.FileMode) error {
	return do(func() ([]Op, error) {
		var missing []Op
		for path := absolute(name); ; path = filepath.Dir(path) {
			if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
				break
			}
			missing = append([]Op{{Kind: OpMkdir, Path: path}}, missing...)
		}
		return missing, os.MkdirAll(name, perm)
	})
}

// Rename renames a file.
func Rename(from, to string) error {
	return do(func() ([]Op, error) {
		return []Op{{Kind: OpRename, Path: absolute(from), To: absolute(to)}}, os.Rename(from, to)
	})
}

// Remove removes a file or an empty directory.
func Remove(name string) error {
	return do(func() ([]Op, error) {
		return []Op{{Kind: OpRemove, Path: absolute(name)}}, os.Remove(name)
	})
}

// RemoveAll removes a tree: children first, each entry an operation of its own.
func RemoveAll(name string) error {
	var names []string
	err := filepath.WalkDir(name, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			names = append(names, path)
		}
		return nil //nolint:nilerr // what cannot be seen is left to the real RemoveAll
	})
	for i := len(names) - 1; i >= 0 && err == nil; i-- {
		_ = Remove(names[i]) // as above
	}
	return os.RemoveAll(name)
}

func absolute(name string) string {
	path, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	return path
}
