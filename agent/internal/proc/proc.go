// Package proc is the only place of the agent that starts other programs.
//
// There are four ways to start one:
//
//   - StartRunner starts a runner: a small process of the same binary, in a session of its own, that
//     carries out the command of one deployment attempt, at normal priority. It holds an inherited lock, writes output and
//     exit status into the attempt's folder and outlives a killed resident or task.
//   - StartTask starts a task process of the same binary (`task NAME`): idle priority, JSON in on its
//     standard input, JSON lines out on descriptor 3, gone when its standard input ends.
//   - RunProgram runs a program from outside for a task process, and ends with it: time and memory are limited.
//   - Output runs a short command of the system and returns what it printed.
//
// After a crash of the agent, or of the machine, Inspect tells from the attempt's folder alone how far
// its command came: not begun, running, finished, or lost (begun, and nobody can tell how it ended). A
// folder's command is started at most once, whatever crashes when.
//
// Callers are the resident (tasks, short commands) and the task processes (runners, short commands).
// A main function that offers `task NAME` and `runner DIR` must call ChildMain and RunnerMain for them.
package proc

import (
	"errors"
	"time"
)

// Limits of every command and task.
const (
	// DefaultTimeLimit is how long a command may run when its package does not say.
	DefaultTimeLimit = 10 * time.Minute
	// KillGrace is the time between asking a tree of processes to end and killing it.
	KillGrace = 5 * time.Second
	// PipeGrace is how long output is awaited from children that a command left behind.
	PipeGrace = 5 * time.Second
	// MaxEvent is the longest event line of a task, in bytes.
	MaxEvent = 1 << 20
	// MaxTaskInput is the longest input of a task, in bytes.
	MaxTaskInput = 16 << 20
	// MaxShortOutput is how much a short command may print.
	MaxShortOutput = 4 << 20
)

// The arguments that the agent's main function must pass on to ChildMain and RunnerMain.
const (
	ArgTask   = "task"
	ArgRunner = "runner"
)

// Errors to compare with errors.Is.
var (
	// ErrBegun says that the command of this folder was begun before; it is never begun again.
	ErrBegun = errors.New("the command of this attempt was already begun")
	// ErrLost says that a command was begun and nothing tells how it ended.
	ErrLost = errors.New("the command was begun, but its end was not recorded")
	// ErrNotBegun says that the folder holds no command.
	ErrNotBegun = errors.New("no command was begun in this folder")
	// ErrHeld says that another process holds the lock.
	ErrHeld = errors.New("the lock is held by another process")
	// ErrTimeLimit says that a task or short command was ended because its time was up.
	ErrTimeLimit = errors.New("time limit reached")
)

// Command is what a runner carries out. Nothing of it is ever pasted into a shell.
type Command struct {
	// Argv is the program and its arguments. A name without a separator is looked up in the PATH of
	// Env, a relative path is taken from Dir.
	Argv []string `json:"argv"`
	Dir  string   `json:"dir"`
	// Env is added to the small environment that every command gets (PATH, HOME, LANG); later entries
	// win. Nothing of the agent's own environment is passed on.
	Env []string `json:"env,omitempty"`
	// TimeLimit is DefaultTimeLimit when it is 0.
	TimeLimit time.Duration `json:"time_limit"`
}

// Status is how a command ended, or, for RunActive and RunLost, what is known so far.
type Status struct {
	// ExitCode is -1 when the command was ended by a signal or could not be started.
	ExitCode int `json:"exit_code"`
	// Signal names the signal that ended the command, as "killed" or "segmentation fault".
	Signal string `json:"signal,omitempty"`
	// TimedOut says that the runner ended the command because its time was up.
	TimedOut bool `json:"timed_out,omitempty"`
	// StartError says why the command could not be started; everything else is empty then.
	StartError string    `json:"start_error,omitempty"`
	StartedAt  time.Time `json:"started_at"`
	EndedAt    time.Time `json:"ended_at"`
	// Output is the tail of what the command wrote: valid UTF-8, at most protocol.MaxOutputTail bytes, with a
	// first line that says so when there was more.
	// It is kept in files of its own, so that a full disk cannot cost the status.
	Output string `json:"-"`
	// OutputBytes counts all that the command wrote.
	OutputBytes int64 `json:"output_bytes"`
	// OutputHeld says that children which the command left behind kept its output open.
	OutputHeld bool `json:"output_held,omitempty"`
}

// Phase is how far the command of a folder has come.
type Phase int

// The phases.
const (
	RunNone     Phase = iota // no command was begun here
	RunActive                // a runner holds the lock
	RunFinished              // the status is there
	RunLost                  // begun, no runner, no status
)

// String names the phase.
func (p Phase) String() string {
	switch p {
	case RunNone:
		return "none"
	case RunActive:
		return "active"
	case RunFinished:
		return "finished"
	case RunLost:
		return "lost"
	default:
		return "unknown"
	}
}
