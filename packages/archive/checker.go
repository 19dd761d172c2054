package archive

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// maxHops bounds a chain of links, as operating systems do. maxSteps bounds the work for all of them.
const (
	maxHops  = 40
	maxSteps = 20_000_000
)

// kind of a node.
type kind byte

const (
	dir kind = iota
	file
	link
)

// node is one name in the tree that an archive describes.
type node struct {
	name   string // as written
	kind   kind
	target string // of a symbolic link
	size   int64  // of a file
}

// checker sees the entries in order and refuses what must not be unpacked. It knows the whole tree, so
// no decision depends on the file system.
type checker struct {
	lim    Limits
	packed int64
	tree   map[string]node // by folded name
	links  []string        // folded names of symbolic links
	bytes  int64
	disk   int64
	steps  int
}

func newChecker(lim Limits, packed int64) *checker {
	return &checker{lim: lim, packed: packed, tree: map[string]node{}}
}

// add takes the next entry, whose Name is clean.
func (c *checker) add(e Entry) error {
	if why := badName(e.Name); why != "" {
		return refuse("entry %q %s", shorten(e.Name), why)
	}
	if err := c.addParents(e.Name); err != nil {
		return err
	}
	n := node{name: e.Name, kind: file, size: e.Size}
	switch {
	case e.Mode.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0, e.Dir && e.Symlink():
		return refuse("entry %q is a device, pipe or another special file", shorten(e.Name))
	case e.Dir:
		n.kind = dir
	case e.Symlink():
		n.kind, n.target = link, e.Link
		if why := badTarget(e.Link); why != "" {
			return refuse("entry %q %s", shorten(e.Name), why)
		}
		c.links = append(c.links, fold(e.Name))
	case e.Link != "":
		t, ok := c.tree[fold(e.Link)]
		if !ok || t.kind != file || t.name != e.Link {
			return refuse("entry %q is a hard link to %q, which is no earlier file of the archive", shorten(e.Name), shorten(e.Link))
		}
		n.size = t.size // whoever places files one by one makes a file of it
	}
	if err := c.place(n); err != nil {
		return err
	}
	if err := c.count(n); err != nil {
		return err
	}
	c.disk += e.Size // a hard link takes none
	if c.lim.Room > 0 && c.disk > c.lim.Room {
		return &environment{fmt.Errorf("it unpacks to more than the %d bytes that there is room for: %w", c.lim.Room, syscall.ENOSPC)}
	}
	return nil
}

// addParents adds the directories an entry lies in. A link among them would redirect what is written
// below it, so that is refused even when it leads inside.
func (c *checker) addParents(name string) error {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if err := c.place(node{name: name[:i], kind: dir}); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) place(n node) error {
	key := fold(n.name)
	old, exists := c.tree[key]
	switch {
	case !exists:
		if len(c.tree) >= c.lim.Entries {
			return refuse("it has more than %d entries", c.lim.Entries)
		}
		c.tree[key] = n
		return nil
	case old.name != n.name:
		return refuse("entries %q and %q are the same file on systems that ignore case", shorten(old.name), shorten(n.name))
	case old.kind == dir && n.kind == dir:
		return nil // directories are often named by several entries
	default:
		return refuse("entry %q occurs twice or lies below a file or link", shorten(n.name))
	}
}

func (c *checker) count(n node) error {
	if n.size < 0 || n.size > c.lim.FileBytes {
		return refuse("entry %q is larger than %d bytes", shorten(n.name), c.lim.FileBytes)
	}
	c.bytes += n.size // no overflow: both are at most lim.Bytes
	if c.bytes > c.lim.Bytes {
		return refuse("it unpacks to more than %d bytes", c.lim.Bytes)
	}
	return checkRatio(c.bytes, c.packed, c.lim)
}

func checkRatio(unpacked, packed int64, lim Limits) error {
	if unpacked > lim.RatioFloor && float64(unpacked) > lim.Ratio*float64(packed) {
		return refuse("it unpacks to more than %.0f times its size", lim.Ratio)
	}
	return nil
}

// finish checks where the symbolic links lead, now that the whole tree is known: a link may pass
// through links that come later in the archive.
func (c *checker) finish() error {
	for _, key := range c.links {
		n := c.tree[key]
		hops := 0
		if _, ok := c.follow(parent(n.name), n.target, &hops); !ok {
			return refuse("entry %q is a link that leads out of the archive or in circles", shorten(n.name))
		}
	}
	return nil
}

// follow walks target from the directory at, as the operating system would, and returns where it
// ends. What does not exist is taken for a directory: it may be made later, still inside.
func (c *checker) follow(at, target string, hops *int) (string, bool) {
	for el := range strings.SplitSeq(target, "/") {
		if c.steps++; c.steps > maxSteps {
			return "", false
		}
		switch el {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return "", false
			}
			at = parent(at)
			continue
		}
		next := el
		if at != "." {
			next = at + "/" + el
		}
		if len(next) > maxName {
			return "", false
		}
		if n, ok := c.tree[fold(next)]; ok && n.kind == link {
			if *hops++; *hops > maxHops {
				return "", false
			}
			var inside bool
			if next, inside = c.follow(at, n.target, hops); !inside {
				return "", false
			}
		}
		at = next
	}
	return at, true
}

func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return "."
}

// plainMode keeps the type and the permission bits: no setuid, setgid or sticky.
func plainMode(m fs.FileMode) fs.FileMode { return m & (fs.ModeType | fs.ModePerm) }
