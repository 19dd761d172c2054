//go:build unix && !linux

package proc

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// tree is a started process and its process group. Unlike on Linux, a child that makes a group or session
// of its own leaves the tree: these systems offer nothing that keeps it.
type tree struct {
	pid int
}

func prepareRunner() error {
	syscall.Umask(0o022)
	sealDescriptors()
	return nil
}

// sealDescriptors sets close-on-exec on the descriptors that may have been inherited.
func sealDescriptors() {
	var limit syscall.Rlimit
	last := 256
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		last = int(min(limit.Cur, 4096))
	}
	for fd := firstFile; fd < last; fd++ {
		syscall.CloseOnExec(fd)
	}
}

func selfPath() (string, error) { return os.Executable() }

func startTree(cmd *exec.Cmd, opts treeOptions) (*tree, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := startWithPriority(cmd, opts.priority); err != nil {
		return nil, err
	}
	return &tree{pid: cmd.Process.Pid}, nil
}

func (t *tree) terminate() bool {
	_ = syscall.Kill(-t.pid, syscall.SIGTERM)
	return true
}

func (t *tree) kill() { _ = syscall.Kill(-t.pid, syscall.SIGKILL) }

func (t *tree) alive() bool { return syscall.Kill(-t.pid, 0) == nil }

func (t *tree) close() {}

// prepareProgram makes nothing but the standard descriptors reach a program.
func prepareProgram() error {
	sealDescriptors()
	return nil
}

// memoryTick is how often the memory of a program is looked at, which takes a process here.
const memoryTick = 2 * time.Second

// memory is how much the processes of the group have resident, in bytes.
func (t *tree) memory() (int64, bool) {
	out, err := exec.Command("/bin/ps", "-A", "-o", "pgid=,rss=").Output()
	if err != nil {
		return 0, false
	}
	return groupMemory(out, t.pid), true
}

func (t *tree) outOfMemory() bool { return false }

// endChildren has nothing to go by here: children of a task have groups of their own.
func endChildren() {}
