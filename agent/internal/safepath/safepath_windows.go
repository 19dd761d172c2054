package safepath

import "io/fs"

// Parents refuses: judging access lists is not implemented for Windows, and writing without it would let other
// users redirect what the agent places.
func Parents(target string) error {
	return &UnsafeError{target, "the store action is not yet available on Windows"}
}

// Owned refuses, see Parents.
func Owned(path string) error {
	return &UnsafeError{path, "who may change it cannot be told on Windows yet"}
}

// OwnedTree refuses, see Parents.
func OwnedTree(folder string, _ int) error { return Owned(folder) }

// Owner cannot be told.
func Owner(fs.FileInfo) int { return -1 }
