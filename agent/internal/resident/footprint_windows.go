package resident

import (
	"time"

	"golang.org/x/sys/windows"
)

// readUsage knows the processor time of this process alone.
func readUsage() usage {
	var created, exited, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user) != nil {
		return usage{}
	}
	ticks := func(t windows.Filetime) int64 { return int64(t.HighDateTime)<<32 | int64(t.LowDateTime) }
	return usage{cpu: time.Duration(100 * (ticks(kernel) + ticks(user)))}
}
