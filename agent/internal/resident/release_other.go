//go:build !linux

package resident

// release gives the heap's free pages back after a burst.
func release() { freeHeap() }
