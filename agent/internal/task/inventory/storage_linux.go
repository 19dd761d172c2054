package inventory

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// findDisks lists the block devices of /sys/block that are no part of another one: no partitions, and no
// devices that the kernel makes of others or of memory.
func findDisks(_ context.Context, h *host) ([]protocol.Disk, error) {
	found := []protocol.Disk{}
	for _, entry := range h.Names("sys/block") {
		dir := "sys/block/" + entry + "/"
		where := h.Real("sys/block/" + entry)
		if madeOfOthers(entry, where) || h.Line(dir+"hidden") == "1" || !h.Exists(dir+"size") {
			continue
		}
		u := h.udev(h.Line(dir + "dev"))
		d := protocol.Disk{
			Device: "/dev/" + strings.ReplaceAll(entry, "!", "/"), Interface: diskInterface(entry, where), Removable: h.Line(dir+"removable") == "1",
			Model:    cmp.Or(sysread.Meant(h.Line(dir+"device/model")), sysread.Meant(h.Line(dir+"device/name")), u.text("ID_MODEL")),
			Vendor:   cmp.Or(diskVendor(h.Line(dir+"device/vendor")), diskVendor(u.text("ID_VENDOR"))),
			Serial:   cmp.Or(sysread.Meant(h.Line(dir+"device/serial")), sysread.Meant(h.serialPage(dir)), sysread.Meant(h.Line(dir+"serial")), u.text("ID_SERIAL_SHORT")),
			Firmware: cmp.Or(sysread.Meant(h.Line(dir+"device/firmware_rev")), sysread.Meant(h.Line(dir+"device/rev")), u.text("ID_REVISION")),
		}
		d.Type = diskType(entry, d.Interface, d.Removable, h.Line(dir+"queue/rotational"))
		if sectors, err := strconv.ParseInt(h.Line(dir+"size"), 10, 64); err == nil && sectors > 0 && sectors < 1<<50 && d.Type != "optical" {
			d.Bytes = sectors * 512 // whatever the size of the disk's own sectors
		}
		d.Name = cmp.Or(strings.TrimSpace(d.Vendor+" "+d.Model), entry)
		if d.Vendor != "" && strings.HasPrefix(strings.ToLower(d.Model), strings.ToLower(d.Vendor)) {
			d.Name = d.Model
		}
		d.Key = entry // names of devices change with the order in which they are found
		if d.Serial != "" {
			d.Key = cmp.Or(d.Model, d.Interface) + "-" + d.Serial
		}
		found = append(found, d)
	}
	return found, nil
}

// madeOfOthers reports whether a block device is made of files, memory or other devices. Only NVMe disks
// with several paths stand among the virtual devices and are real.
func madeOfOthers(entry, where string) bool {
	for _, kind := range []string{"loop", "ram", "zram", "dm-", "md", "nbd", "zd", "drbd", "bcache", "rbd"} {
		if rest, ok := strings.CutPrefix(entry, kind); ok && strings.Trim(rest, "0123456789") == "" {
			return true
		}
	}
	return strings.Contains(where, "devices/virtual/block/")
}

// diskVendor leaves out what is no name: ATA, which stands for every SATA disk, and numbers.
func diskVendor(s string) string {
	s = sysread.Meant(s)
	if s == "ATA" || strings.HasPrefix(s, "0x") {
		return ""
	}
	return s
}

// diskInterface tells by the way to a device through /sys/devices how it is connected.
func diskInterface(entry, where string) string {
	for _, mark := range []struct{ text, name string }{
		{"/usb", "usb"}, {"/nvme", "nvme"}, {"/virtio", "virtio"}, {"/ata", "sata"}, {"/mmc_host", "mmc"}, {"/vbd-", "xen"}, {"VMBUS", "hyperv"}, {"/vmbus", "hyperv"},
		{"/session", "iscsi"}, {"/rport-", "fc"}, {"/end_device-", "sas"}, {"/host", "scsi"},
	} {
		if strings.Contains(where, mark.text) {
			return mark.name
		}
	}
	switch {
	case strings.HasPrefix(entry, "nvme"):
		return "nvme"
	case strings.HasPrefix(entry, "fd"):
		return "floppy"
	}
	return ""
}

func diskType(entry, connection string, removable bool, rotational string) string {
	switch {
	case strings.HasPrefix(entry, "sr"):
		return "optical"
	case strings.HasPrefix(entry, "fd"):
		return "floppy"
	case connection == "virtio" || connection == "xen" || connection == "hyperv":
		return "virtual"
	case connection == "mmc", removable && connection == "usb":
		return "flash"
	case rotational == "1":
		return "hdd"
	case rotational == "0":
		return "ssd"
	default:
		return ""
	}
}

// serialPage is the serial number of a SCSI disk: page 0x80 of its vital product data (SPC-5, 7.7.12),
// which begins with four bytes of which the last is the length.
func (h *host) serialPage(dir string) string {
	page, err := h.Read(dir+"device/vpd_pg80", 512)
	if err != nil || len(page) < 5 {
		return ""
	}
	return string(page[4:min(len(page), 4+int(page[3]))])
}

// properties are what udev found out about a device.
type properties map[string]string

func (p properties) text(name string) string { return sysread.Meant(p[name]) }

// udev reads the properties of the block device with the number, as "8:0", from udev's database
// (sd-device, "E:NAME=value").
func (h *host) udev(number string) properties {
	p := properties{}
	if number == "" || strings.Trim(number, "0123456789:") != "" {
		return p
	}
	for line := range strings.Lines(string(h.Bytes("run/udev/data/b" + number))) {
		if entry, ok := strings.CutPrefix(line, "E:ID_"); ok {
			name, value, _ := strings.Cut(strings.TrimSpace(entry), "=")
			p["ID_"+name] = unescapeUdev(value)
		}
	}
	return p
}

// unescapeUdev turns the \x20 of encoded values into what they stand for.
func unescapeUdev(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
