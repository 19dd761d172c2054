package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
)

// maxManifest bounds the manifest, in bytes: a million files fit.
const maxManifest = 256 << 20

// Target is where to restore.
type Target struct {
	Data string // missing or empty
	// SQLite is the database file when the configuration names one; empty for another database.
	SQLite string
	// Load fills the configured database with the rows of a dump; used for dumps only.
	Load func(ctx context.Context, rows io.Reader) error
}

// Restore puts the backup at path back.
func Restore(ctx context.Context, path string, to Target) (err error) {
	if err := checkEmpty(to.Data); err != nil {
		return err
	}
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open backup: %w", err)
	}
	defer in.Close()
	parent := filepath.Dir(filepath.Clean(to.Data))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	work, err := os.MkdirTemp(parent, workPrefix)
	if err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	m, err := unpack(ctx, in, work)
	if err != nil {
		return err
	}
	data := filepath.Join(work, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if err := placeDatabase(ctx, m, work, data, to); err != nil {
		return err
	}
	if err := settle(data); err != nil {
		return fmt.Errorf("make the restored files durable: %w", err)
	}
	return place(data, to.Data)
}

func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the data directory: %w", err)
	}
	if len(entries) > 0 {
		return fault.New(fault.Conflict, "the data directory %s is not empty; restore into an empty one", dir)
	}
	return nil
}

// unpack writes the backup's files below work and checks them against the manifest.
func unpack(ctx context.Context, in io.Reader, work string) (manifest, error) {
	root, err := os.OpenRoot(work) // names in the tar cannot lead outside
	if err != nil {
		return manifest{}, fmt.Errorf("open work directory: %w", err)
	}
	defer root.Close()
	got := map[string]file{}
	var m *manifest
	tr := tar.NewReader(in)
	for {
		head, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return manifest{}, damaged("it ends early or is no tar file", err)
		}
		if ctx.Err() != nil {
			return manifest{}, ctx.Err()
		}
		if head.Name == manifestName {
			m = &manifest{}
			if err := json.NewDecoder(io.LimitReader(tr, maxManifest)).Decode(m); err != nil {
				return manifest{}, damaged("its manifest cannot be read", err)
			}
			continue
		}
		f, err := unpackFile(root, tr, head)
		if err != nil {
			return manifest{}, err
		}
		got[f.Name] = f
	}
	if m == nil {
		return manifest{}, damaged("it has no manifest", nil)
	}
	return *m, m.check(got)
}

func (m *manifest) check(got map[string]file) error {
	if m.Format != format {
		return fault.New(fault.Unsupported, "the backup has format %d; this program reads format %d", m.Format, format)
	}
	_, whole := got[m.Database]
	for _, want := range m.Files {
		if got[want.Name] != want {
			return damaged(want.Name+" is missing or changed", nil)
		}
		delete(got, want.Name)
	}
	for name := range got {
		return damaged(name+" is not in its manifest", nil)
	}
	if !whole || m.Database != sqliteName && m.Database != rowsName {
		return damaged("it has no database", nil)
	}
	return nil
}

func damaged(what string, err error) error {
	return fault.Wrap(err, fault.Untrusted, "the backup is damaged: %s", what)
}

func unpackFile(root *os.Root, r io.Reader, head *tar.Header) (file, error) {
	name := filepath.FromSlash(head.Name)
	if head.Typeflag != tar.TypeReg || !filepath.IsLocal(name) ||
		(!strings.HasPrefix(head.Name, dataPrefix) && head.Name != sqliteName && head.Name != rowsName) {
		return file{}, damaged(fmt.Sprintf("it holds the entry %q, which no backup has", head.Name), nil)
	}
	for key := range head.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse") { // a few bytes would become as much as the disk holds
			return file{}, damaged(fmt.Sprintf("it holds the sparse file %q, which no backup has", head.Name), nil)
		}
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return file{}, fmt.Errorf("restore %s: %w", head.Name, err)
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(head.Mode)&0o777)
	if err != nil {
		return file{}, fmt.Errorf("restore %s: %w", head.Name, err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), r)
	if err != nil {
		return file{}, errors.Join(damaged(head.Name+" is cut off", err), out.Close())
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return file{}, fmt.Errorf("restore %s: %w", head.Name, err)
	}
	return file{Name: head.Name, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

func placeDatabase(ctx context.Context, m manifest, work, data string, to Target) error {
	from := filepath.Join(work, filepath.FromSlash(m.Database))
	if m.Database == rowsName {
		rows, err := os.Open(from)
		if err != nil {
			return fmt.Errorf("open dump: %w", err)
		}
		defer rows.Close()
		return to.Load(ctx, rows)
	}
	if to.SQLite == "" {
		return fault.New(fault.Conflict, "the backup is of a SQLite database; restore it without --database")
	}
	if rel, err := filepath.Rel(to.Data, to.SQLite); err == nil && filepath.IsLocal(rel) {
		path := filepath.Join(data, rel)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("restore database: %w", err)
		}
		return os.Rename(from, path)
	}
	if _, err := os.Stat(to.SQLite); err == nil {
		return fault.New(fault.Conflict, "there is a database at %s already; move it away first", to.SQLite)
	}
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("restore database: %w", err)
	}
	defer f.Close()
	if _, err := atomicfile.WriteFrom(to.SQLite, f, 0o600); err != nil {
		return fmt.Errorf("restore database: %w", err)
	}
	return nil
}

// place renames the finished directory to where it belongs. An empty directory there is replaced.
func place(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace the empty data directory: %w", err)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("put the data directory in place: %w", err)
	}
	return atomicfile.SyncDir(filepath.Dir(filepath.Clean(to)))
}

// settle makes the names of all files durable; their contents are.
func settle(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return atomicfile.SyncDir(path)
	})
}
