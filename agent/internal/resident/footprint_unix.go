//go:build unix

package resident

import (
	"syscall"
	"time"
)

// countedByUnix is what getrusage says. The largest child of a system that shares the parent's memory with a
// new process until it becomes another program is never smaller than this process was.
func countedByUnix() usage {
	var u usage
	var self, children syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &self) == nil {
		u.cpu = cpuOf(self)
		u.rssHigh = int64(self.Maxrss) * maxrssUnit
	}
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children) == nil {
		u.cpu += cpuOf(children)
		u.taskHigh = int64(children.Maxrss) * maxrssUnit
	}
	return u
}

func cpuOf(r syscall.Rusage) time.Duration { return time.Duration(r.Utime.Nano() + r.Stime.Nano()) }
