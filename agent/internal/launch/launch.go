// Package launch decides which program is the agent: the installed one, or one that an update has put into the
// data directory. The installed program is the launcher. Whoever starts it, a service manager or a person, it
// looks at the state on the disk and becomes what is chosen there.
//
// A new program is first on trial. The launcher then stays as its parent: it counts each start on the disk
// before it makes it, and judges by what it sees. The new program has proved itself when it has left its
// evidence, which it does after a check-in at the server that asked for the update; else the program before
// comes back, after MaxAttempts starts that ended without evidence, when the time of the trial is up, or when
// it cannot be started at all. The time is measured by a clock that nobody sets. One that has proved itself is
// executed in place of the launcher, so that one process is left; where a system cannot do that, as Windows, the
// launcher stays as the parent.
//
// What counts after a crash or a power cut is the state file alone, which is replaced as a whole and synced:
// in whatever state the disk is found, a program is started that runs. A slot's program is hashed before each
// start, and a damaged one is passed over. The installed program is the last resort, and comes first when it is
// of a higher version than the slot: a package manager's update and this one live together.
//
// The launcher of one release works with the programs of later ones. Its state, its evidence and the names in the
// environment are therefore a format that is only added to, like the protocol.
//
// The task process of an update stages and arms (Stage, Arm), the cli runs the launcher (Launcher.Run), and the
// resident on trial leaves the evidence (Prove).
package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Folder is the launcher's, in the data directory.
const Folder = "launch"

// Names in it.
const (
	stateFile    = "state.json"
	evidenceFile = "evidence"
	lockFile     = "lock" // held by a launcher that judges a trial
	stagingName  = "new"  // of the program that an update unpacks, in place of a slot's name
)

// MaxAttempts is how often a program on trial is started.
const MaxAttempts = 3

// maxState bounds the state file, in bytes.
const maxState = 64 << 10

// format is the version of the state file.
const format = 1

// State is the content of the state file.
type State struct {
	Format int `json:"format"`
	// Current is the slot whose program has proved itself last; nil is the installed program.
	Current *Slot `json:"current,omitempty"`
	// Previous is the slot that was current before, for as long as its place is not needed.
	Previous *Slot `json:"previous,omitempty"`
	// Trial is a program that has not proved itself yet.
	Trial *Trial `json:"trial,omitempty"`
	// Last is how the last trial ended.
	Last *Outcome `json:"last,omitempty"`
}

// Slot is a program in the data directory.
type Slot struct {
	Name    string `json:"name"` // a or b
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"` // bytes
	// Over is the version of an installed program that is higher than this one, and which it replaces all the
	// same, because its release says so.
	Over string `json:"over,omitempty"`
}

// Trial is a slot on trial.
type Trial struct {
	Slot
	Task   string `json:"task"`   // id of the update task
	Server string `json:"server"` // name of the server that asked, at which it must check in
	From   string `json:"from"`   // version that ran when it was asked
	// Armed says that it is to be started.
	Armed bool `json:"armed"`
	// Attempts counts the starts, before they are made.
	Attempts int `json:"attempts"`
	// ProbationMS is how long it may run until it has proved itself; UsedMS is how much of that is used up.
	ProbationMS int64 `json:"probation_ms"`
	UsedMS      int64 `json:"used_ms"`
}

// Outcome is how a trial ended.
type Outcome struct {
	Task    string                 `json:"task"`
	From    string                 `json:"from"`
	To      string                 `json:"to"`
	Outcome protocol.UpdateOutcome `json:"outcome"`
	Reason  protocol.Reason        `json:"reason"`
	Message string                 `json:"message"`
}

// Slots are the names that a slot may have.
var slots = []string{"a", "b"}

// Load reads the state of a data directory. Without a file it is empty. One that cannot be read is an error, and
// the state is empty as well: the installed program runs.
func Load(dataDir string) (State, error) {
	path := filepath.Join(dataDir, Folder, stateFile)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return State{}, nil
	case err != nil:
		return State{}, fmt.Errorf("read the launcher's state: %w", err)
	case info.Size() > maxState:
		return State{}, fault.New(fault.Invalid, "%s is larger than %d bytes", path, maxState)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return State{}, fmt.Errorf("read the launcher's state: %w", err)
	}
	s, err := decode(data)
	if err != nil {
		return State{}, fault.Wrap(err, fault.Internal, "%s is damaged", path)
	}
	return s, nil
}

