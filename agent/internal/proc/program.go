package proc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Bounds of a program from outside.
const (
	// MaxProgramEvent is the longest event line of one, in bytes.
	MaxProgramEvent = 64 << 10
	// programGrace is the time between asking one to end and killing it: shorter than what a task has to end.
	programGrace = KillGrace / 2
)

// Program is a program from outside that a task process runs for itself, and that ends with it.
type Program struct {
	// Argv is the program, an absolute path, and its arguments.
	Argv []string
	Dir  string
	Env  []string // added to the small environment that every child gets
	// Input is written to its standard input, which ends after it.
	Input []byte
	// TimeLimit is DefaultTimeLimit when it is 0.
	TimeLimit time.Duration
	// MemoryLimit is how much all its processes may have resident together, in bytes; 0 sets no limit. Where the
	// kernel keeps control groups that this process may make, it holds the limit at once; else they are looked
	// at several times a second.
	MemoryLimit int64
	// Event is called for every line on descriptor 3, in order, from one goroutine; the bytes are the callee's to
	// keep. An error ends the program and becomes the error of RunProgram.
	Event func(line []byte) error
	// Output is called for every line of its standard output and standard error, from another goroutine; the
	// bytes are not to be kept. Lines are broken at 8 KiB.
	Output func(line []byte)
}

// ProgramEnd is how a program ended.
type ProgramEnd struct {
	ExitCode   int    // -1 when a signal ended it
	Signal     string // as "killed"
	TimedOut   bool   // ended because its time was up
	OverMemory bool   // ended because it was over its memory limit
	Memory     int64  // the most that was seen of its memory, in bytes; 0 where it cannot be told
}

// RunProgram runs a program to its end, and ends all that it started and left behind. The error says that it
// could not be started, that ctx ended (its cause), or what was wrong with an event. When this process is killed,
// the program is, too, on Linux; a task process must not run two at a time.
func RunProgram(ctx context.Context, p Program) (ProgramEnd, error) {
	r := &programRun{Program: p, exited: make(chan struct{}), broken: make(chan error, 1)}
	if err := r.start(); err != nil {
		return ProgramEnd{ExitCode: -1}, fmt.Errorf("start %s: %w", p.Argv[0], err)
	}
	cause := r.await(ctx)
	r.tree.awaitEmpty(KillGrace, r.tree.kill) // nothing outlives it
	waitFor(r.exited, KillGrace)
	timer := time.AfterFunc(PipeGrace, r.closePipes)
	r.readers.Wait()
	timer.Stop()
	r.closePipes()
	if r.tree.outOfMemory() {
		r.end.OverMemory = true
	}
	r.tree.close()
	if state := r.cmd.ProcessState; state != nil {
		r.end.ExitCode, r.end.Signal = state.ExitCode(), signalName(state)
	} else {
		r.end.ExitCode, r.end.Signal = -1, "cannot be killed"
	}
	if cause == nil {
		select {
		case cause = <-r.broken:
		default:
		}
	}
	return r.end, cause
}

// programRun is a program that runs.
type programRun struct {
	Program
	cmd     *exec.Cmd
	tree    *tree
	exited  chan struct{}
	broken  chan error // an event could not be taken
	readers sync.WaitGroup
	pipes   []io.Closer // our ends
	once    sync.Once
	end     ProgramEnd
}

func (r *programRun) start() (err error) {
	if err := (Command{Argv: r.Argv, Dir: r.Dir, Env: r.Env}).check(); err != nil {
		return err
	}
	var theirs, ours []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range ours {
				f.Close()
			}
		}
	}()
	pipe := func(readable bool) (mine, child *os.File, err error) {
		from, to, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		if mine, child = to, from; readable {
			mine, child = from, to
		}
		ours, theirs = append(ours, mine), append(theirs, child)
		return mine, child, nil
	}
	in, stdin, err := pipe(false)
	if err != nil {
		return err
	}
	events, eventsOut, err := pipe(true)
	if err != nil {
		return err
	}
	out, stdout, err := pipe(true)
	if err != nil {
		return err
	}
	r.cmd = &exec.Cmd{Path: r.Argv[0], Args: r.Argv, Dir: r.Dir, Env: environ(r.Env), Stdin: stdin, Stdout: stdout, Stderr: stdout}
	if err := prepareProgram(); err != nil {
		return err
	}
	if err := passEvents(r.cmd, eventsOut); err != nil {
		return err
	}
	if r.tree, err = startTree(r.cmd, treeOptions{program: true, memory: r.MemoryLimit}); err != nil {
		return err
	}
	for _, f := range ours {
		r.pipes = append(r.pipes, f)
	}
	go func() {
		_, _ = in.Write(r.Input) // one that does not read its input may do well without
		in.Close()
	}()
	r.readers.Add(2)
	go r.readEvents(events)
	go r.readOutput(out)
	go func() {
		_ = r.cmd.Wait() // the state is what counts
		close(r.exited)
	}()
	return nil
}

// await waits for the end of the program, or ends it and returns why where that is no end of its own.
func (r *programRun) await(ctx context.Context) error {
	limit := r.TimeLimit
	if limit <= 0 {
		limit = DefaultTimeLimit
	}
	over := time.NewTimer(limit)
	defer over.Stop()
	look := time.NewTicker(memoryTick)
	defer look.Stop()
	for {
		var cause error
		select {
		case <-r.exited:
			return nil
		case <-look.C:
			if r.remember(); r.MemoryLimit <= 0 || r.end.Memory <= r.MemoryLimit {
				continue
			}
			r.end.OverMemory = true
			return nil // all of it is killed at once: the computer may be short of memory
		case <-over.C:
			r.end.TimedOut = true
		case cause = <-r.broken:
		case <-ctx.Done():
			cause = context.Cause(ctx)
		}
		r.tree.end(programGrace)
		return cause
	}
}

// remember notes how much memory the program has.
func (r *programRun) remember() {
	if n, ok := r.tree.memory(); ok {
		r.end.Memory = max(r.end.Memory, n)
	}
}

func (r *programRun) closePipes() {
	r.once.Do(func() {
		for _, c := range r.pipes {
			_ = c.Close() // our end of a pipe
		}
	})
}

// readEvents hands over the lines of descriptor 3.
func (r *programRun) readEvents(from io.Reader) {
	defer r.readers.Done()
	lines := bufio.NewReaderSize(from, 32<<10)
	for {
		line, err := readLine(lines, MaxProgramEvent)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
			return // a line without its end was not written to it
		case err == nil && len(bytes.TrimSpace(line)) > 0:
			err = r.Event(line)
		}
		if err != nil {
			r.broken <- err
			_, _ = io.Copy(io.Discard, from) // it must not block while it is being ended
			return
		}
	}
}

func (r *programRun) readOutput(from io.Reader) {
	defer r.readers.Done()
	lines := bufio.NewReaderSize(from, maxLogLine)
	for {
		line, err := lines.ReadSlice('\n')
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			r.Output(line)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
