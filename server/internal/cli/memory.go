package cli

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How memory is given back after a storm. Go would do so by and by, and would keep what one more storm needs;
// thousands of idle devices would then seem to cost what the storm did.
const (
	memoryLook  = 15 * time.Second
	memoryQuiet = 8 << 20  // bytes allocated between two looks by a server that has little to do
	memorySpare = 16 << 20 // bytes that are worth a collection
)

// giveBackMemory returns memory to the system once when the server has become quiet, until ctx ends.
func giveBackMemory(ctx context.Context) {
	ticker := time.NewTicker(memoryLook)
	defer ticker.Stop()
	look := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
	}
	var allocated, kept uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		metrics.Read(look)
		quiet := look[0].Value.Uint64()-allocated < memoryQuiet
		allocated = look[0].Value.Uint64()
		held := look[1].Value.Uint64() - look[2].Value.Uint64()
		used := look[3].Value.Uint64() + look[4].Value.Uint64()
		if quiet && held > used+memorySpare && held > kept+kept/8 {
			debug.FreeOSMemory()
			metrics.Read(look)
			kept = look[1].Value.Uint64() - look[2].Value.Uint64() // what is really needed: not to be looked for again
		}
	}
}
