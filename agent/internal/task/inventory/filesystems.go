package inventory

import "github.com/muster/muster/packages/protocol"

// setSpace fills a file system's size, and what is free of it in whole hundredths.
func setSpace(f *protocol.Filesystem, total, free int64) {
	if total <= 0 {
		return
	}
	free = min(max(free, 0), total)
	f.Bytes = total
	hundredths := int64(float64(free) / float64(total) * 100)
	f.FreePercent = int(hundredths)
	f.FreeBytes = total / 100 * hundredths
}
