package resident

import (
	"runtime"
	"runtime/debug"
)

// What the runtime keeps at hand for its processor, of which there is one: up to 64 free pages of 8 KiB.
const (
	heapPage  = 8 << 10
	cachePage = 64
)

// freeHeap gives the heap's free pages back to the system.
//
// debug.FreeOSMemory alone leaves two things, which made the resident up to 0.4 MB larger, more or less of it after
// each burst of work. A sync.Pool lets go of what it holds, a stack of what it has grown to, only with the second
// collection. And pages that are at hand in the runtime's page cache (runtime/mpagecache.go) are not looked at, used
// before or not. So they are used up, when all other free pages have been given back; those that come to hand
// instead are such ones, and stay so.
func freeHeap() {
	runtime.GC()
	debug.FreeOSMemory()
	useUpPageCache()
	debug.FreeOSMemory()
}

func useUpPageCache() {
	var pages [cachePage][]byte
	for i := range pages {
		pages[i] = make([]byte, heapPage)
	}
	runtime.KeepAlive(&pages)
}
