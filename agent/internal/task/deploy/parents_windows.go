package deploy

import "fmt"

// unsafeParentError names a directory that another user can replace.
type unsafeParentError struct {
	dir string
	why string
}

// Error says which directory and why.
func (e *unsafeParentError) Error() string {
	return fmt.Sprintf("%s is not safe to write under: %s", e.dir, e.why)
}

// safeParents refuses: judging access lists is not implemented for Windows, and writing without it would
// let other users redirect what the agent places.
func safeParents(target string) error {
	return &unsafeParentError{target, "the store action is not yet available on Windows"}
}
