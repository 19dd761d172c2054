// Package fragments says where a device keeps the fragments that it has fetched, and which of them others
// may have.
//
// Those of shared packages lie in one folder, named by their SHA-256; those of private packages lie in
// another one, of which nothing is ever handed out. A fragment gets its name only when it is whole and its
// digest is right; before, its name ends in Part. Beside them is a list of its fragments for each shared
// package. Task processes write, the resident's listener reads and its housekeeping removes. All of it may
// vanish at any time: what is missing is fetched again, and what a power cut damaged is found by its digest.
package fragments

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/muster/muster/packages/fault"
)

// Part ends the name of a fragment that is not whole yet.
const Part = ".part"

// Names in the data directory.
const (
	sharedDir  = "fragments"
	privateDir = "private-fragments"
	listsDir   = "fragment-lists"
)

// A list has a line of fixed length for each fragment, so that one is found without reading the others.
const (
	digestLen = 64
	lineLen   = digestLen + 1
	maxNumber = 1 << 30
)

// Dir is the folder of the fragments of private packages, or of those of all others.
func Dir(dataDir string, private bool) string {
	if private {
		return filepath.Join(dataDir, privateDir)
	}
	return filepath.Join(dataDir, sharedDir)
}

// ValidDigest reports whether text is a SHA-256 as lower-case hex.
func ValidDigest(text string) bool {
	return len(text) == digestLen && strings.Trim(text, "0123456789abcdef") == ""
}

// ValidID reports whether text is a package id: a UUID in lower case.
func ValidID(text string) bool {
	for n := range len(text) {
		switch c := text[n]; {
		case n == 8 || n == 13 || n == 18 || n == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return len(text) == 36
}

// WriteList keeps the digests of a shared package's fragments, in their order.
func WriteList(dataDir, id string, digests []string) error {
	path, err := listPath(dataDir, id)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of fragment lists: %w", err)
	}
	text := strings.Join(digests, "\n") + "\n"
	if err := os.WriteFile(path+Part, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the list of fragments: %w", err)
	}
	if err := os.Rename(path+Part, path); err != nil {
		return fmt.Errorf("write the list of fragments: %w", err)
	}
	return nil
}

// RemoveList forgets the list of a package. One that is not there is no error.
func RemoveList(dataDir, id string) error {
	path, err := listPath(dataDir, id)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func listPath(dataDir, id string) (string, error) {
	if !ValidID(id) { // it becomes a path
		return "", fault.New(fault.Invalid, "package id %.60q is not a UUID in lower case", id)
	}
	return filepath.Join(dataDir, listsDir, id), nil
}

// Find returns the digest of a shared package's fragment by its number, from 1. A package or number that is
// not known here is a fault of code not found.
func Find(dataDir, id string, number int) (string, error) {
	notFound := fault.New(fault.NotFound, "there is no fragment %d of a shared package %.60q here", number, id)
	if !ValidID(id) || number < 1 || number > maxNumber {
		return "", notFound
	}
	file, err := openRegular(filepath.Join(dataDir, listsDir), id)
	if errors.Is(err, fs.ErrNotExist) {
		return "", notFound
	}
	if err != nil {
		return "", fmt.Errorf("read the list of fragments: %w", err)
	}
	defer file.Close()
	line := make([]byte, lineLen)
	if n, _ := file.ReadAt(line, int64(number-1)*lineLen); n < lineLen {
		return "", notFound
	}
	if digest := string(line[:digestLen]); ValidDigest(digest) {
		return digest, nil
	}
	return "", notFound // damaged
}

// Open opens a whole fragment of a shared package for reading. Whatever else has that name (a folder, a
// link, a pipe) is not there: a fault of code not found.
func Open(dataDir, digest string) (*os.File, error) {
	notFound := fault.New(fault.NotFound, "there is no shared fragment %.64q here", digest)
	if !ValidDigest(digest) {
		return nil, notFound
	}
	file, err := openRegular(Dir(dataDir, false), digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound
	}
	if err != nil {
		return nil, fmt.Errorf("open a fragment: %w", err)
	}
	return file, nil
}

// openRegular opens a file directly in a folder, without following a link.
func openRegular(dir, name string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	before, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	after, err := file.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = fs.ErrNotExist // replaced meanwhile
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// Prune removes all that was last written before a time. What is still wanted is fetched again.
func Prune(dataDir string, before time.Time) error {
	var errs []error
	for _, name := range []string{sharedDir, privateDir, listsDir} {
		dir := filepath.Join(dataDir, name)
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err == nil && info.ModTime().Before(before) {
				err = os.Remove(filepath.Join(dir, e.Name()))
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
