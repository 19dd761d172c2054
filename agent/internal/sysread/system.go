package sysread

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
	"time"
)

// OSRelease is what os-release(5) says.
type OSRelease struct{ Name, Version, ID string }

// OSRelease reads /etc/os-release, or the one of /usr/lib.
func (t Tree) OSRelease() OSRelease {
	r := ParseOSRelease(t.Bytes("etc/os-release"))
	if r.Name == "" {
		r = ParseOSRelease(t.Bytes("usr/lib/os-release"))
	}
	return r
}

// ParseOSRelease reads the format of os-release(5).
func ParseOSRelease(data []byte) OSRelease {
	var r OSRelease
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() {
		key, value, ok := strings.Cut(scanner.Text(), "=")
		if !ok {
			continue
		}
		value = Clean(strings.Trim(strings.TrimSpace(value), `"'`))
		switch strings.TrimSpace(key) {
		case "NAME":
			r.Name = value
		case "VERSION_ID":
			r.Version = value
		case "ID":
			r.ID = value
		}
	}
	return r
}

// CPUModel finds the processor's name in /proc/cpuinfo; ARM kernels give it other keys or none.
func CPUModel(data []byte) string {
	found := map[string]string{}
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() {
		key, value, ok := strings.Cut(scanner.Text(), ":")
		key = strings.TrimSpace(key)
		if ok && found[key] == "" {
			found[key] = Clean(value)
		}
	}
	for _, key := range []string{"model name", "Model", "Hardware", "cpu model", "cpu"} {
		if found[key] != "" {
			return found[key]
		}
	}
	return ""
}

// Memory reads a line of /proc/meminfo, as "MemTotal", in bytes.
func Memory(data []byte, name string) int64 {
	for text := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(text, name+":")
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

// maxStat bounds /proc/stat: its line of interrupts is long on a big machine, and what is sought follows.
const maxStat = 1 << 20

// BootTime is when the system started, zero when it cannot be told. The kernel's figure moves only when
// the clock is set.
func (t Tree) BootTime() time.Time {
	data, err := t.Read("proc/stat", maxStat)
	if err != nil {
		return time.Time{}
	}
	return parseBootTime(data)
}

func parseBootTime(data []byte) time.Time {
	for text := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(text, []byte("btime ")); ok {
			s, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64)
			if err != nil || s <= 0 || s > 1<<36 {
				return time.Time{}
			}
			return time.Unix(s, 0)
		}
	}
	return time.Time{}
}

// MachineID is the id of machine-id(5).
func (t Tree) MachineID() string { return t.First("etc/machine-id", "var/lib/dbus/machine-id") }

// Timezone is the zone's name, as "Europe/Berlin", by /etc/localtime or /etc/timezone.
func (t Tree) Timezone() string {
	if _, zone, ok := strings.Cut(t.Link("etc/localtime"), "/zoneinfo/"); ok {
		return Clean(zone)
	}
	return t.Line("etc/timezone")
}

// Product is what the firmware says of the computer.
type Product struct{ Manufacturer, Product, SKU, Serial, UUID string }

// Product reads the firmware's words from /sys/class/dmi/id, where serial and UUID are for root, or from
// the device tree that ARM boards have.
func (t Tree) Product() Product {
	id := func(name string) string { return Meant(t.Line("sys/class/dmi/id/" + name)) }
	p := Product{
		Manufacturer: id("sys_vendor"), Product: id("product_name"), SKU: id("product_sku"),
		Serial: id("product_serial"), UUID: UUID(id("product_uuid")),
	}
	if p.Product == "" {
		p.Product = Meant(t.Line("proc/device-tree/model"))
	}
	if p.Serial == "" {
		p.Serial = Meant(t.Line("proc/device-tree/serial-number"))
	}
	return p
}

// UUID is a firmware's UUID in small letters; empty for those that many computers share.
func UUID(s string) string {
	s = strings.ToLower(Clean(s))
	digits := strings.ReplaceAll(s, "-", "")
	if len(digits) != 32 || strings.Trim(digits, "0123456789abcdef") != "" || strings.Trim(digits, digits[:1]) == "" {
		return ""
	}
	if s == "03000200-0400-0500-0006-000700080009" { // of boards whose maker wrote none
		return ""
	}
	return s
}
