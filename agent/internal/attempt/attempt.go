// Package attempt is the folder of one piece of work on disk, an attempt of a deployment or a task of
// another kind: what was asked (task.json), what was begun and reported (journal), and the marker that all
// of it is over and handed to the spool.
//
// A record holds the report with its id and is on the disk before the report is told to anyone, so after
// a crash the same reports are told again under the same ids. The folder of a settled attempt is kept as
// a tombstone: a server that offers the same attempt id again gets the same reports again, and nothing
// runs twice. A task process writes the journal, under the attempt's lock; the resident peeks.
package attempt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Names inside a server's folder and an attempt's folder.
const (
	attemptsDir = "attempts"
	taskFile    = "task.json"
	journalFile = "journal"
	lockFile    = "lock"
	settledFile = "settled"
)

// Record is one line of an attempt's journal.
type Record struct {
	Report protocol.Report `json:"report"`
	// BootID is of the boot during which the command was started; only with StateStarted.
	BootID string `json:"boot_id,omitempty"`
}

// State is the state that the record reports.
func (r Record) State() protocol.State {
	switch {
	case r.Report.Deployment != nil:
		return r.Report.Deployment.State
	case r.Report.Task != nil:
		return r.Report.Task.State
	default:
		return ""
	}
}

// Reason is why.
func (r Record) Reason() protocol.Reason {
	switch {
	case r.Report.Deployment != nil:
		return r.Report.Deployment.Reason
	case r.Report.Task != nil:
		return r.Report.Task.Reason
	default:
		return ""
	}
}

// NextTry is when the device means to go on; nil when the record does not say.
func (r Record) NextTry() *time.Time {
	switch {
	case r.Report.Deployment != nil:
		return r.Report.Deployment.NextTry
	case r.Report.Task != nil:
		return r.Report.Task.NextTry
	default:
		return nil
	}
}

// Furthest is the state of highest rank among the records; empty without any.
func Furthest(records []Record) protocol.State {
	var furthest protocol.State
	for _, r := range records {
		if furthest == "" || r.State().Rank() > furthest.Rank() {
			furthest = r.State()
		}
	}
	return furthest
}

// Attempt is one attempt's folder.
type Attempt struct {
	id  string
	dir string
}

// Open names the folder of an attempt, or of another task, in a server's folder. The id comes from a server and becomes a
// path, so nothing but a UUID is taken.
func Open(serverDir, id string) (*Attempt, error) {
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
		return nil, fault.New(fault.Invalid, "attempt id %.60q is not a UUID", id)
	}
	return &Attempt{id: id, dir: filepath.Join(serverDir, attemptsDir, id)}, nil
}

