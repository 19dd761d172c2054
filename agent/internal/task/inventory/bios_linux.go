package inventory

import (
	"context"
	"errors"
	"io/fs"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

const dmiFolder = "sys/firmware/dmi/tables/"

// dmi reads the firmware's table, which is for root. A computer without one has an empty table.
func (h *host) dmi() (*dmiTable, error) {
	table, err := h.Read(dmiFolder+"DMI", maxDMI)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &dmiTable{}, nil
	case errors.Is(err, fs.ErrPermission):
		return &dmiTable{}, errors.New("the firmware's table (SMBIOS) can be read by root only")
	case err != nil:
		return &dmiTable{}, err
	}
	return parseDMI(table, h.Bytes(dmiFolder+"smbios_entry_point"))
}

// findBIOS describes the firmware by its table, and what that lacks by what the kernel tells of it in
// /sys/class/dmi/id or the device tree.
func findBIOS(_ context.Context, h *host) ([]protocol.BIOS, error) {
	table, err := h.dmi()
	b := table.bios()
	id := func(to *string, file string) {
		if *to == "" {
			*to = sysread.Meant(h.Line("sys/class/dmi/id/" + file))
		}
	}
	id(&b.Vendor, "bios_vendor")
	id(&b.Version, "bios_version")
	id(&b.Date, "bios_date")
	b.Date = firmwareDate(b.Date)
	id(&b.BoardVendor, "board_vendor")
	id(&b.BoardProduct, "board_name")
	id(&b.BoardSerial, "board_serial")
	id(&b.ChassisSerial, "chassis_serial")
	id(&b.AssetTag, "chassis_asset_tag")
	p := h.Product()
	for _, pair := range []struct {
		to    *string
		value string
	}{{&b.Manufacturer, p.Manufacturer}, {&b.Product, p.Product}, {&b.ProductNumber, p.SKU}, {&b.Serial, p.Serial}, {&b.UUID, p.UUID}} {
		if *pair.to == "" {
			*pair.to = pair.value
		}
	}
	version := table.first(1).text(0x06)
	id(&version, "product_version")
	if b == (protocol.BIOS{Row: b.Row}) {
		return []protocol.BIOS{}, err // firmware that tells nothing
	}
	name(&b, version)
	b.UEFI = h.Exists("sys/firmware/efi")
	// Four bytes of attributes, then the variable (UEFI 2.10, 3.3).
	if v := h.Bytes("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"); len(v) == 5 && v[4] == 1 {
		b.SecureBoot = true
	}
	return []protocol.BIOS{b}, err
}

// findMemory lists the places for memory modules.
func findMemory(_ context.Context, h *host) ([]protocol.MemorySlot, error) {
	table, err := h.dmi()
	found := table.memory()
	if len(found) == 0 && err != nil {
		return nil, err
	}
	return found, err
}
