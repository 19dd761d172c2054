package proc

import (
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Priorities as the kernel numbers them.
const (
	schedNormal   = 0  // SCHED_OTHER of sched.h
	deniedNice    = 10 // where SCHED_IDLE is not permitted
	ioprioProcess = 1
	ioprioIdle    = 3 << 13
)

// startWithPriority starts cmd from a thread that has the priority which the child is to have. A child
// inherits all of it from the thread that makes it; set from outside after the start it would only reach
// those of its threads that exist by then. The thread is thrown away afterwards, because an ordinary user
// cannot raise its priority again. What the system does not permit is left as it is.
func startWithPriority(cmd *exec.Cmd, p priority) error {
	if p == inherited {
		return cmd.Start()
	}
	return onThread(func() error {
		setPriority(p)
		return cmd.Start()
	})
}

// onThread calls f on a thread of its own, which ends with it.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		result <- f()
	}()
	return <-result
}

// setPriority sets the priority of the calling thread. The idle policy is a small weight (3, of 1024 that others
// have), not a never: a task goes on, slowly, however busy the computer is.
func setPriority(p priority) {
	nice, policy, ioprio := 0, uint32(schedNormal), 0
	if p != normal {
		ioprio = ioprioIdle
	}
	if p == idle || p == idleThatStarts && mayRaise() {
		policy = unix.SCHED_IDLE
	}
	if setPolicy(policy) != nil && policy == unix.SCHED_IDLE {
		nice = deniedNice
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, nice)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioProcess, 0, uintptr(ioprio))
}

func setPolicy(policy uint32) error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy}, 0)
}

// mayRaise reports whether a thread of this process that is idle may become normal again: the administrator's
// may, an ordinary user's only when the system's limits say so. The idle class of input and output is not asked
// for: everybody may leave it.
var mayRaise = sync.OnceValue(func() bool {
	return onThread(func() error {
		if err := setPolicy(unix.SCHED_IDLE); err != nil {
			return err
		}
		return setPolicy(schedNormal)
	}) == nil
})