// decode is lenient to fields that a later release may have added, and to nothing else: a name becomes a path.
func decode(data []byte) (State, error) {
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return State{}, err
	}
	all := []*Slot{s.Current, s.Previous}
	if t := s.Trial; t != nil {
		all = append(all, &t.Slot)
		if t.Attempts < 0 || t.ProbationMS < 0 || t.UsedMS < 0 {
			return State{}, fault.New(fault.Invalid, "a count is negative")
		}
	}
	for _, slot := range all {
		if slot != nil && (slot.Name != slots[0] && slot.Name != slots[1] || !protocol.IsSHA256(slot.SHA256) || slot.Size <= 0) {
			return State{}, fault.New(fault.Invalid, "%.60q, %.80q, %d bytes is no slot", slot.Name, slot.SHA256, slot.Size)
		}
	}
	if s.Format > format {
		return State{}, fault.New(fault.Unsupported, "it has format %d, this program knows %d", s.Format, format)
	}
	return s, nil
}

// save replaces the state file. When it returns, the state survives a power cut.
func save(dataDir string, s State) error {
	s.Format = format
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = atomicfile.Write(filepath.Join(dataDir, Folder, stateFile), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the launcher's state: %w", err)
	}
	return nil
}

// Conclude ends a trial without starting its program again, and says how. A trial of another task is left alone.
func Conclude(dataDir string, o Outcome) error {
	s, err := Load(dataDir)
	if err != nil {
		return err
	}
	if s.Trial == nil || s.Trial.Task != o.Task {
		return nil
	}
	return conclude(dataDir, s, o)
}

// conclude ends the trial of s. The evidence goes after the state, so that it is not looked for any more, and the
// program of one that did not prove itself goes last, to give its room back.
func conclude(dataDir string, s State, o Outcome) error {
	tried := s.Trial.Slot
	next := s.after(o)
	if err := save(dataDir, next); err != nil {
		return err
	}
	// What stays here by mistake harms nobody: evidence names its task, and a slot's place is used again.
	_ = remove(filepath.Join(dataDir, Folder, evidenceFile))
	if o.Outcome != protocol.UpdateInstalled && !next.holds(tried.Name) {
		_ = remove(tried.Path(dataDir))
	}
	return nil
}

// after is the state when the trial has ended so.
func (s State) after(o Outcome) State {
	if o.Outcome == protocol.UpdateInstalled {
		proved := s.Trial.Slot
		s.Current, s.Previous = &proved, s.Current
		if s.Previous != nil && s.Previous.Name == proved.Name {
			s.Previous = nil
		}
	}
	s.Trial, s.Last = nil, &o
	return s
}

// holds reports whether a slot of the name is one to go back to.
func (s State) holds(name string) bool {
	return s.Current != nil && s.Current.Name == name || s.Previous != nil && s.Previous.Name == name
}

// outcome makes the outcome of the trial.
func (t *Trial) outcome(o protocol.UpdateOutcome, reason protocol.Reason, format string, args ...any) *Outcome {
	return &Outcome{Task: t.Task, From: t.From, To: t.Version, Outcome: o, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Untried is the outcome of a trial that ends without proof: it tells whether the program was ever started.
func (t *Trial) Untried() protocol.UpdateOutcome {
	if t.Attempts == 0 && t.UsedMS == 0 {
		return protocol.UpdateKept
	}
	return protocol.UpdateRolledBack
}

// left is how much of its time the trial has left.
func (t *Trial) left() time.Duration { return time.Duration(t.ProbationMS-t.UsedMS) * time.Millisecond }

// Prove leaves the evidence that the program on trial for a task has checked in.
func Prove(dataDir, task string) error {
	if err := atomicfile.Write(filepath.Join(dataDir, Folder, evidenceFile), []byte(task+"\n"), 0o600); err != nil {
		return fmt.Errorf("leave the evidence of a check-in: %w", err)
	}
	return nil
}

// proved reports whether there is evidence for the trial.
func (t *Trial) proved(dataDir string) bool {
	info, err := os.Stat(filepath.Join(dataDir, Folder, evidenceFile))
	if err != nil || info.Size() > maxState {
		return false
	}
	data, err := os.ReadFile(filepath.Join(dataDir, Folder, evidenceFile))
	return err == nil && string(data) == t.Task+"\n"
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
