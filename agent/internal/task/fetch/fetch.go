// Package fetch brings the fragments of a signed archive to this computer, goes on where an earlier process stopped,
// and verifies them, first each one and then the whole.
//
// Fragments lie in the store that all servers and tasks share (package fragments); those of private packages apart.
// Nothing of it need survive: what is missing is fetched again, and what a power cut damaged is found by its digest.
// The task processes of deployments and of updates call it.
package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/muster/muster/agent/internal/backoff"
	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/fragments"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// Reserve is how many bytes of the disk stay free.
const Reserve = 64 << 20

const (
	fetchTries    = 4 // in a row that come no further, before the attempt waits
	fetchAgain    = 2 * time.Second
	progressEvery = time.Second
)

// errDigest says that fetched bytes are not what their digest says.
var errDigest = errors.New("the bytes differ from the signed digest")

// errStalled says that a connection is open and nothing comes through it.
var errStalled = errors.New("the line stands still")

// stallLimit is the time without a byte after which a line is given up, when Options do not say.
const stallLimit = 2 * time.Minute

// Error ends fetching. Final says that the signed bytes are not to be had from this server; else it may be tried
// again later.
type Error struct {
	Reason protocol.Reason
	Final  bool
	text   string
}

// Error is for people.
func (e *Error) Error() string { return e.text }

func failed(final bool, reason protocol.Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Final: final, text: fmt.Sprintf(format, args...)}
}

// Options say what is fetched, and from where.
type Options struct {
	DataDir string
	Client  *client.Client
	Archive *instruction.Archive
	Private bool
	// List is the id under which others may find the fragments by their numbers; empty for none.
	List string
	// Progress is told how many bytes are there, now and then; its error ends fetching. It may be nil.
	Progress func(done, total int64) error
	// Stall replaces the stall limit, when it is not 0.
	Stall time.Duration
	// Again replaces the bound of the first wait after a failed try of a fragment, when it is not 0.
	Again time.Duration
}

// Fetch is one archive.
type Fetch struct{ Options }

// New makes one. It does nothing yet.
func New(o Options) *Fetch { return &Fetch{Options: o} }

// Begin looks at what is there and whether the rest fits on the disk, with an unpacked copy of at least room bytes,
// and returns how many bytes are to be fetched. A disk that is too full is an *Error.
func (d *Fetch) Begin(room int64) (todo int64, err error) {
	missing, have := d.missing()
	need := room + Reserve
	for _, f := range missing {
		need += f.Length
	}
	free, _, err := DiskSpace(d.DataDir)
	if err != nil {
		return 0, err
	}
	if free < need {
		return 0, failed(false, protocol.ReasonDiskSpace, "fetching and unpacking needs %d bytes of free disk, there are %d", need, free)
	}
	return d.Archive.Size - have, nil
}

// Run brings all fragments into the store. The error is an *Error, or of the disk, or that of ctx.
func (d *Fetch) Run(ctx context.Context) error {
	missing, have := d.missing()
	if err := os.MkdirAll(fragments.Dir(d.DataDir, d.Private), 0o700); err != nil {
		return fmt.Errorf("make the fragment store: %w", err)
	}
	if err := d.listFragments(); err != nil {
		return err
	}
	p := &progress{d: d, done: have}
	for _, f := range missing {
		if err := d.fetchOne(ctx, f, p); err != nil {
			return err
		}
	}
	return p.tell(true)
}

// missing lists the fragments that are not in the store, each once, and counts the bytes that are.
func (d *Fetch) missing() (list []instruction.Fragment, have int64) {
	seen := map[string]bool{}
	for _, f := range d.Archive.Fragments {
		info, err := os.Stat(d.path(f.SHA256))
		if (err == nil && info.Size() == f.Length) || seen[f.SHA256] {
			have += f.Length
			continue
		}
		seen[f.SHA256] = true
		list = append(list, f)
	}
	return list, have
}

func (d *Fetch) path(sha256 string) string {
	return filepath.Join(fragments.Dir(d.DataDir, d.Private), sha256)
}

// listFragments lets the agent's listener find a shared package's fragments by their numbers.
func (d *Fetch) listFragments() error {
	if d.List == "" {
		return nil
	}
	digests := make([]string, len(d.Archive.Fragments))
	for n, f := range d.Archive.Fragments {
		digests[n] = f.SHA256
	}
	return fragments.WriteList(d.DataDir, d.List, digests)
}

// fetchOne fetches a fragment, with a few tries in a row. A try that came further than all before is a success
// of the line, however often it is cut; one that begins anew each time, as behind a proxy without ranges, and
// is cut at the same place is not. Bytes that differ are fetched anew once: the way may have damaged them; the
// second time they are refused.
func (d *Fetch) fetchOne(ctx context.Context, f instruction.Fragment, p *progress) error {
	retry := backoff.Backoff{Base: cmp.Or(d.Again, fetchAgain), Cap: 20 * time.Second}
	var err error
	furthest := d.partSize(f)
	for wrong := 0; retry.Failures() < fetchTries; {
		before := p.done
		if err = d.fetchFrom(ctx, f, p); err == nil || ctx.Err() != nil {
			return err
		}
		if errors.Is(err, errDigest) {
			if wrong++; wrong == 2 {
				return failed(true, protocol.ReasonDigest, "fragment %.16s…: %v", f.SHA256, err)
			}
			p.done = before
			continue
		}
		var local *fs.PathError
		if errors.As(err, &local) { // the disk, not the net
			return fmt.Errorf("fetch fragment %.16s…: %w", f.SHA256, err)
		}
		if !fault.Retryable(err) {
			break
		}
		if at := d.partSize(f); at > furthest && !errors.Is(err, errStalled) {
			furthest = at
			retry.Reset()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry.Next()):
		}
	}
	return failed(false, protocol.ReasonStalled, "fetch fragment %.16s…: %v", f.SHA256, err)
}

