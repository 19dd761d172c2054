package fragment

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
)

// File is an open fragment.
type File interface {
	io.ReaderAt
	io.Closer
}

// openFiles is how many fragments a ReaderAt keeps open. A zip is read at its end and then front to
// back, so a few are enough.
const openFiles = 8

// ReaderAt gives random access to an archive that exists only as fragments. It may be used by several
// goroutines. It does not verify digests: the fragments must have been verified when they were stored.
type ReaderAt struct {
	frags  []instruction.Fragment
	starts []int64
	size   int64
	open   func(sha256 string) (File, error)

	mu     sync.Mutex
	closed bool
	recent []*openFile // most recently used first
}

type openFile struct {
	index int
	file  File
	users int
	drop  bool // no longer in recent: close with the last user
}

// NewReaderAt reads over the fragments; open finds one by its digest. Close must be called in the end.
func NewReaderAt(frags []instruction.Fragment, open func(sha256 string) (File, error)) (*ReaderAt, error) {
	starts, size, err := offsets(frags)
	if err != nil {
		return nil, err
	}
	return &ReaderAt{frags: frags, starts: starts, size: size, open: open}, nil
}

// Size is the length of the archive in bytes.
func (r *ReaderAt) Size() int64 { return r.size }

// ReadAt implements io.ReaderAt. A fragment shorter than its length says is a fault of code untrusted.
func (r *ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "negative offset %d", off)
	}
	done := 0
	for done < len(p) {
		if off >= r.size {
			return done, io.EOF
		}
		n, err := r.readFragment(p[done:], off)
		done += n
		off += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// readFragment fills as much of p as the fragment at off has; off is inside the archive.
func (r *ReaderAt) readFragment(p []byte, off int64) (int, error) {
	// The last fragment that starts at or before off.
	i := sort.Search(len(r.starts), func(i int) bool { return r.starts[i] > off }) - 1
	within := off - r.starts[i]
	if rest := r.frags[i].Length - within; int64(len(p)) > rest {
		p = p[:rest]
	}
	f, err := r.acquire(i)
	if err != nil {
		return 0, err
	}
	n, err := f.file.ReadAt(p, within)
	r.release(f)
	switch {
	case n == len(p):
		return n, nil
	case err == nil || errors.Is(err, io.EOF):
		return n, fault.New(fault.Untrusted, "fragment %s is shorter than %d bytes", r.frags[i].SHA256, r.frags[i].Length)
	default:
		return n, fmt.Errorf("read fragment %s: %w", r.frags[i].SHA256, err)
	}
}

func (r *ReaderAt) acquire(i int) (*openFile, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fault.New(fault.Internal, "the archive's reader is closed")
	}
	if at := slices.IndexFunc(r.recent, func(f *openFile) bool { return f.index == i }); at >= 0 {
		f := r.recent[at]
		r.recent = slices.Insert(slices.Delete(r.recent, at, at+1), 0, f)
		f.users++
		return f, nil
	}
	file, err := r.open(r.frags[i].SHA256)
	if err != nil {
		return nil, fmt.Errorf("open fragment %s: %w", r.frags[i].SHA256, err)
	}
	f := &openFile{index: i, file: file, users: 1}
	r.recent = slices.Insert(r.recent, 0, f)
	if len(r.recent) > openFiles {
		last := r.recent[openFiles]
		r.recent = r.recent[:openFiles]
		_ = r.forget(last) // only read from: an error of Close loses nothing
	}
	return f, nil
}

func (r *ReaderAt) release(f *openFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.users--
	if f.drop && f.users == 0 {
		_ = f.file.Close() // as above
	}
}

// forget closes f now or with its last user; r.mu is held.
func (r *ReaderAt) forget(f *openFile) error {
	f.drop = true
	if f.users > 0 {
		return nil
	}
	return f.file.Close()
}

// Close closes all open fragments. Reads after it fail.
func (r *ReaderAt) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	var errs []error
	for _, f := range r.recent {
		errs = append(errs, r.forget(f))
	}
	r.recent = nil
	return errors.Join(errs...)
}
