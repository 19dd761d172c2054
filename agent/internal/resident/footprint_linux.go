package resident

import (
	"os"
	"strconv"
	"strings"
)

func readUsage() usage {
	u := countedByUnix()
	u.rssHigh = 0
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return u
	}
	u.rss, u.rssHigh = statusBytes(string(data), "VmRSS:"), statusBytes(string(data), "VmHWM:")
	return u
}

// maxrssUnit is what a unit of ru_maxrss is in bytes.
const maxrssUnit = 1 << 10

// statusBytes is a size in the text of /proc/self/status, which is given in kB.
//
//fuzz:none the kernel wrote it
func statusBytes(text, name string) int64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}
