package resident

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// release gives back what a burst has used: the pages of the program's own file that were read, and the
// heap's free pages. The former hold what the file holds, so nothing is lost: the few that are needed for
// waiting come back from the page cache at once, the others when there is work. Without this they stay
// resident for as long as memory is plenty, more than twice of all else.
func release() {
	if file, err := os.Open("/proc/self/smaps"); err == nil { // else it is only about thrift
		for _, m := range filePages(file) {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED)
		}
		_ = file.Close()
	}
	freeHeap()
}

// mapping is a stretch of this process's addresses.
type mapping struct{ from, to uintptr }

// filePages finds in an smaps file the mappings that hold nothing but what their file holds: they cannot be
// written to, and the loader has not changed them either, as it does in a position-independent program.
func filePages(smaps io.Reader) []mapping {
	var found []mapping
	var at mapping
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 6 && strings.HasPrefix(fields[1], "r-") && strings.HasSuffix(fields[1], "p") && strings.HasPrefix(fields[5], "/"):
			// 00400000-0084b000 r-xp 00000000 fe:00 10252242 /usr/bin/muster-agent
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &at.from, &at.to); err != nil || at.to <= at.from {
				at = mapping{}
			}
		case len(fields) >= 5 && strings.Contains(fields[0], "-"): // another mapping
			at = mapping{}
		case len(fields) == 3 && fields[0] == "Anonymous:":
			if fields[1] == "0" && at.to != 0 {
				found = append(found, at)
			}
			at = mapping{}
		}
	}
	return found
}
