package software

import (
	"cmp"
	"slices"
	"time"

	"github.com/muster/muster/packages/protocol"
)

// entry is a program on a device.
type entry struct {
	key       string
	title     int64
	versionID int64
	name      string
	source    string // of what is in the database only
	version   string
	size      int64
	installed *time.Time
	arch      string
	essential bool
	defect    string
}

// same reports whether nothing of an entry has to be written.
func (e entry) same(o entry) bool {
	times := (e.installed == nil) == (o.installed == nil) && (e.installed == nil || e.installed.Equal(*o.installed))
	e.installed, o.installed = nil, nil
	e.name, o.name, e.source, o.source = "", "", "", "" // the title's
	return times && e == o
}

// stay adds to a list what is not in it because its source could not be read. The list does not become longer
// than one that a device may send: what it names at one time after another does not add up without end.
func stay(old, now []entry, incomplete []string) []entry {
	if len(incomplete) == 0 {
		return now
	}
	there, keys := map[slot]bool{}, map[string]bool{}
	for _, e := range now {
		there[slot{e.title, e.arch}], keys[e.key] = true, true
	}
	for _, e := range old {
		if len(now) < protocol.MaxSectionRows && slices.Contains(incomplete, e.source) && !there[slot{e.title, e.arch}] && !keys[e.key] {
			now = append(now, e)
		}
	}
	return now
}

// difference is what turns one list into another.
type difference struct {
	insert  []entry
	update  []entry // of the same key
	remove  []string
	changes []Change // for people: a version that replaces another of the same title is one change
	// counts say by how many devices titles and versions become more: 1 or -1.
	titles   map[int64]int
	versions map[int64]int
}

// diff compares two lists, whose keys are unique.
func diff(old, now []entry) difference {
	d := difference{titles: map[int64]int{}, versions: map[int64]int{}}
	before := make(map[string]entry, len(old))
	for _, e := range old {
		before[e.key] = e
	}
	moved := map[slot]*moves{}
	at := func(e entry) *moves {
		k := slot{e.title, e.arch}
		if moved[k] == nil {
			moved[k] = &moves{}
		}
		return moved[k]
	}
	for _, e := range now {
		o, known := before[e.key]
		delete(before, e.key)
		switch {
		case !known:
			d.insert = append(d.insert, e)
		case !o.same(e):
			d.update = append(d.update, e)
		}
		switch {
		case known && o.versionID == e.versionID:
		case known:
			at(o).out = append(at(o).out, o)
			at(e).in = append(at(e).in, e)
		default:
			at(e).in = append(at(e).in, e)
		}
	}
	for _, e := range old {
		if _, gone := before[e.key]; gone {
			d.remove = append(d.remove, e.key)
			at(e).out = append(at(e).out, e)
		}
	}
	for _, m := range moved {
		d.changes = append(d.changes, m.changes()...)
	}
	slices.SortFunc(d.changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.TitleID, b.TitleID))
	})
	count(d.titles, old, now, func(e entry) int64 { return e.title })
	count(d.versions, old, now, func(e entry) int64 { return e.versionID })
	return d
}

// slot is where a version replaces another.
type slot struct {
	title int64
	arch  string
}

// moves are what went out of a slot and came into it.
type moves struct{ out, in []entry }

// changes pairs what went with what came, in the order of their keys. Several versions of a title may be
// installed beside each other; what is left without a partner was added or removed.
func (m *moves) changes() []Change {
	byKey := func(a, b entry) int { return cmp.Compare(a.key, b.key) }
	slices.SortFunc(m.out, byKey)
	slices.SortFunc(m.in, byKey)
	m.cancel()
	var all []Change
	for i := range max(len(m.out), len(m.in)) {
		var c Change
		switch {
		case i < len(m.out) && i < len(m.in):
			c = change(Updated, m.in[i])
			c.From, c.To = m.out[i].version, m.in[i].version
		case i < len(m.in):
			c = change(Added, m.in[i])
			c.To = m.in[i].version
		default:
			c = change(Removed, m.out[i])
			c.From = m.out[i].version
		}
		all = append(all, c)
	}
	return all
}

// cancel drops what only has another key, as one with other qualifiers.
func (m *moves) cancel() {
	m.in = slices.DeleteFunc(m.in, func(e entry) bool {
		i := slices.IndexFunc(m.out, func(o entry) bool { return o.versionID == e.versionID })
		if i >= 0 {
			m.out = slices.Delete(m.out, i, i+1)
		}
		return i >= 0
	})
}

func change(kind string, e entry) Change {
	return Change{Kind: kind, TitleID: e.title, Name: e.name, Arch: e.arch}
}

// count notes which ids appear in one list only.
func count(into map[int64]int, old, now []entry, id func(entry) int64) {
	before, after := map[int64]bool{}, map[int64]bool{}
	for _, e := range old {
		before[id(e)] = true
	}
	for _, e := range now {
		after[id(e)] = true
		if !before[id(e)] {
			into[id(e)] = 1
		}
	}
	for i := range before {
		if !after[i] {
			into[i] = -1
		}
	}
}
