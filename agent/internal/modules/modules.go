// Package modules knows the modules from outside: programs with a manifest, in a folder of the device, that
// become tasks of the agent. It reads and judges them, and keeps on disk what they found and when they are due.
//
// A module is read anew whenever it is to run. Files are replaced whole: after a crash there is what a module
// found before, or what it found last. The resident asks what there is and when it is due; the module task loads,
// runs and keeps.
package modules

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

	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/safepath"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/schedule"
	"github.com/muster/muster/packages/strictjson"
)

// ManifestFile is the name of a module's manifest, in its folder.
const ManifestFile = "module.json"

// Limits of modules.
const (
	MaxModules      = 32 // of one device; the first by name
	maxManifest     = 64 << 10
	maxFiles        = 1000 // in a module's folder
	maxArguments    = 64
	maxArgument     = 4 << 10 // bytes
	maxText         = 500     // bytes
	minMemory       = 4 << 20
	maxMemory       = 16 << 30
	MaxTimeLimit    = 10 * time.Minute
	minTimeLimit    = time.Second
	defaultTime     = time.Minute
	defaultMemory   = 256 << 20
	maxNameInFolder = 1000 // entries of the modules folder that are looked at
)

// Manifest says what a module is. Its file is strict: a key that is not here is an error.
type Manifest struct {
	Name        string `json:"name"` // as its folder
	Version     string `json:"version"`
	Description string `json:"description"`
	// Command is the program, a path within the module's folder, and its arguments.
	Command []string `json:"command"`
	// Schedule is when it runs by itself: a cron expression or "@every 6h". Without one it runs only when a server
	// asks.
	Schedule string `json:"schedule"`
	// TimeLimit of a run; a minute when left out, at most MaxTimeLimit.
	TimeLimit config.Duration `json:"time_limit"`
	// MemoryLimit is how much memory all its processes may have together, in bytes; 256 MiB when left out.
	MemoryLimit int64 `json:"memory_limit"`
	// Parameters is the JSON Schema of its parameters, which are an object; without one it takes none.
	Parameters json.RawMessage `json:"parameters"`
	// DefaultParameters are taken for what a run does not name.
	DefaultParameters json.RawMessage `json:"default_parameters"`
	// Columns are the fields of its rows beside key and name.
	Columns []protocol.Column `json:"columns"`
}

// Module is a module that may run.
type Module struct {
	Manifest
	Dir     string // its folder
	Program string // absolute path
}

// State is what the resident knows of a module.
type State struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	Schedule string `json:"schedule,omitempty"`
	// Problem is why it does not run; empty when it does.
	Problem string `json:"problem,omitempty"`
}

// Names lists the modules in a folder, by name, whether they are good or not; beyond MaxModules they are left out.
// A folder that is not there has none.
func Names(folder string) ([]string, error) {
	dir, err := os.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for modules: %w", err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(maxNameInFolder)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("look for modules: %w", err)
	}
	var names []string
	for _, e := range entries {
		if protocol.ValidModule(e.Name()) && !e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names[:min(len(names), MaxModules)], nil
}

// Folders are the modules folder and those of the modules, as they are to be watched.
func Folders(folder string) []string {
	names, err := Names(folder)
	if err != nil {
		return []string{folder}
	}
	all := []string{folder}
	for _, name := range names {
		all = append(all, filepath.Join(folder, name))
	}
	return all
}

// Print tells whether a folder of modules may have changed: it differs when a module came, went, or when a file
// of one was written or given other rights. It is empty when there are none.
func Print(folder string) string {
	names, err := Names(folder)
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	note := func(path string) {
		if info, err := os.Lstat(path); err == nil {
			fmt.Fprintln(&out, path, info.Mode(), safepath.Owner(info), info.Size(), info.ModTime().UnixNano())
		}
	}
	if len(names) == 0 {
		return ""
	}
	if info, err := os.Lstat(folder); err == nil { // what it holds is looked at below
		fmt.Fprintln(&out, info.Mode(), safepath.Owner(info))
	}
	for _, name := range names {
		note(filepath.Join(folder, name))
		dir, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			continue
		}
		files, _ := dir.Readdirnames(100) // what could be read counts
		dir.Close()
		slices.Sort(files)
		for _, file := range files {
			note(filepath.Join(folder, name, file))
		}
	}
	return out.String()
}

