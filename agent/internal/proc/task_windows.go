package proc

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/windows"
)

// eventsVariable tells a task the number of the inherited handle for its events: Windows has no
// descriptor 3.
const eventsVariable = "MUSTER_EVENTS"

func passEvents(cmd *exec.Cmd, file *os.File) error {
	handle := windows.Handle(file.Fd())
	if err := windows.SetHandleInformation(handle, windows.HANDLE_FLAG_INHERIT, windows.HANDLE_FLAG_INHERIT); err != nil {
		return fmt.Errorf("pass on the events handle: %w", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{AdditionalInheritedHandles: []syscall.Handle{syscall.Handle(handle)}}
	cmd.Env = append(cmd.Env, eventsVariable+"="+strconv.FormatUint(uint64(handle), 10))
	return nil
}

//fuzz:none the agent itself made this number for its child
func openEvents() (*os.File, error) {
	handle, err := strconv.ParseUint(os.Getenv(eventsVariable), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s names no handle: %w", eventsVariable, err)
	}
	if err := windows.SetHandleInformation(windows.Handle(handle), windows.HANDLE_FLAG_INHERIT, 0); err != nil {
		return nil, fmt.Errorf("take over the events handle: %w", err)
	}
	return os.NewFile(uintptr(handle), "events"), nil
}
