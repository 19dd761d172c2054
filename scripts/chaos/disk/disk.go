//go:build unix

// Package disk tells what a power cut may leave of files, from a record of the operations on them.
//
// It believes in nothing but sync. A file's content since its last sync may be lost from any write on, and
// the first lost write may have reached the disk in part, or only as a longer file full of zeros. Entries
// of a directory (made, renamed, removed) since its last sync may be lost from any operation on; syncing a
// file does not keep its name. What is durable is kept always. Real file systems keep more.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/muster/muster/scripts/chaos/recordos"
)

// node is a file or a directory.
type node struct {
	dir      bool
	foreign  bool          // the record does not know it from its beginning; it is left as it is
	durable  []byte        // of a file
	writes   []recordos.Op // since the last sync
	entries  map[string]*node
	synced   map[string]*node // entries that are durable
	unsynced []entryOp        // since the last sync
}

// entryOp makes, renames or removes an entry of a directory.
type entryOp struct {
	name, to string // to: renamed
	node     *node  // nil: removed
}

// Disk is a disk on which recorded operations have happened.
type Disk struct {
	root  *node
	open  map[uint64]*node
	known map[string]bool // paths that the record has named, true for directories
}

// New is an empty disk. Directories that nobody made in the record are taken for old ones, durable.
func New() *Disk {
	return &Disk{root: newDir(), open: map[uint64]*node{}, known: map[string]bool{}}
}

func newDir() *node {
	return &node{dir: true, entries: map[string]*node{}, synced: map[string]*node{}}
}

// Do lets operations happen.
func (d *Disk) Do(ops ...recordos.Op) error {
	for _, op := range ops {
		if err := d.do(op); err != nil {
			return fmt.Errorf("%s %s%s: %w", op.Kind, op.Path, op.To, err)
		}
	}
	return nil
}

func (d *Disk) do(op recordos.Op) error {
	switch op.Kind {
	case recordos.OpBase:
		parent := d.parent(op.Path)
		n := newDir()
		if !op.Dir {
			n = &node{durable: op.Data}
		}
		parent.entries[filepath.Base(op.Path)], parent.synced[filepath.Base(op.Path)] = n, n
		d.known[op.Path] = op.Dir
	case recordos.OpOpen:
		d.openFile(op)
	case recordos.OpMkdir:
		d.parent(op.Path).enter(filepath.Base(op.Path), newDir())
		d.known[op.Path] = true
	case recordos.OpWrite, recordos.OpTruncate:
		return d.change(op)
	case recordos.OpSync:
		n := d.open[op.File]
		if n == nil {
			return errors.New("no such open file")
		}
		n.durable, n.writes = n.content(len(n.writes)), nil
	case recordos.OpRename:
		return d.rename(op)
	case recordos.OpRemove:
		parent := d.parent(op.Path)
		delete(parent.entries, filepath.Base(op.Path))
		parent.unsynced = append(parent.unsynced, entryOp{name: filepath.Base(op.Path)})
	case recordos.OpSyncDir:
		n := d.directory(op.Path)
		n.synced, n.unsynced = maps.Clone(n.entries), nil
	}
	return nil
}

func (d *Disk) openFile(op recordos.Op) {
	parent := d.parent(op.Path)
	name := filepath.Base(op.Path)
	n := parent.entries[name]
	switch {
	case n != nil && n.dir:
		return
	case op.New:
		n = &node{}
		parent.enter(name, n)
		d.known[op.Path] = false
	case n == nil:
		n = &node{foreign: true}
		parent.entries[name], parent.synced[name] = n, n
	}
	d.open[op.File] = n
}

func (d *Disk) change(op recordos.Op) error {
	n := d.open[op.File]
	if n == nil {
		return errors.New("no such open file")
	}
	n.writes = append(n.writes, op)
	return nil
}

