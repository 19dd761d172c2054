//go:build unix

package disk

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"github.com/muster/muster/scripts/chaos/recordos"
)

// Chance decides what of the unsynced operations reached the disk.
type Chance struct {
	// Keep tells how many of n unsynced operations on one file or directory survive.
	Keep func(n int) int
	// Tear tells what became of the first write that did not survive.
	Tear func() Tear
	// Part tells how many of n bytes of a torn write survive.
	Part func(n int) int
}

// Tear is what a write that did not survive may leave.
type Tear int

// The tears.
const (
	Nothing Tear = iota
	Part         // its first bytes
	Zeros        // the file is as long as if it had survived, its bytes are zero
)

// Worst keeps nothing that is not synced.
func Worst() Chance {
	return Chance{Keep: func(int) int { return 0 }, Tear: func() Tear { return Nothing }, Part: func(int) int { return 0 }}
}

// Best keeps everything.
func Best() Chance {
	c := Worst()
	c.Keep = func(n int) int { return n }
	return c
}

// Random keeps what chance will have.
func Random(r *rand.Rand) Chance {
	return Chance{
		Keep: func(n int) int { return r.IntN(n + 1) }, Tear: func() Tear { return Tear(r.IntN(3)) }, Part: func(n int) int { return r.IntN(n + 1) },
	}
}

// Cut cuts the power.
func (d *Disk) Cut(c Chance) Left {
	l := Left{Dirs: map[string]bool{}, Files: map[string][]byte{}, Foreign: map[string]bool{}, known: d.known}
	l.take("/", d.root, c)
	return l
}

func (l *Left) take(path string, n *node, c Chance) {
	if n.foreign {
		l.Foreign[path] = true
	} else if path != "/" {
		l.Dirs[path] = true
	}
	entries := maps.Clone(n.synced)
	for _, op := range n.unsynced[:c.Keep(len(n.unsynced))] {
		delete(entries, op.name)
		switch {
		case op.to != "":
			entries[op.to] = op.node
		case op.node != nil:
			entries[op.name] = op.node
		}
	}
	// In order, so that the same chance leaves the same.
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		child, at := entries[name], filepath.Join(path, name)
		switch {
		case child.dir:
			l.take(at, child, c)
		case child.foreign:
			l.Foreign[at] = true
		default:
			l.Files[at] = child.cut(c)
		}
	}
}

func (n *node) cut(c Chance) []byte {
	kept := c.Keep(len(n.writes))
	data := n.content(kept)
	if kept < len(n.writes) && n.writes[kept].Kind == recordos.OpWrite {
		torn := n.writes[kept]
		switch c.Tear() {
		case Part:
			torn.Data = torn.Data[:c.Part(len(torn.Data))]
			data = apply(data, torn)
		case Zeros:
			torn.Data = make([]byte, len(torn.Data))
			data = apply(data, torn)
		case Nothing:
		}
	}
	if data == nil {
		data = []byte{}
	}
	return data
}
