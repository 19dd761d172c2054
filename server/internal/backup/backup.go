// Package backup writes a server's state into one tar file and puts it back: a consistent snapshot of
// the database, the keys and the fragments, each file with its digest in a manifest.
//
// The database is copied first: fragments that it names are never changed, so whatever is written
// meanwhile is only more than needed. A backup appears under its name when it is whole. Restore
// verifies every byte in a directory of its own before it puts anything in place; after a crash the
// place is still empty. Only cli calls it.
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
	"time"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/server/internal/store"
)

// Names in the tar file.
const (
	manifestName = "manifest.json"
	sqliteName   = "database/muster.db"
	rowsName     = "database/rows.jsonl"
	dataPrefix   = "data/"
)

// workPrefix starts the names of working directories, which are never part of a backup.
const workPrefix = ".backup-"

// format is the version of the layout.
const format = 1

// manifest lists what a backup holds. It is the tar's last entry: digests are known then.
type manifest struct {
	Format    int       `json:"format"`
	Version   string    `json:"version"` // of the program that wrote it
	CreatedAt time.Time `json:"created_at"`
	Database  string    `json:"database"` // name of the database's entry
	Files     []file    `json:"files"`
}

type file struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Source is what to back up.
type Source struct {
	DB      *store.DB
	Data    string   // data directory
	Skip    []string // files in it that are not copied: the database, the lock
	Version string
}

// Write makes the backup file at path. The server may go on running.
func Write(ctx context.Context, src Source, path string) (err error) {
	work, err := os.MkdirTemp(src.Data, workPrefix)
	if err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	m := manifest{Format: format, Version: src.Version, CreatedAt: store.Now(), Database: rowsName}
	database := filepath.Join(work, "database")
	if src.DB.Dialect == store.SQLite {
		m.Database = sqliteName
		err = src.DB.Snapshot(ctx, database)
	} else {
		err = dump(ctx, src.DB, database)
	}
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeTar(ctx, src, m, database, w)) }()
	if _, err := atomicfile.WriteFrom(path, r, 0o600); err != nil {
		return errors.Join(fmt.Errorf("write backup: %w", err), r.CloseWithError(err))
	}
	return nil
}

func dump(ctx context.Context, db *store.DB, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make dump file: %w", err)
	}
	return errors.Join(db.Dump(ctx, f), f.Close())
}

func writeTar(ctx context.Context, src Source, m manifest, database string, w io.Writer) error {
	tw := tar.NewWriter(w)
	add := func(name, path string) error {
		f, err := addFile(tw, name, path)
		if errors.Is(err, fs.ErrNotExist) && name != m.Database {
			return nil // a temporary that has gone meanwhile
		}
		if err != nil {
			return fmt.Errorf("back up %s: %w", name, err)
		}
		m.Files = append(m.Files, f)
		return nil
	}
	if err := add(m.Database, database); err != nil {
		return err
	}
	if err := walk(ctx, src, func(rel, path string) error { return add(dataPrefix+rel, path) }); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if err := tw.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(text)), ModTime: m.CreatedAt}); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if _, err := tw.Write(text); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return tw.Close()
}

// walk visits the regular files of the data directory that belong into a backup.
func walk(ctx context.Context, src Source, visit func(rel, path string) error) error {
	skip := map[string]bool{}
	for _, p := range src.Skip {
		abs, err := filepath.Abs(p)
		if err != nil {
			return fmt.Errorf("name %s: %w", p, err)
		}
		skip[abs] = true
	}
	data, err := filepath.Abs(src.Data)
	if err != nil {
		return fmt.Errorf("name data directory: %w", err)
	}
	return filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("read data directory: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && strings.HasPrefix(d.Name(), workPrefix):
			return filepath.SkipDir
		case !d.Type().IsRegular() || skip[path]:
			return nil
		}
		rel, err := filepath.Rel(data, path)
		if err != nil {
			return fmt.Errorf("name %s: %w", path, err)
		}
		return visit(filepath.ToSlash(rel), path)
	})
}

func addFile(tw *tar.Writer, name, path string) (file, error) {
	f, err := os.Open(path)
	if err != nil {
		return file{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return file{}, err
	}
	head := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime()}
	if err := tw.WriteHeader(head); err != nil {
		return file{}, err
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(tw, sum), f, info.Size()); err != nil {
		return file{}, fmt.Errorf("it changed while it was read: %w", err)
	}
	return file{Name: name, Size: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}
