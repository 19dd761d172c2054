package inventory

import "github.com/muster/muster/packages/protocol"

// setSpace fills a file system's size, and what is free of it in whole hundredths.
func setSpace(f *protocol.Filesystem, total, free int64) {
	if total <= 0 {
		return
	}
	free = min(max(free, 0), total)
	f.Bytes = total
	percent := min(free/max(total/100, 1), 100)
	f.FreePercent = int(percent)
	f.FreeBytes = total / 100 * percent
}
