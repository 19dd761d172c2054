//go:build unix && !linux && !darwin

package proc

import (
	"os/exec"

	"golang.org/x/sys/unix"
)

// lowNice is for tasks: these systems have no idle class that can be left again.
const lowNice = 10

// startWithPriority starts cmd and sets its priority. Only an administrator's processes can be raised again.
func startWithPriority(cmd *exec.Cmd, p priority) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	switch p {
	case idle, idleThatStarts:
		_ = unix.Setpriority(unix.PRIO_PROCESS, cmd.Process.Pid, lowNice)
	case normal:
		_ = unix.Setpriority(unix.PRIO_PROCESS, cmd.Process.Pid, 0)
	}
	return nil
}
