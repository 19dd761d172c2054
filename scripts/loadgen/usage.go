package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticks per second of the times in /proc, the same on every Linux.
const ticks = 100

// usage is what processes have used so far.
type usage struct {
	cpu      time.Duration
	resident int64 // bytes
	own      time.Duration
	at       time.Time
}

// measure reads what the server's processes and this one have used. Without processes, or elsewhere than
// on Linux, there are no figures.
func measure(pids []int) usage {
	u := usage{at: time.Now()}
	for _, pid := range pids {
		cpu, resident := process(pid)
		u.cpu += cpu
		u.resident += resident
	}
	u.own, _ = process(os.Getpid())
	return u
}

// process reads the CPU time and resident memory of one process.
func process(pid int) (cpu time.Duration, resident int64) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	// The name in parentheses may hold spaces; user and system time are the 12th and 13th field after it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 22 {
		return 0, 0
	}
	for _, n := range []int{11, 12} {
		t, _ := strconv.ParseInt(fields[n], 10, 64)
		cpu += time.Duration(t) * time.Second / ticks
	}
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	return cpu, pages * int64(os.Getpagesize())
}

// since adds the CPU times used since before, and per one of n things when n is not zero.
func (r *result) since(pids []int, before usage, n int, thing string) {
	now := measure(pids)
	wall := now.at.Sub(before.at).Seconds()
	r.add("time", wall, "s")
	if len(pids) > 0 && now.cpu > 0 {
		r.add("server CPU", (now.cpu - before.cpu).Seconds(), "s")
		if n > 0 {
			r.add("server CPU per "+thing, (now.cpu-before.cpu).Seconds()*1e6/float64(n), "µs")
		}
	}
	r.add("loadgen CPU", (now.own - before.own).Seconds(), "s")
}
