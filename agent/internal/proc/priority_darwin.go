package proc

import (
	"os/exec"

	"golang.org/x/sys/unix"
)

// Values of sys/resource.h.
const (
	prioDarwinProcess = 4
	prioDarwinBG      = 0x1000 // processor, disk and network only as far as nobody else wants them
)

// startWithPriority starts cmd and sets what it gets of the computer. Anybody may take the background state
// back from a process of his own.
func startWithPriority(cmd *exec.Cmd, p priority) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	switch p {
	case idle, idleThatStarts:
		_ = unix.Setpriority(prioDarwinProcess, cmd.Process.Pid, prioDarwinBG)
	case normal:
		_ = unix.Setpriority(prioDarwinProcess, cmd.Process.Pid, 0)
	}
	return nil
}