// List names the attempts in a server's folder, oldest first as far as their ids tell.
func List(serverDir string) ([]*Attempt, error) {
	entries, err := os.ReadDir(filepath.Join(serverDir, attemptsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the attempts: %w", err)
	}
	var list []*Attempt
	for _, e := range entries {
		if a, err := Open(serverDir, e.Name()); err == nil {
			list = append(list, a)
		}
	}
	return list, nil
}

// Unsettled lists the attempts of a server's folder that are not over, by name. It is asked at every check-in, and
// takes no more memory for those that are over, of which there may be thousands.
func Unsettled(serverDir string) (list []*Attempt, err error) {
	folder, err := os.Open(filepath.Join(serverDir, attemptsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the attempts: %w", err)
	}
	defer folder.Close()
	for {
		names, err := folder.Readdirnames(64)
		for _, name := range names {
			a, err := Open(serverDir, name)
			if err != nil {
				continue
			}
			if _, over := a.Settled(); !over {
				list = append(list, a)
			}
		}
		if errors.Is(err, io.EOF) {
			slices.SortFunc(list, func(a, b *Attempt) int { return strings.Compare(a.ID(), b.ID()) })
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list the attempts: %w", err)
		}
	}
}

// ID is the attempt id.
func (a *Attempt) ID() string { return a.id }

// Dir is the attempt's folder.
func (a *Attempt) Dir() string { return a.dir }

// LockPath is the file whose lock the process working on the attempt holds.
func (a *Attempt) LockPath() string { return filepath.Join(a.dir, lockFile) }

// Begin makes the folder and keeps what was asked. A folder that is there already is left as it is.
func (a *Attempt) Begin(task protocol.Task) error {
	if err := atomicfile.MkdirAll(a.dir, 0o700); err != nil {
		return fmt.Errorf("make the attempt's folder: %w", err)
	}
	path := filepath.Join(a.dir, taskFile)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	data, err := json.Marshal(task)
	if err != nil {
		return fmt.Errorf("encode the task: %w", err)
	}
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return fmt.Errorf("keep the task: %w", err)
	}
	return atomicfile.SyncDir(filepath.Dir(a.dir))
}

// Task is what was asked.
func (a *Attempt) Task() (protocol.Task, error) {
	var t protocol.Task
	data, err := os.ReadFile(filepath.Join(a.dir, taskFile))
	if err != nil {
		return t, fmt.Errorf("read the task: %w", err)
	}
	if err := json.Unmarshal(data, &t); err != nil || t.Work() != a.id {
		return t, fault.New(fault.Internal, "%s is damaged", filepath.Join(a.dir, taskFile))
	}
	return t, nil
}

// Journal opens the journal for writing. The caller holds the attempt's lock.
func (a *Attempt) Journal() (*journal.Journal[Record], []Record, error) {
	return journal.Open[Record](filepath.Join(a.dir, journalFile))
}

// Peek reads the journal without changing it, whoever writes it at the moment.
func (a *Attempt) Peek() ([]Record, error) {
	data, err := os.ReadFile(filepath.Join(a.dir, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	var records []Record
	_, _, err = journal.Scan(data, func(_ int64, payload []byte) error {
		var r Record
		if err := json.Unmarshal(payload, &r); err != nil {
			return fmt.Errorf("decode record %d: %w", len(records)+1, err)
		}
		records = append(records, r)
		return nil
	})
	return records, err
}

// Settle marks the attempt as over: its final report is journalled and everything was handed to the
// spool. The marker is not synced: where a power cut loses it, the same reports are told once more.
func (a *Attempt) Settle() error {
	if err := os.WriteFile(filepath.Join(a.dir, settledFile), nil, 0o600); err != nil {
		return fmt.Errorf("settle attempt %s: %w", a.id, err)
	}
	return nil
}

// Settled reports whether the attempt is over, and since when.
func (a *Attempt) Settled() (time.Time, bool) {
	info, err := os.Stat(filepath.Join(a.dir, settledFile))
	if err != nil {
		return time.Time{}, false
	}
	return info.ModTime(), true
}

// Modified is when the journal last grew, or the folder was made.
func (a *Attempt) Modified() time.Time {
	for _, path := range []string{filepath.Join(a.dir, journalFile), a.dir} {
		if info, err := os.Stat(path); err == nil {
			return info.ModTime()
		}
	}
	return time.Time{}
}

// Remove deletes the folder.
func (a *Attempt) Remove() error {
	if err := os.RemoveAll(a.dir); err != nil {
		return fmt.Errorf("remove attempt %s: %w", a.id, err)
	}
	return nil
}

// NewReport makes a report about an attempt, with an id of its own.
func NewReport(now time.Time, d protocol.DeploymentReport) (protocol.Report, error) {
	return newReport(protocol.Report{Kind: protocol.ReportDeployment, Time: now.UTC(), Deployment: &d})
}

// NewTaskReport makes a report about a task that is not a deployment, or was not begun, with an id of its own.
func NewTaskReport(now time.Time, t protocol.TaskReport) (protocol.Report, error) {
	return newReport(protocol.Report{Kind: protocol.ReportTask, Time: now.UTC(), Task: &t})
}

func newReport(r protocol.Report) (protocol.Report, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return protocol.Report{}, fmt.Errorf("make a report id: %w", err)
	}
	r.ID = id.String()
	return r, nil
}