// partSize is how much of a fragment that is not whole yet is on the disk.
func (d *Fetch) partSize(f instruction.Fragment) int64 {
	info, err := os.Stat(d.partPath(f))
	if err != nil {
		return 0
	}
	return info.Size()
}

func (d *Fetch) partPath(f instruction.Fragment) string {
	return d.path(f.SHA256) + fragments.Part
}

// fetchFrom appends to what there is of the fragment and, when it is whole and right, gives it its name.
func (d *Fetch) fetchFrom(ctx context.Context, f instruction.Fragment, p *progress) error {
	part := d.partPath(f)
	file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	offset, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if offset > f.Length {
		offset = 0
	}
	if offset < f.Length {
		if err := d.receive(ctx, file, f, offset, p); err != nil {
			return err
		}
	}
	if err := d.settleFragment(file, f); err != nil {
		if errors.Is(err, errDigest) {
			_ = os.Remove(part) // begins anew; a leftover would only fail again
		}
		return err
	}
	if err := os.Rename(part, d.path(f.SHA256)); err != nil || d.cheap() {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(part))
}

// cheap reports whether the archive is so small that it is rather fetched again after a power cut than
// synced: what is on the disk is verified before it is used in any case.
func (d *Fetch) cheap() bool { return len(d.Archive.Fragments) == 1 }

// receive copies the body into the file from where the server begins, at most the fragment's length.
func (d *Fetch) receive(ctx context.Context, file *os.File, f instruction.Fragment, offset int64, p *progress) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := cmp.Or(d.Stall, stallLimit)
	stalled := fault.Wrap(errStalled, fault.Unavailable, "no byte came for %s", limit)
	watch := time.AfterFunc(limit, func() { cancel(stalled) })
	defer watch.Stop()

	body, from, err := d.Client.Fragment(ctx, f.SHA256, offset)
	if err != nil {
		return stallCause(ctx, err)
	}
	defer body.Close()
	if err := file.Truncate(from); err != nil {
		return err
	}
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for at := from; at < f.Length; {
		n, err := body.Read(buf[:min(int64(len(buf)), f.Length-at)])
		if n > 0 {
			watch.Reset(limit)
			if _, werr := file.Write(buf[:n]); werr != nil {
				return werr
			}
			at += int64(n)
			if perr := p.add(int64(n)); perr != nil {
				return perr
			}
		}
		if err != nil && at < f.Length {
			return stallCause(ctx, fault.Wrap(err, fault.Unavailable, "the connection ended after %d of %d bytes", at, f.Length))
		}
	}
	return nil
}

// stallCause tells the stall instead of the cancellation it caused.
func stallCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// settleFragment verifies the whole file and brings it to the disk.
func (d *Fetch) settleFragment(file *os.File, f instruction.Fragment) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, file)
	if err != nil {
		return err
	}
	if n != f.Length || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return errDigest
	}
	if d.cheap() {
		return nil
	}
	return file.Sync()
}

// Verify reads all fragments in order, each against its digest, and compares the whole with the signed digest of
// the archive. A fragment damaged on the disk is dropped, to be fetched again; the error is an *Error then too.
func (d *Fetch) Verify(ctx context.Context) error {
	sum := sha256.New()
	r := fragment.NewReader(d.Archive.Fragments, func(sha256 string) (io.ReadCloser, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return os.Open(d.path(sha256))
	})
	n, err := io.Copy(sum, r)
	if fault.Is(err, fault.Untrusted) {
		if derr := d.Drop(); derr != nil {
			return derr
		}
		return failed(false, protocol.ReasonStalled, "a fetched fragment was damaged on this disk and will be fetched again: %v", err)
	}
	if err != nil {
		return fmt.Errorf("verify the archive: %w", err)
	}
	if n != d.Archive.Size || hex.EncodeToString(sum.Sum(nil)) != d.Archive.SHA256 {
		return failed(true, protocol.ReasonDigest, "the archive's fragments are right but the archive they make is not the signed one")
	}
	return nil
}

// Open opens the archive for reading. Its fragments are verified once more as they are read.
func (d *Fetch) Open() (*fragment.ReaderAt, error) {
	return fragment.NewReaderAt(d.Archive.Fragments, func(sha256 string) (fragment.File, error) {
		return os.Open(d.path(sha256))
	})
}

// Drop removes this archive's fragments from the store. Another task that needs one fetches it again.
func (d *Fetch) Drop() error {
	var errs []error
	if d.List != "" {
		errs = append(errs, fragments.RemoveList(d.DataDir, d.List))
	}
	for _, f := range d.Archive.Fragments {
		for _, path := range []string{d.path(f.SHA256), d.partPath(f)} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// progress tells how far fetching has come, at most once a second.
type progress struct {
	d    *Fetch
	done int64
	told time.Time
}

func (p *progress) add(n int64) error {
	p.done += n
	if time.Since(p.told) < progressEvery {
		return nil
	}
	return p.tell(false)
}

func (p *progress) tell(last bool) error {
	p.told = time.Now()
	total := p.d.Archive.Size
	done := min(p.done, total)
	if last {
		done = total
	}
	if p.d.Progress == nil {
		return nil
	}
	return p.d.Progress(done, total)
}
