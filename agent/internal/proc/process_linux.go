package proc

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// identity names a process for good: a pid alone is used again.
type identity struct {
	pid   int
	start uint64 // clock ticks since boot
}

// process is what /proc tells about one.
type process struct {
	identity
	parent int
	group  int
	zombie bool
}

// processes lists all processes. One that ends meanwhile is left out.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	all := make([]process, 0, len(names))
	for _, name := range names {
		if _, ok := number(name); !ok {
			continue
		}
		data, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		if p, ok := parseStat(data); ok {
			all = append(all, p)
		}
	}
	return all
}

// parseStat reads one /proc/PID/stat. The program's name, in parentheses, may hold anything, also
// parentheses and spaces.
func parseStat(data []byte) (process, bool) {
	opening, closing := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if opening < 0 || closing < opening {
		return process{}, false
	}
	fields := strings.Fields(string(data[closing+1:]))
	if len(fields) < 20 {
		return process{}, false
	}
	pid, ok1 := number(strings.TrimSpace(string(data[:opening])))
	parent, ok2 := number(fields[1])
	group, ok3 := number(fields[2])
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if !ok1 || !ok2 || !ok3 || err != nil {
		return process{}, false
	}
	zombie := fields[0] == "Z" || fields[0] == "X"
	return process{identity: identity{pid: pid, start: start}, parent: parent, group: group, zombie: zombie}, true
}

// number reads a process id or descriptor: digits only.
func number(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && text[0] != '+'
}

// isRunner reports whether a process is a runner, by the mark in its environment. Commands of runners do
// not have it.
func isRunner(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	return bytes.Contains(append([]byte{0}, data...), []byte("\x00"+runnerMark+"\x00"))
}
