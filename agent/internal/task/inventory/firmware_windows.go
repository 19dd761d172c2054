package inventory

import (
	"context"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/muster/muster/packages/protocol"
)

// rawSMBIOS is the provider "RSMB" of GetSystemFirmwareTable.
const rawSMBIOS = 'R'<<24 | 'S'<<16 | 'M'<<8 | 'B'

// dmi asks Windows for the firmware's table, which needs no privileges.
func (h *host) dmi() (*dmiTable, error) {
	call := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetSystemFirmwareTable")
	size, _, err := call.Call(rawSMBIOS, 0, 0, 0)
	if size == 0 || size > maxDMI {
		return &dmiTable{}, fmt.Errorf("ask for the firmware's table (SMBIOS): %d bytes: %w", size, err)
	}
	data := make([]byte, size)
	n, _, err := call.Call(rawSMBIOS, 0, uintptr(unsafe.Pointer(&data[0])), size)
	if n == 0 || n > size {
		return &dmiTable{}, fmt.Errorf("ask for the firmware's table (SMBIOS): %w", err)
	}
	return parseRawDMI(data[:n])
}

// findBIOS describes the firmware by its table, and by what Windows says of how it was started.
func findBIOS(_ context.Context, h *host) ([]protocol.BIOS, error) {
	table, err := h.dmi()
	b := table.bios()
	if b == (protocol.BIOS{Row: b.Row}) {
		return nil, err
	}
	var kind uint32
	if ok, _, _ := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetFirmwareType").Call(uintptr(unsafe.Pointer(&kind))); ok != 0 {
		b.UEFI = kind == 2 // FirmwareTypeUefi
	}
	if key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Control\SecureBoot\State`, registry.QUERY_VALUE); err == nil {
		on, _, err := key.GetIntegerValue("UEFISecureBootEnabled")
		b.SecureBoot = err == nil && on == 1
		key.Close()
	}
	return []protocol.BIOS{b}, err
}

// findCPUs lists the processors that the firmware names.
func findCPUs(_ context.Context, h *host) ([]protocol.CPU, error) {
	table, err := h.dmi()
	found := table.processors()
	for i := range found {
		found[i].Arch = h.arch
	}
	if len(found) == 0 {
		return nil, err
	}
	return found, err
}

// findMemory lists the places for memory modules.
func findMemory(_ context.Context, h *host) ([]protocol.MemorySlot, error) {
	table, err := h.dmi()
	found := table.memory()
	if len(found) == 0 {
		return nil, err
	}
	return found, err
}
