package facts

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/muster/muster/packages/protocol"
)

func privileged() bool { return os.Geteuid() == 0 }

// system fills what Linux tells in files.
func system(f *protocol.Facts) {
	f.OSName, f.OSVersion = osRelease(read("/etc/os-release"))
	if f.OSName == "" {
		f.OSName, f.OSVersion = osRelease(read("/usr/lib/os-release"))
	}
	f.Kernel = line("/proc/sys/kernel/osrelease")
	f.MachineID = line("/etc/machine-id")
	if f.MachineID == "" {
		f.MachineID = line("/var/lib/dbus/machine-id")
	}
	f.CPU = cpuModel(read("/proc/cpuinfo"))
	f.MemoryBytes = memoryTotal(read("/proc/meminfo"))
	f.BootedAt = bootTime(read("/proc/stat"))
}

// BootID changes with every boot of the system, and only then.
func BootID() string { return line("/proc/sys/kernel/random/boot_id") }

// maxFile bounds what is read of a system file; /proc/cpuinfo of a big machine is the longest.
const maxFile = 64 << 10

func read(path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	data, _ := io.ReadAll(io.LimitReader(file, maxFile)) // what could be read counts
	return data
}

func line(path string) string {
	text, _, _ := strings.Cut(string(read(path)), "\n")
	return strings.TrimSpace(text)
}

// osRelease reads the format of os-release(5).
func osRelease(data []byte) (name, version string) {
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() {
		key, value, ok := strings.Cut(scanner.Text(), "=")
		if !ok {
			continue
		}
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		switch strings.TrimSpace(key) {
		case "NAME":
			name = value
		case "VERSION_ID":
			version = value
		}
	}
	return name, version
}

// cpuModel finds the processor's name; ARM kernels give it other keys or none.
func cpuModel(data []byte) string {
	found := map[string]string{}
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() {
		key, value, ok := strings.Cut(scanner.Text(), ":")
		key = strings.TrimSpace(key)
		if ok && found[key] == "" {
			found[key] = strings.TrimSpace(value)
		}
	}
	for _, key := range []string{"model name", "Model", "Hardware", "cpu model", "cpu"} {
		if found[key] != "" {
			return found[key]
		}
	}
	return ""
}

func memoryTotal(data []byte) int64 {
	for text := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(text, "MemTotal:")
		if !ok {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil || kb < 0 || kb > 1<<50 {
			return 0
		}
		return kb << 10
	}
	return 0
}

// bootTime reads the btime line. The line of interrupts before it can be long, so it may lie beyond what
// is read; the boot time is then unknown.
func bootTime(data []byte) time.Time {
	for text := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(text, "btime "); ok {
			if s, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64); err == nil {
				return time.Unix(s, 0)
			}
		}
	}
	return time.Time{}
}
