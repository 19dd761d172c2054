package proc

import (
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tree is a started process and everything that comes from it: its descendants, also those in sessions
// of their own, its process group, and for a runner all orphans as well. Runners that a task started are
// not part of its tree: they outlive it on purpose. A runner's own tree spares nobody: a command that calls
// itself a runner does not outlive its time limit.
type tree struct {
	spares  bool // leaves out runners
	pid     int
	start   uint64 // when pid was started: a number alone may be used again
	root    int    // descendants of this process are the tree: pid, or the runner itself
	seen    map[identity]bool
	cgroup  *cgroup
	reaping chan os.Signal
	held    chan struct{} // closed to let go of the thread that started a program
}

// prepareRunner makes this process a runner: orphans of the command become its children, files are made
// with sane permissions, and no descriptor but the standard ones reaches the command.
func prepareRunner() error {
	syscall.Umask(0o022)
	sealDescriptors()
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// prepareProgram lets what a program leaves behind become a child of this process, and so part of its tree.
func prepareProgram() error {
	sealDescriptors()
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// sealDescriptors sets close-on-exec on every descriptor behind the standard ones. Go sets it on those it
// opens; this is for those that were inherited: locks, and whatever started the agent left open.
func sealDescriptors() {
	if err := unix.CloseRange(firstFile, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err == nil {
		return
	}
	entries, err := os.ReadDir("/proc/self/fd") // kernels before 5.11
	if err != nil {
		return
	}
	for _, entry := range entries {
		if fd, ok := number(entry.Name()); ok && fd >= firstFile {
			syscall.CloseOnExec(fd)
		}
	}
}

func selfPath() (string, error) {
	// Not the path: after an update another version may stand there, with other ideas of our files.
	return "/proc/self/exe", nil
}

// startTree starts cmd in a process group of its own.
func startTree(cmd *exec.Cmd, opts treeOptions) (*tree, error) {
	whole := opts.runner || opts.program // of this process
	t := &tree{seen: make(map[identity]bool), spares: !whole}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if opts.leashed {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	start := func() error { return startWithPriority(cmd, opts.priority) }
	if opts.program {
		start = func() error { return t.startHeld(cmd) }
	}
	if whole {
		t.cgroup = newCgroup()
	}
	if t.cgroup != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, t.cgroup.fd()
	}
	if t.cgroup != nil && opts.memory > 0 {
		t.cgroup.limitMemory(opts.memory)
	}
	err := start()
	if err != nil && t.cgroup != nil {
		// The command did not start. It may be the cgroup's fault, so once more without it.
		t.cgroup.close()
		t.cgroup = nil
		retry := &exec.Cmd{Path: cmd.Path, Args: cmd.Args, Dir: cmd.Dir, Env: cmd.Env, Stdin: cmd.Stdin, Stdout: cmd.Stdout,
			Stderr: cmd.Stderr, ExtraFiles: cmd.ExtraFiles, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
		*cmd = *retry
		err = start()
	}
	if err != nil {
		return nil, err
	}
	t.pid, t.root = cmd.Process.Pid, cmd.Process.Pid
	if data, err := os.ReadFile("/proc/" + strconv.Itoa(t.pid) + "/stat"); err == nil {
		p, _ := parseStat(data) // it is there until cmd.Wait
		t.start = p.start
	}
	if whole {
		t.root = os.Getpid()
		t.reap()
	}
	return t, nil
}

// startHeld starts a program that is killed together with this process. The kernel watches the thread that
// started it, so that stays until close.
func (t *tree) startHeld(cmd *exec.Cmd) error {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result, held := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		result <- err
		if err == nil {
			<-held
		}
	}()
	if err := <-result; err != nil {
		return err
	}
	t.held = held
	// When the computer runs out of memory, this is to go before anything else.
	_ = os.WriteFile("/proc/"+strconv.Itoa(cmd.Process.Pid)+"/oom_score_adj", []byte("1000"), 0)
	return nil
}

// memoryTick is how often the memory of a program is looked at.
const memoryTick = 200 * time.Millisecond

// memory is how much the processes of the tree have resident, in bytes; what several of them share counts for
// each.
func (t *tree) memory() (int64, bool) {
	var pages int64
	for _, p := range t.members() {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/statm")
		if err != nil {
			continue // it has ended
		}
		pages += residentPages(data)
	}
	return pages * int64(os.Getpagesize()), true
}

// residentPages reads /proc/PID/statm: "total resident shared …", in pages.
func residentPages(statm []byte) int64 {
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0
	}
	n, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// outOfMemory reports whether the kernel ended processes of the tree for the memory limit of its control group.
func (t *tree) outOfMemory() bool { return t.cgroup != nil && t.cgroup.killedForMemory() }

// reap takes away the orphans that end while the command runs. The command's own process is left to
// cmd.Wait.
func (t *tree) reap() {
	t.reaping = make(chan os.Signal, 1)
	signal.Notify(t.reaping, syscall.SIGCHLD)
	go func() {
		for range t.reaping {
			for _, p := range processes() {
				if p.parent == t.root && p.zombie && p.pid != t.pid {
					_, _ = syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
				}
			}
		}
	}()
}

// members are the living processes of the tree.
func (t *tree) members() []process {
	return t.spareRunners(t.choose(processes(), os.Getpid()))
}

// choose picks the tree out of all processes. A mistake here kills what is not ours, so it takes nothing
// for granted: neither this process, nor init, nor anything by way of the number 0 (kernel threads are in
// group 0, and a tree without a process of its own has pid 0) is ever part of a tree.
func (t *tree) choose(all []process, self int) []process {
	part := make(map[int]bool, 8)
	pid, root := t.pid, t.root
	if slices.ContainsFunc(all, func(p process) bool { return p.pid == pid && p.start != t.start }) {
		pid = 0 // the number belongs to another process now
		if root != self {
			root = 0
		}
	}
	belongs := func(p process) bool {
		return part[p.parent] || p.parent == root && root > 1 || p.group == pid && pid > 1 ||
			p.pid == pid || t.seen[p.identity]
	}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if p.pid > 1 && p.pid != self && !part[p.pid] && belongs(p) {
				part[p.pid], grown = true, true
			}
		}
	}
	var members []process
	for _, p := range all {
		if part[p.pid] && !p.zombie {
			members = append(members, p)
		}
	}
	return members
}

// spareRunners leaves out runners and what comes from them, and remembers the others, so that they are
// still found after their parents have ended.
func (t *tree) spareRunners(members []process) []process {
	spared := make(map[int]bool)
	for _, p := range members {
		if t.spares && !t.seen[p.identity] && isRunner(p.pid) {
			spared[p.pid] = true
		}
	}
	for grown := len(spared) > 0; grown; {
		grown = false
		for _, p := range members {
			if !spared[p.pid] && spared[p.parent] {
				spared[p.pid], grown = true, true
			}
		}
	}
	kept := members[:0]
	for _, p := range members {
		if !spared[p.pid] {
			t.seen[p.identity] = true
			kept = append(kept, p)
		}
	}
	return kept
}

// terminate asks the tree to end, and reports whether asking makes sense on this system.
func (t *tree) terminate() bool {
	t.signal(syscall.SIGTERM)
	return true
}

func (t *tree) kill() {
	if t.cgroup != nil {
		t.cgroup.kill()
	}
	t.signal(syscall.SIGKILL)
}

func (t *tree) signal(sig syscall.Signal) {
	for _, p := range t.members() {
		_ = syscall.Kill(p.pid, sig) // an error means that it has gone already or is not ours to end
	}
}

func (t *tree) alive() bool { return len(t.members()) > 0 }

// close lets go of the tree; what still lives, lives on.
func (t *tree) close() {
	if t.reaping != nil {
		signal.Stop(t.reaping)
		close(t.reaping)
	}
	if t.cgroup != nil {
		t.cgroup.close()
	}
	if t.held != nil {
		close(t.held)
	}
}

// endChildren kills all that comes from this process, runners excepted.
func endChildren() {
	t := &tree{root: os.Getpid(), seen: make(map[identity]bool), spares: true}
	t.awaitEmpty(killTick, t.kill)
}
