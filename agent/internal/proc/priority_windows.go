package proc

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// priorityClass is the flag of CreateProcess. Anybody may raise it again up to normal. The class that the system
// calls background mode is not used: it also takes a process's memory away.
func priorityClass(p priority) uint32 {
	switch p {
	case idle, idleThatStarts:
		return windows.IDLE_PRIORITY_CLASS
	case normal:
		return windows.NORMAL_PRIORITY_CLASS
	default:
		return 0
	}
}

// I/O priorities, IO_PRIORITY_HINT of ntddk.h.
const (
	ioVeryLow = 0
	ioNormal  = 2
)

// setIOPriority sets what a process gets of the disk; what the system does not permit is left as it is.
func setIOPriority(process windows.Handle, p priority) {
	hint := uint32(ioNormal)
	switch p {
	case inherited:
		return
	case idle, idleThatStarts:
		hint = ioVeryLow
	}
	_ = windows.NtSetInformationProcess(process, windows.ProcessIoPriority, unsafe.Pointer(&hint), uint32(unsafe.Sizeof(hint)))
}
