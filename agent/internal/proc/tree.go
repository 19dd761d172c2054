package proc

import (
	"strconv"
	"strings"
	"time"
)

// treeOptions say what a tree of processes is for.
type treeOptions struct {
	// runner: the command of a package. Orphans of the command belong to this process, so that nothing escapes
	// the time limit.
	runner bool
	// program: a program from outside, that a task runs. It has no runner and ends with the task; orphans of it
	// belong to the task, too.
	program bool
	// memory is the limit of the whole tree, in bytes; 0 sets none.
	memory   int64
	priority priority
	// leashed: it ends with the thread that started it, where the system can do that.
	leashed bool
}

// priority is what a started process gets of processor and disk.
type priority int

const (
	inherited priority = iota
	// normal, whatever the priority of the task that asked for it: a runner and the command of a package, because
	// an installer may start services, which inherit it.
	normal
	// idle: only what nobody else wants, for the user of the computer comes first.
	idle
	// idleThatStarts is idle where it can be raised to normal again, for a task that starts runners.
	idleThatStarts
)

// killTick is how often a tree that is being ended is looked at.
const killTick = 20 * time.Millisecond

// end ends the whole tree: asks, waits for at most grace, kills, and waits until nothing is left or
// nothing more can be done. Processes that are started meanwhile are ended too.
func (t *tree) end(grace time.Duration) {
	if t.terminate() {
		t.awaitEmpty(grace, func() {})
	}
	t.awaitEmpty(KillGrace, t.kill)
}

// awaitEmpty calls act and waits, again and again, until the tree is empty or the time is up.
func (t *tree) awaitEmpty(limit time.Duration, act func()) {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) && t.alive() {
		act()
		time.Sleep(killTick) // other processes' ends cannot be waited for, only looked at
	}
}

// groupMemory adds up what `ps -o pgid=,rss=` tells of one process group: a line for each process, in KiB.
func groupMemory(ps []byte, group int) (bytes int64) {
	for line := range strings.Lines(string(ps)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[0] != strconv.Itoa(group) {
			continue
		}
		if n, err := strconv.ParseInt(fields[1], 10, 32); err == nil && n > 0 {
			bytes += n << 10
		}
	}
	return bytes
}
