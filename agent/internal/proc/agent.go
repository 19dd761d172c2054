package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Agent is another build of the agent that this process has started and stays with.
type Agent struct {
	cmd   *exec.Cmd
	tree  *tree
	leash io.Closer
	once  sync.Once
	done  chan struct{}
}

// busyLimit is how long a program that was just written may be kept busy by a child of the writer that has not come
// to its own program yet.
const busyLimit = 2 * time.Second

// StartAgent starts a program with the environment env and with this process's output, in a process group of its
// own. It is held on a leash, its standard input, which ends when this process does, however it does; on Linux and
// Windows the system itself ends the program then.
func StartAgent(path string, args, env []string) (*Agent, error) {
	end, leash, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	p := &Agent{leash: leash, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: on Linux the program ends with the thread that started it
		giveUp := time.Now().Add(busyLimit)
		for {
			p.cmd = &exec.Cmd{Path: path, Args: append([]string{path}, args...), Env: env, Stdin: end, Stdout: os.Stdout, Stderr: os.Stderr}
			p.tree, err = startTree(p.cmd, treeOptions{leashed: true})
			if !errors.Is(err, syscall.ETXTBSY) || time.Now().After(giveUp) {
				break
			}
			time.Sleep(lockTick)
		}
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // the state is what counts
			close(p.done)
		}
	}()
	err = errors.Join(<-started, end.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", path, err), leash.Close())
	}
	return p, nil
}

// Done is closed when the program has ended.
func (p *Agent) Done() <-chan struct{} { return p.done }

// Stop asks the program to end, waits for at most grace, and ends what is left of it and of what it started,
// runners excepted. It returns when all that has gone, and may be called for a program that has ended.
func (p *Agent) Stop(grace time.Duration) {
	p.once.Do(func() {
		_ = p.leash.Close()
		p.tree.terminate()
		waitFor(p.done, grace)
		p.tree.end(KillGrace)
		<-p.done
		p.tree.close()
	})
}

// ExitCode is that of a program that has ended; -1 when a signal ended it.
func (p *Agent) ExitCode() int {
	if p.cmd.ProcessState == nil {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// End says how the program ended, for people.
func (p *Agent) End() string {
	if p.cmd.ProcessState == nil {
		return "unknown"
	}
	return p.cmd.ProcessState.String()
}
