package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Dir is the Store in a local directory: blobs/ab/abcd….
type Dir struct{ path string }

// OpenDir opens the directory and makes it if needed.
func OpenDir(path string) (*Dir, error) {
	if err := atomicfile.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make blob directory: %w", err)
	}
	// All at once, so that no Put needs to make one and sync its parent.
	for n := range 256 {
		err := os.Mkdir(filepath.Join(path, fmt.Sprintf("%02x", n)), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make blob directory: %w", err)
		}
	}
	if err := atomicfile.SyncDir(path); err != nil {
		return nil, fmt.Errorf("make blob directory: %w", err)
	}
	return &Dir{path: path}, nil
}

// file is the path of a blob. The check keeps names from outside away from the file system.
func (d *Dir) file(sum string) (string, error) {
	if !protocol.IsSHA256(sum) {
		return "", fault.New(fault.NotFound, "%.80q is not a SHA-256 digest in lower-case hex", sum)
	}
	return filepath.Join(d.path, sum[:2], sum), nil
}

// Put implements Store.
func (d *Dir) Put(ctx context.Context, sum string, r io.Reader) error {
	path, err := d.file(sum)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		return atomicfile.SyncDir(filepath.Dir(path)) // whoever put it there may have crashed right before
	}
	_, err = atomicfile.WriteFrom(path, &checked{ctx: ctx, r: r, want: sum, hash: sha256.New()}, 0o600)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fault.Wrap(err, fault.Unavailable, "the server's disk is full")
	case err != nil:
		return fmt.Errorf("write blob %s: %w", sum, err)
	}
	return nil
}

// checked turns the end of a stream with another digest into an error, before the file gets its name.
type checked struct {
	ctx  context.Context //nolint:containedctx // lives as long as one call
	r    io.Reader
	want string
	hash hash.Hash
}

func (c *checked) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.hash.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if got := hex.EncodeToString(c.hash.Sum(nil)); got != c.want {
			return n, fault.New(fault.Untrusted, "the content has the digest %s, not %s", got, c.want)
		}
	}
	return n, err
}

// Open implements Store.
func (d *Dir) Open(_ context.Context, sum string) (File, int64, error) {
	path, err := d.file(sum)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, absent(err, sum)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open blob %s: %w", sum, err), f.Close())
	}
	return f, info.Size(), nil
}

// Stat implements Store.
func (d *Dir) Stat(_ context.Context, sum string) (int64, error) {
	path, err := d.file(sum)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, absent(err, sum)
	}
	return info.Size(), nil
}

// Delete implements Store.
func (d *Dir) Delete(_ context.Context, sum string) error {
	path, err := d.file(sum)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete blob %s: %w", sum, err)
	}
	return nil
}

// Sweep removes temporary files that a crash left behind before the given time.
func (d *Dir) Sweep(before time.Time) error {
	return filepath.WalkDir(d.path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(e.Name(), ".tmp") {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || (err == nil && info.ModTime().After(before)) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sweep blob directory: %w", err)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep blob directory: %w", err)
		}
		return nil
	})
}

func absent(err error, sum string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no blob %s", sum)
	}
	return fmt.Errorf("open blob %s: %w", sum, err)
}
