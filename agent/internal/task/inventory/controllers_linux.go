package inventory

import (
	"cmp"
	"context"
	"path"
	"strings"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// Where systems keep the names of devices.
var (
	pciIDs = []string{"usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids", "usr/share/pci.ids", "var/lib/pciutils/pci.ids"}
	usbIDs = []string{"usr/share/misc/usb.ids", "usr/share/hwdata/usb.ids", "usr/share/usb.ids", "var/lib/usbutils/usb.ids"}
)

// findControllers lists the devices at PCI and USB; hubs that belong to a PCI device are left out.
func findControllers(_ context.Context, h *host) ([]protocol.Controller, error) {
	pci, wantedPCI := h.pciDevices()
	usb, wantedUSB := h.usbDevices()
	namesPCI, err := h.deviceNames(pciIDs, wantedPCI)
	namesUSB, err2 := h.deviceNames(usbIDs, wantedUSB)
	for i := range pci {
		c := &pci[i]
		c.Class = cmp.Or(namesPCI.class(c.Class), pciClasses[c.Class[:2]])
		c.Vendor = cmp.Or(namesPCI.vendor(c.VendorID), pciVendors[c.VendorID])
		c.Name = cmp.Or(namesPCI.product(c.VendorID, c.ProductID), strings.TrimSpace(c.Vendor+" "+cmp.Or(c.Class, "device")+" "+c.ProductID))
	}
	for i := range usb {
		c := &usb[i]
		c.Class = cmp.Or(namesUSB.class(c.Class), usbClasses[c.Class[:2]])
		c.Vendor = cmp.Or(namesUSB.vendor(c.VendorID), c.Vendor)
		c.Name = cmp.Or(c.Name, namesUSB.product(c.VendorID, c.ProductID), strings.TrimSpace(c.Vendor+" device "+c.ProductID))
	}
	return append(pci, usb...), cmp.Or(err, err2)
}

// id is a number of four hex digits in a file of sysfs; empty when it is none.
func (h *host) id(path string) string {
	s := strings.ToLower(strings.TrimPrefix(h.Line(path), "0x"))
	if len(s) != 4 || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}

func (h *host) driver(dir string) string {
	target := h.Link(dir + "driver")
	if target == "" {
		return ""
	}
	return path.Base(target)
}

// pciDevices reads /sys/bus/pci/devices. Class holds class and subclass in hex until it has its name.
func (h *host) pciDevices() ([]protocol.Controller, *wantedIDs) {
	found, wanted := []protocol.Controller{}, newWantedIDs()
	for _, at := range h.Names("sys/bus/pci/devices") {
		dir := "sys/bus/pci/devices/" + at + "/"
		c := protocol.Controller{
			Row: protocol.Row{Key: "pci-" + at}, Bus: "pci", VendorID: h.id(dir + "vendor"), ProductID: h.id(dir + "device"), Driver: h.driver(dir),
			Revision: strings.TrimPrefix(h.Line(dir+"revision"), "0x"), Class: strings.ToLower(strings.TrimPrefix(h.Line(dir+"class"), "0x")),
		}
		if c.VendorID == "" || c.ProductID == "" {
			continue
		}
		if len(c.Class) != 6 || strings.Trim(c.Class, "0123456789abcdef") != "" {
			c.Class = "ff0000"
		}
		wanted.add(c.VendorID, c.ProductID, c.Class)
		found = append(found, c)
	}
	return found, wanted
}

// usbDevices reads /sys/bus/usb/devices without interfaces (with a colon) and root hubs.
func (h *host) usbDevices() ([]protocol.Controller, *wantedIDs) {
	found, wanted := []protocol.Controller{}, newWantedIDs()
	for _, at := range h.Names("sys/bus/usb/devices") {
		if strings.Contains(at, ":") || strings.HasPrefix(at, "usb") {
			continue
		}
		dir := "sys/bus/usb/devices/" + at + "/"
		c := protocol.Controller{
			Row: protocol.Row{Key: "usb-" + at, Name: sysread.Meant(h.Line(dir + "product"))}, Bus: "usb", VendorID: h.id(dir + "idVendor"), ProductID: h.id(dir + "idProduct"),
			Vendor: sysread.Meant(h.Line(dir + "manufacturer")), Serial: sysread.Meant(h.Line(dir + "serial")), Revision: h.Line(dir + "bcdDevice"),
		}
		if c.VendorID == "" || c.ProductID == "" {
			continue
		}
		c.Class = h.usbClass(at)
		c.Driver = h.driver(dir + at + ":1.0/")
		wanted.add(c.VendorID, c.ProductID, c.Class)
		found = append(found, c)
	}
	return found, wanted
}

// usbClass is class, subclass and protocol in hex: of the device, or of its first interface where the
// device leaves it to those.
func (h *host) usbClass(at string) string {
	dir := "sys/bus/usb/devices/" + at + "/"
	class := h.Line(dir+"bDeviceClass") + h.Line(dir+"bDeviceSubClass") + h.Line(dir+"bDeviceProtocol")
	if strings.HasPrefix(class, "00") || strings.HasPrefix(class, "ef") {
		dir += at + ":1.0/"
		if !h.Exists(dir + "bInterfaceClass") {
			dir = "sys/bus/usb/devices/" + at + ":1.0/"
		}
		class = h.Line(dir+"bInterfaceClass") + h.Line(dir+"bInterfaceSubClass") + h.Line(dir+"bInterfaceProtocol")
	}
	if len(class) != 6 || strings.Trim(class, "0123456789abcdef") != "" {
		return "ff0000"
	}
	return class
}

// Names for computers without the files, which servers often lack: base classes of PCI (PCI Code and ID
// Assignment Specification 1.15) and USB (usb.org/defined-class-codes), and common makers.
var (
	pciClasses = map[string]string{
		"00": "Unclassified device", "01": "Mass storage controller", "02": "Network controller", "03": "Display controller", "04": "Multimedia controller",
		"05": "Memory controller", "06": "Bridge", "07": "Communication controller", "08": "Generic system peripheral", "09": "Input device controller",
		"0a": "Docking station", "0b": "Processor", "0c": "Serial bus controller", "0d": "Wireless controller", "0e": "Intelligent controller",
		"0f": "Satellite communications controller", "10": "Encryption controller", "11": "Signal processing controller", "12": "Processing accelerator", "13": "Non-essential instrumentation",
	}
	usbClasses = map[string]string{
		"01": "Audio", "02": "Communications", "03": "Human interface device", "05": "Physical interface device", "06": "Imaging", "07": "Printer", "08": "Mass storage", "09": "Hub",
		"0a": "Data", "0b": "Chip card", "0d": "Content security", "0e": "Video", "0f": "Personal healthcare", "dc": "Diagnostic", "e0": "Wireless", "ef": "Miscellaneous", "fe": "Application specific",
	}
	pciVendors = map[string]string{
		"1000": "Broadcom / LSI", "1002": "AMD/ATI", "1022": "AMD", "1028": "Dell", "102b": "Matrox", "103c": "Hewlett-Packard", "10de": "NVIDIA", "10ec": "Realtek", "1106": "VIA",
		"1234": "QEMU", "1344": "Micron", "1414": "Microsoft", "144d": "Samsung", "14c3": "MediaTek", "14e4": "Broadcom", "15ad": "VMware", "15b3": "Mellanox", "15b7": "Sandisk",
		"168c": "Qualcomm Atheros", "17cb": "Qualcomm", "1a03": "ASPEED", "1ae0": "Google", "1af4": "Red Hat", "1b21": "ASMedia", "1b36": "Red Hat", "1b4b": "Marvell", "1c5c": "SK hynix",
		"1d0f": "Amazon", "1d94": "Hygon", "1e0f": "Kioxia", "5853": "XenSource", "8086": "Intel", "80ee": "VirtualBox", "c0a9": "Micron/Crucial",
	}
)
