package facts

import (
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

func privileged() bool { return windows.GetCurrentProcessToken().IsElevated() }

// system fills what Windows tells in the registry and by system calls.
func system(f *protocol.Facts) {
	v := windows.RtlGetVersion()
	f.OSName = text(`SOFTWARE\Microsoft\Windows NT\CurrentVersion`, "ProductName")
	if f.OSName == "" {
		f.OSName = "Windows"
	}
	f.OSVersion = text(`SOFTWARE\Microsoft\Windows NT\CurrentVersion`, "DisplayVersion")
	f.Kernel = fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
	f.MachineID = text(`SOFTWARE\Microsoft\Cryptography`, "MachineGuid")
	f.CPU = text(`HARDWARE\DESCRIPTION\System\CentralProcessor\0`, "ProcessorNameString")
	f.MemoryBytes = memory()
	f.Manufacturer = sysread.Meant(text(`HARDWARE\DESCRIPTION\System\BIOS`, "SystemManufacturer"))
	f.Product = sysread.Meant(text(`HARDWARE\DESCRIPTION\System\BIOS`, "SystemProductName"))
	f.BootedAt = time.Now().Add(-windows.DurationSinceBoot())
}

// BootID is the number of boots that Windows counts itself.
func BootID() string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE,
		`SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters`, registry.QUERY_VALUE)
	if err != nil {
		return ""
	}
	defer key.Close()
	n, _, err := key.GetIntegerValue("BootId")
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func text(path, name string) string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	defer key.Close()
	value, _, err := key.GetStringValue(name)
	if err != nil {
		return ""
	}
	return value
}

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	length, load                                                 uint32
	total, free, totalPage, freePage, totalVirtual, freeV, extra uint64
}

func memory() int64 {
	m := memoryStatus{}
	m.length = uint32(unsafe.Sizeof(m))
	call := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	if ok, _, _ := call.Call(uintptr(unsafe.Pointer(&m))); ok == 0 {
		return 0
	}
	return int64(m.total)
}
