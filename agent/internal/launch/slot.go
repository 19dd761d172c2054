package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/release"
)

// Path is where the slot's program lies.
func (s Slot) Path(dataDir string) string { return programPath(dataDir, s.Name) }

// Staging is where the program of an update is unpacked before it is staged, beside the slots.
func Staging(dataDir string) string { return programPath(dataDir, stagingName) }

// programPath is muster-agent-NAME, with what programs of the system end in.
func programPath(dataDir, name string) string {
	program := release.ProgramName(runtime.GOOS)
	end := filepath.Ext(program)
	return filepath.Join(dataDir, Folder, strings.TrimSuffix(program, end)+"-"+name+end)
}

// Stage takes the program at Staging into the slot that is free, and keeps the trial, which is not armed yet. running
// is the slot of the program that runs, empty for the installed one: it is left alone. The slot's name is set here,
// and returned. When Stage returns, the slot survives a power cut; after an error the program may have gone, and
// what could be gone back to before still can.
func Stage(dataDir, running string, t Trial) (Slot, error) {
	path := Staging(dataDir)
	s, err := Load(dataDir)
	if err != nil {
		s = State{} // it could not be judged by any more either
	}
	t.Name, t.Armed, t.Attempts, t.UsedMS = s.free(running), false, 0, 0
	if err := t.CheckFile(path); err != nil {
		return Slot{}, err
	}
	// Nobody must go back to a slot, or try it, while it is being filled.
	s.Trial = nil
	if s.Current != nil && s.Current.Name == t.Name {
		s.Current, s.Previous = s.Previous, nil
	}
	if s.Previous != nil && s.Previous.Name == t.Name {
		s.Previous = nil
	}
	if err := atomicfile.MkdirAll(filepath.Join(dataDir, Folder), 0o700); err != nil {
		return Slot{}, fmt.Errorf("make the launcher's folder: %w", err)
	}
	if err := save(dataDir, s); err != nil {
		return Slot{}, err
	}
	if err := remove(filepath.Join(dataDir, Folder, evidenceFile)); err != nil {
		return Slot{}, fmt.Errorf("remove old evidence: %w", err)
	}
	if err := fill(path, t.Path(dataDir)); err != nil {
		return Slot{}, fmt.Errorf("fill slot %s: %w", t.Name, err)
	}
	s.Trial = &t
	return t.Slot, save(dataDir, s)
}

// free is the slot for a new program: never that of the one that runs.
func (s State) free(running string) string {
	taken := running
	if taken == "" && s.Current != nil {
		taken = s.Current.Name
	}
	if taken == slots[0] {
		return slots[1]
	}
	return slots[0]
}

// fill brings the file to its place, and to the disk.
func fill(from, to string) error {
	if err := os.Chmod(from, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(from, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(to))
}

// Arm lets the launcher start the staged program of a task. A trial that is another task's, or none, is a fault of
// code not_found. It may be repeated.
func Arm(dataDir, task string) error {
	s, err := Load(dataDir)
	if err != nil {
		return err
	}
	if s.Trial == nil || s.Trial.Task != task {
		return fault.New(fault.NotFound, "no program is staged for the task %s", task)
	}
	if s.Trial.Armed {
		return nil
	}
	s.Trial.Armed = true
	return save(dataDir, s)
}

// Check reports why the slot's program cannot be started; nil when it is what it was.
func (s Slot) Check(dataDir string) error { return s.CheckFile(s.Path(dataDir)) }

// CheckFile compares a file with the slot's size and digest. The error is a fault of code untrusted when they differ.
func (s Slot) CheckFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != s.Size {
		return fault.New(fault.Untrusted, "%s is damaged: it is not a file of %d bytes", path, s.Size)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(file, s.Size)); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != s.SHA256 {
		return fault.New(fault.Untrusted, "%s is damaged: its SHA-256 is %s, not %s", path, got, s.SHA256)
	}
	return nil
}
