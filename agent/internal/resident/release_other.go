//go:build !linux

package resident

import "runtime/debug"

// release gives the heap's free pages back after a burst.
func release() { debug.FreeOSMemory() }
