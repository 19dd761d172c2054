package inventory

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// Limits of /proc/cpuinfo; a processor's part has some 1,500 bytes.
const (
	maxCPUInfo = 4 << 20
	maxThreads = 8192
)

// thread is one logical processor of /proc/cpuinfo.
type thread struct {
	number, socket, core string
	model, vendor        string
	implementer, part    string // ARM
	mhz                  float64
	flags                string
}

// findCPUs counts sockets by /proc/cpuinfo, by /sys/devices/system/cpu where that says none.
func findCPUs(_ context.Context, h *host) ([]protocol.CPU, error) {
	data, err := h.Read("proc/cpuinfo", maxCPUInfo)
	if err != nil {
		return nil, err
	}
	threads := parseCPUInfo(data)
	if len(threads) == 0 {
		return nil, errors.New("/proc/cpuinfo lists no processor")
	}
	type core struct{ socket, core string }
	cores := map[core]bool{}
	var found []protocol.CPU
	at := map[string]int{}
	for _, t := range threads {
		h.place(&t)
		i, ok := at[t.socket]
		if !ok {
			i = len(found)
			at[t.socket] = i
			found = append(found, protocol.CPU{
				Row:    protocol.Row{Key: "socket-" + cmp.Or(t.socket, "0"), Name: t.name()},
				Vendor: t.maker(), Arch: h.arch, MHz: h.speed(t),
			})
		}
		found[i].Threads++
		if c := (core{t.socket, t.core}); !cores[c] {
			cores[c] = true
			found[i].Cores++
		}
	}
	// Servers with ARM name their processors in the firmware alone.
	if table, _ := h.dmi(); table != nil {
		if named := table.processors(); len(named) == len(found) {
			for i, n := range named {
				if threads[0].model == "" && n.Name != "" {
					found[i].Name, found[i].Vendor = n.Name, cmp.Or(n.Vendor, found[i].Vendor)
				}
				found[i].MHz = cmp.Or(found[i].MHz, n.MHz)
			}
		}
	}
	return found, nil
}

// place fills socket and core of a thread from sysfs where cpuinfo has none; a thread of unknown core is a
// core of its own.
func (h *host) place(t *thread) {
	topology := "sys/devices/system/cpu/cpu" + t.number + "/topology/"
	if t.socket == "" {
		t.socket = h.Line(topology + "physical_package_id")
		if strings.HasPrefix(t.socket, "-") || len(t.socket) > 8 {
			t.socket = ""
		}
	}
	if t.core == "" {
		t.core = cmp.Or(h.Line(topology+"core_id"), "of "+t.number)
	}
}

// speed is the highest frequency in MHz: of the driver that scales it, of the model's name, or the present
// one of a processor that has but one, as of most virtual machines.
func (h *host) speed(t thread) int {
	if khz, err := strconv.Atoi(h.Line("sys/devices/system/cpu/cpu" + t.number + "/cpufreq/cpuinfo_max_freq")); err == nil && khz > 0 && khz < 1e8 {
		return khz / 1000
	}
	if _, at, ok := strings.Cut(t.model, "@ "); ok {
		if ghz, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(at), "GHz"), 64); err == nil && ghz > 0 && ghz < 100 {
			return int(ghz*1000 + 0.5)
		}
	}
	if t.mhz > 0 && t.flags != "" && !strings.Contains(t.flags+" ", " aperfmperf ") {
		return int(t.mhz + 0.5)
	}
	return 0
}

// parseCPUInfo reads /proc/cpuinfo: a line "processor" begins a thread. What stands before the first one
// or after the last, as ARM's Hardware, is of no socket.
func parseCPUInfo(data []byte) []thread {
	var threads []thread
	var now *thread
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() {
		k, v, ok := bytes.Cut(scanner.Bytes(), []byte(":"))
		if !ok {
			continue
		}
		name := string(bytes.TrimSpace(k))
		if name == "processor" {
			number, err := strconv.Atoi(string(bytes.TrimSpace(v)))
			if err != nil || number < 0 || len(threads) == maxThreads {
				now = nil
				continue
			}
			threads = append(threads, thread{number: strconv.Itoa(number)})
			now = &threads[len(threads)-1]
			continue
		}
		if now != nil {
			now.take(name, v)
		}
	}
	return threads
}

func (t *thread) take(name string, v []byte) {
	text := func() string { return sysread.Clean(string(v)) }
	switch name {
	case "physical id":
		t.socket = sysread.CleanTo(string(v), 8)
	case "core id":
		t.core = sysread.CleanTo(string(v), 8)
	case "model name", "cpu": // cpu: POWER
		t.model = text()
	case "cpu model": // MIPS
		t.model = text()
	case "vendor_id":
		t.vendor = text()
	case "CPU implementer":
		t.implementer = text()
	case "CPU part":
		t.part = text()
	case "cpu MHz", "clock":
		t.mhz, _ = strconv.ParseFloat(strings.TrimSuffix(text(), "MHz"), 64)
		if !(t.mhz > 0 && t.mhz < 1e5) {
			t.mhz = 0
		}
	case "flags":
		t.flags = string(v)
	}
}

// name is the model; ARM kernels give numbers instead.
func (t *thread) name() string {
	if t.model != "" {
		return strings.Join(strings.Fields(t.model), " ")
	}
	if part := armParts[t.implementer+" "+t.part]; part != "" {
		return part
	}
	if t.implementer != "" {
		return strings.TrimSpace(cmp.Or(t.maker(), "processor") + " " + t.part)
	}
	return "processor"
}

func (t *thread) maker() string {
	if t.vendor == "" {
		return armMakers[t.implementer]
	}
	return cpuMaker(t.vendor)
}

// armMakers and armParts are ids of the register MIDR_EL1 that are common (Arm Architecture Reference
// Manual; the kernel's arch/arm64/include/asm/cputype.h).
var (
	armMakers = map[string]string{
		"0x41": "ARM", "0x42": "Broadcom", "0x43": "Cavium", "0x46": "Fujitsu", "0x48": "HiSilicon", "0x4e": "NVIDIA", "0x50": "Applied Micro",
		"0x51": "Qualcomm", "0x53": "Samsung", "0x56": "Marvell", "0x61": "Apple", "0x6d": "Microsoft", "0xc0": "Ampere",
	}
	armParts = map[string]string{
		"0x41 0xb76": "ARM1176", "0x41 0xc07": "Cortex-A7", "0x41 0xc08": "Cortex-A8", "0x41 0xc09": "Cortex-A9", "0x41 0xc0f": "Cortex-A15",
		"0x41 0xd03": "Cortex-A53", "0x41 0xd04": "Cortex-A35", "0x41 0xd05": "Cortex-A55", "0x41 0xd07": "Cortex-A57", "0x41 0xd08": "Cortex-A72",
		"0x41 0xd09": "Cortex-A73", "0x41 0xd0a": "Cortex-A75", "0x41 0xd0b": "Cortex-A76", "0x41 0xd0c": "Neoverse-N1", "0x41 0xd40": "Neoverse-V1",
		"0x41 0xd49": "Neoverse-N2", "0x41 0xd4f": "Neoverse-V2",
	}
)
