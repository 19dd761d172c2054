package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/muster/muster/packages/fault"
)

// Unpack writes the archive's entries into dest, which must be empty, and returns the number of files
// and their bytes. visit, if not nil, is called for every entry once it is in place: symbolic links
// come last, when it is certain where they lead. Everything is readable, writable and, for
// directories, enterable by the owner, whatever the archive says; Entry has the recorded mode.
//
// On any error dest is empty again.
func Unpack(ctx context.Context, r io.ReaderAt, size int64, format string, dest *os.Root, lim Limits, visit func(Entry)) (files, bytes int64, err error) {
	if err := requireEmpty(dest); err != nil {
		return 0, 0, err
	}
	u := &unpacker{ctx: ctx, dest: dest, checker: newChecker(lim, size), visit: visit}
	if u.visit == nil {
		u.visit = func(Entry) {}
	}
	err = walk(ctx, r, size, format, lim, u.entry)
	if err == nil {
		err = u.checker.finish()
	}
	if err == nil {
		err = u.makeLinks()
	}
	if err != nil {
		return 0, 0, errors.Join(err, empty(dest))
	}
	return u.files, u.bytes, nil
}

type unpacker struct {
	ctx     context.Context // of the one call of Unpack
	dest    *os.Root
	checker *checker
	visit   func(Entry)
	links   []Entry
	files   int64
	bytes   int64
}

// entry checks and places one entry.
func (u *unpacker) entry(e Entry, open opener) error {
	if err := u.checker.add(e); err != nil {
		return err
	}
	if e.Symlink() {
		u.links = append(u.links, e)
		return nil
	}
	if err := u.place(e, open); err != nil {
		return err
	}
	u.visit(e)
	return nil
}

func (u *unpacker) place(e Entry, open opener) error {
	if e.Dir {
		if err := u.dest.MkdirAll(e.Name, 0o700); err != nil {
			return &environment{fmt.Errorf("make directory: %w", err)}
		}
		if err := u.dest.Chmod(e.Name, e.Mode.Perm()|0o700); err != nil {
			return &environment{fmt.Errorf("set mode: %w", err)}
		}
		return nil
	}
	if err := u.dest.MkdirAll(parent(e.Name), 0o755); err != nil {
		return &environment{fmt.Errorf("make directory: %w", err)}
	}
	u.files++
	if e.Link != "" {
		if err := u.dest.Link(e.Link, e.Name); err != nil {
			return &environment{fmt.Errorf("make hard link: %w", err)}
		}
		return nil
	}
	u.bytes += e.Size
	return u.write(e, open)
}

// write creates one regular file. O_EXCL: the checker has seen to it that the name is new.
func (u *unpacker) write(e Entry, open opener) error {
	f, err := u.dest.OpenFile(e.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return &environment{fmt.Errorf("create file: %w", err)}
	}
	defer f.Close() // on errors; closed below otherwise

	if err := copyContent(u.ctx, markedWriter{f}, e, open); err != nil {
		return err
	}
	if err := f.Chmod(e.Mode.Perm() | 0o600); err != nil {
		return &environment{fmt.Errorf("set mode: %w", err)}
	}
	if err := f.Close(); err != nil {
		return &environment{fmt.Errorf("close file: %w", err)}
	}
	if t := e.ModTime; !t.IsZero() && t.Unix() > 0 {
		if err := u.dest.Chtimes(e.Name, time.Time{}, t); err != nil {
			return &environment{fmt.Errorf("set time: %w", err)}
		}
	}
	return nil
}

// copyContent copies the content of a regular file, checksum and size included in what it checks.
func copyContent(ctx context.Context, w io.Writer, e Entry, open opener) error {
	src, err := open()
	if err != nil {
		return err
	}
	defer src.Close() // only read from: an error of Close loses nothing
	// One byte more than declared shows an entry that is longer than it says.
	n, err := io.Copy(w, io.LimitReader(&cancellable{ctx, src}, e.Size+1))
	if err != nil {
		return err
	}
	if n != e.Size {
		return refuse("entry %q is not of the size that it declares", shorten(e.Name))
	}
	return nil
}

func (u *unpacker) makeLinks() error {
	for _, e := range u.links {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		if err := u.dest.MkdirAll(parent(e.Name), 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		if err := u.dest.Symlink(e.Link, e.Name); err != nil {
			return fmt.Errorf("make link: %w", err)
		}
		u.visit(e)
	}
	return nil
}

// markedWriter marks write errors, to tell them from errors of reading the archive.
type markedWriter struct{ w io.Writer }

func (m markedWriter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	if err != nil {
		err = &environment{fmt.Errorf("write file: %w", err)}
	}
	return n, err
}

// cancellable stops a long copy when the context ends.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func requireEmpty(dest *os.Root) error {
	names, err := entriesOf(dest, 1)
	if err != nil {
		return fmt.Errorf("read destination: %w", err)
	}
	if len(names) > 0 {
		return fault.New(fault.Conflict, "the destination %s is not empty: unpack into a fresh directory", dest.Name())
	}
	return nil
}

// empty removes everything in dest.
func empty(dest *os.Root) error {
	names, err := entriesOf(dest, -1)
	if err != nil {
		return fmt.Errorf("clean up destination: %w", err)
	}
	var errs []error
	for _, name := range names {
		if err := dest.RemoveAll(name); err != nil {
			errs = append(errs, fmt.Errorf("clean up destination: %w", err))
		}
	}
	return errors.Join(errs...)
}

func entriesOf(dest *os.Root, n int) ([]string, error) {
	d, err := dest.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(n)
	if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return names, err
}
