//go:build unix

package recordos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
)

// Kind is what an operation does.
type Kind string

// The kinds.
const (
	OpOpen     Kind = "open"
	OpWrite    Kind = "write"
	OpTruncate Kind = "truncate"
	OpSync     Kind = "sync"
	OpMkdir    Kind = "mkdir"
	OpRename   Kind = "rename"
	OpRemove   Kind = "remove"
	OpSyncDir  Kind = "syncdir"
	// OpBase is written by a test: a file that is durable when the record begins.
	OpBase Kind = "base"
)

// Op is one operation. File names an open file; Path is absolute.
type Op struct {
	Kind   Kind   `json:"op"`
	Path   string `json:"path,omitempty"`
	To     string `json:"to,omitempty"`
	File   uint64 `json:"file,omitempty"`
	New    bool   `json:"new,omitempty"`
	Dir    bool   `json:"dir,omitempty"` // with OpBase
	Size   int64  `json:"size,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Data   []byte `json:"data,omitempty"`
}

// LogFile is the record's name in the folder that MUSTER_CHAOS names.
const LogFile = "operations"

const (
	lockName = "operations.lock"
	env      = "MUSTER_CHAOS"
)

var (
	mu   sync.Mutex // one operation at a time in this process
	sink func(Op)   // of Capture
	ids  atomic.Uint64
)

// Capture hands every operation of this process to fn, instead of writing it to a file.
func Capture(fn func(Op)) {
	mu.Lock()
	defer mu.Unlock()
	sink = fn
}

// Active reports whether package os is replaced in the build that called it, once that has touched a file.
func Active() bool { return ids.Load() > 0 }

// nextID names an open file uniquely over the processes of one agent.
func nextID() uint64 { return uint64(os.Getpid())<<32 | ids.Add(1)&0xffffffff } // pids are positive

// do carries out an operation and records it if it succeeded. No other process of the agent operates
// meanwhile, and none is killed: killers take the lock too.
func do(operate func() ([]Op, error)) error {
	mu.Lock()
	defer mu.Unlock()
	dir := os.Getenv(env)
	switch {
	case sink != nil:
		ops, err := operate()
		if err == nil {
			for _, op := range ops {
				op.Data = append([]byte(nil), op.Data...)
				sink(op)
			}
		}
		return err
	case dir == "":
		ids.Add(1)
		_, err := operate()
		return err
	}
	defer Lock(dir)()
	ops, err := operate()
	if err != nil || len(ops) == 0 {
		return err
	}
	return Append(dir, ops...)
}

// Append adds operations to the record of a folder. The caller holds the lock.
func Append(dir string, ops ...Op) error {
	var lines []byte
	for _, op := range ops {
		line, err := json.Marshal(op)
		if err != nil {
			return fmt.Errorf("record an operation: %w", err)
		}
		lines = append(append(lines, line...), '\n')
	}
	file, err := os.OpenFile(filepath.Join(dir, LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = file.Write(lines)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("record an operation: %w", err)
	}
	return nil
}

// Read returns the record of a folder; none is an empty one.
func Read(dir string) ([]Op, error) {
	file, err := os.Open(filepath.Join(dir, LogFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var ops []Op
	for decoder := json.NewDecoder(file); decoder.More(); {
		var op Op
		if err := decoder.Decode(&op); err != nil {
			return nil, fmt.Errorf("read the recorded operations: %w", err)
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// Lock waits until no process is in the middle of an operation and keeps all from beginning one, until
// the returned function is called or this process ends.
func Lock(dir string) (unlock func()) {
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	for err == nil {
		if err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err == nil {
			return func() { _ = file.Close() }
		}
		if errors.Is(err, syscall.EINTR) {
			err = nil
		}
	}
	panic(fmt.Sprintf("lock the record of operations: %v", err))
}