// Load reads and judges a module. The error says what is wrong with it; its code is not_found when there is none.
func Load(folder, name string) (Module, error) {
	m := Module{Dir: filepath.Join(folder, name)}
	if !protocol.ValidModule(name) {
		return m, fault.New(fault.NotFound, "%.60q is not the name of a module", name)
	}
	if _, err := os.Lstat(m.Dir); errors.Is(err, fs.ErrNotExist) {
		return m, fault.New(fault.NotFound, "this device has no module %q", name)
	}
	if err := safepath.OwnedTree(m.Dir, maxFiles); err != nil {
		return m, fault.Wrap(err, fault.Forbidden, "module %s is refused", name)
	}
	data, err := readManifest(filepath.Join(m.Dir, ManifestFile))
	if err != nil {
		return m, fault.Wrap(err, fault.Invalid, "module %s is refused", name)
	}
	if m.Manifest, err = Parse(data); err != nil {
		return m, fault.Wrap(err, fault.Invalid, "module %s is refused: %s", name, ManifestFile)
	}
	if m.Name != name {
		return m, fault.New(fault.Invalid, "module %s is refused: %s says that its name is %q, which must be that of its folder", name, ManifestFile, m.Name)
	}
	m.Program = filepath.Join(m.Dir, filepath.FromSlash(m.Command[0]))
	info, err := os.Lstat(m.Program)
	switch {
	case err != nil:
		return m, fault.Wrap(err, fault.Invalid, "module %s is refused", name)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o100 == 0:
		return m, fault.New(fault.Invalid, "module %s is refused: %s is no file that its owner may execute; chmod u+x it", name, m.Command[0])
	}
	return m, nil
}

func readManifest(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxManifest+1))
	if err == nil && len(data) > maxManifest {
		err = fault.New(fault.Invalid, "%s has over %d bytes", ManifestFile, maxManifest)
	}
	return data, err
}

// Parse reads a manifest and fills in the limits that it leaves out. Every error is a fault of code invalid.
// Whether its schema is one, and takes its default parameters, the module task finds out.
func Parse(data []byte) (Manifest, error) {
	var m Manifest
	if err := strictjson.Decode(data, &m); err != nil {
		return m, fault.Wrap(err, fault.Invalid, "it cannot be read")
	}
	if m.TimeLimit == 0 {
		m.TimeLimit = config.Duration(defaultTime)
	}
	if m.MemoryLimit == 0 {
		m.MemoryLimit = defaultMemory
	}
	return m, m.validate()
}

func (m *Manifest) validate() error {
	limit := time.Duration(m.TimeLimit)
	switch {
	case !protocol.ValidModule(m.Name):
		return fault.Field("name", "name: %.60q is not the name of a module: a small letter, then small letters, digits, dash and underscore, 32 in all at most", m.Name)
	case m.Version == "" || len(m.Version) > 64:
		return fault.Field("version", "version: %.80q is not a version of 1 to 64 bytes", m.Version)
	case len(m.Description) > maxText:
		return fault.Field("description", "description: it has over %d bytes", maxText)
	case len(m.Command) == 0 || len(m.Command) > maxArguments:
		return fault.Field("command", "command: %d words; it takes 1 to %d", len(m.Command), maxArguments)
	case !filepath.IsLocal(filepath.FromSlash(m.Command[0])) || filepath.ToSlash(filepath.Clean(m.Command[0])) != m.Command[0] || m.Command[0] == ".":
		return fault.Field("command", "command: %.100q is not a path within the module's folder, as \"run.sh\"; a script names its interpreter in its first line", m.Command[0])
	case limit < minTimeLimit || limit > MaxTimeLimit:
		return fault.Field("time_limit", "time_limit: %s is not between %s and %s", limit, minTimeLimit, MaxTimeLimit)
	case m.MemoryLimit < minMemory || m.MemoryLimit > maxMemory:
		return fault.Field("memory_limit", "memory_limit: %d is not between %d and %d bytes", m.MemoryLimit, minMemory, int64(maxMemory))
	}
	for _, word := range m.Command {
		if len(word) > maxArgument || strings.ContainsRune(word, 0) {
			return fault.Field("command", "command: a word has over %d bytes, or a zero byte", maxArgument)
		}
	}
	if m.Schedule != "" {
		if _, err := schedule.Parse(m.Schedule); err != nil {
			return fault.Field("schedule", "schedule: %v", err)
		}
	}
	return protocol.ValidateColumns(m.Columns)
}
