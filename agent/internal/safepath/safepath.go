// Package safepath judges whether another user of this computer could change what lies at a path, or put
// something else there.
//
// It looks at owners and permissions of the path and of every folder above it, at the moment of the call; nothing
// is kept. A path that is safe stays so as long as nobody but root and the agent's own user acts on it. The
// deploy task asks before it places files, the module task before it runs programs.
package safepath

import "fmt"

// UnsafeError names what another user could change, and why.
type UnsafeError struct {
	Path string
	Why  string
}

// Error says which path and why.
func (e *UnsafeError) Error() string { return fmt.Sprintf("%s is not safe: %s", e.Path, e.Why) }