func (d *Disk) rename(op recordos.Op) error {
	parent := d.parent(op.Path)
	if filepath.Dir(op.Path) != filepath.Dir(op.To) {
		return errors.New("renames between directories are not modelled")
	}
	from, to := filepath.Base(op.Path), filepath.Base(op.To)
	n := parent.entries[from]
	if n == nil {
		return errors.New("no such file")
	}
	delete(parent.entries, from)
	parent.entries[to] = n
	parent.unsynced = append(parent.unsynced, entryOp{name: from, to: to, node: n})
	d.known[op.To] = n.dir
	return nil
}

func (n *node) enter(name string, child *node) {
	n.entries[name] = child
	n.unsynced = append(n.unsynced, entryOp{name: name, node: child})
}

// parent is the directory that holds a path.
func (d *Disk) parent(path string) *node { return d.directory(filepath.Dir(path)) }

func (d *Disk) directory(path string) *node {
	if path == filepath.Dir(path) {
		return d.root
	}
	parent := d.directory(filepath.Dir(path))
	name := filepath.Base(path)
	n := parent.entries[name]
	if n == nil || !n.dir {
		n = newDir()
		n.foreign = true
		parent.entries[name], parent.synced[name] = n, n
	}
	return n
}

// content is the file's content after the first count writes since its last sync.
func (n *node) content(count int) []byte {
	data := slices.Clone(n.durable)
	for _, op := range n.writes[:count] {
		data = apply(data, op)
	}
	return data
}

func apply(data []byte, op recordos.Op) []byte {
	end := op.Offset + int64(len(op.Data))
	if op.Kind == recordos.OpTruncate {
		end = op.Size
		data = data[:min(end, int64(len(data)))]
	}
	if missing := end - int64(len(data)); missing > 0 {
		data = append(data, make([]byte, missing)...)
	}
	copy(data[min(op.Offset, int64(len(data))):], op.Data)
	return data
}

// Left is what a power cut left: the directories and the files with their content.
type Left struct {
	Dirs  map[string]bool
	Files map[string][]byte
	// Foreign are what the record knows by name only; it is as it is.
	Foreign map[string]bool
	known   map[string]bool
}

// Onto makes the directory tree at dir, which holds what was there before the power cut, what was left of
// it. Paths of the record begin with from. Files that the record has never named stay, except in
// directories that are gone.
func (l Left) Onto(from, dir string) error {
	place := func(path string) (string, bool) {
		rel, err := filepath.Rel(from, path)
		return filepath.Join(dir, rel), err == nil && filepath.IsLocal(rel)
	}
	for path, isDir := range l.known {
		at, inside := place(path)
		if !inside || l.Dirs[path] || l.Foreign[path] || l.Files[path] != nil {
			continue
		}
		remove := os.Remove
		if isDir {
			remove = os.RemoveAll
		}
		if err := remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what the power cut took: %w", err)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(l.Dirs)) {
		if at, inside := place(path); inside {
			if err := os.MkdirAll(at, 0o700); err != nil {
				return fmt.Errorf("make what the power cut left: %w", err)
			}
		}
	}
	for path, data := range l.Files {
		at, inside := place(path)
		if !inside {
			continue
		}
		err := os.WriteFile(at, data, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its directory was removed by somebody whose operations are not recorded
		}
		if err != nil {
			return fmt.Errorf("make what the power cut left: %w", err)
		}
	}
	return nil
}

// Base is the record with which a new one begins after the power cut.
func (l Left) Base() []recordos.Op {
	var ops []recordos.Op
	for _, path := range slices.Sorted(maps.Keys(l.Dirs)) {
		ops = append(ops, recordos.Op{Kind: recordos.OpBase, Path: path, Dir: true})
	}
	for _, path := range slices.Sorted(maps.Keys(l.Files)) {
		ops = append(ops, recordos.Op{Kind: recordos.OpBase, Path: path, Data: l.Files[path]})
	}
	return ops
}
