package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/muster/muster/packages/archive"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
)

// localArchive is the author's own file, measured by this program: what is signed comes from here and
// never from the server.
type localArchive struct {
	name    string
	file    *os.File
	temp    bool // packed from a folder; deleted in the end
	once    bool // its upload is not resumed by a later command
	meta    instruction.Archive
	entries []archive.Entry
}

// openArchive opens a zip or tar.gz, or packs a folder, checks the contents as devices will, and cuts
// it into fragments.
func openArchive(ctx context.Context, path string) (*localArchive, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	l := &localArchive{name: filepath.Base(path)}
	if info.IsDir() {
		err = l.pack(ctx, path)
	} else {
		l.file, err = os.Open(path)
	}
	if err == nil {
		err = l.measure(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *localArchive) pack(ctx context.Context, dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find folder: %w", err)
	}
	l.name = filepath.Base(abs) + ".tar.gz"
	if l.file, err = os.CreateTemp("", "muster-*.tar.gz"); err != nil {
		return fmt.Errorf("make temporary file: %w", err)
	}
	l.temp = true
	return archive.Pack(ctx, l.file, dir, archive.DefaultLimits())
}

func (l *localArchive) measure(ctx context.Context) error {
	info, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("look at archive: %w", err)
	}
	if info.Size() > instruction.MaxArchive {
		return fault.New(fault.TooLarge, "%s has %s, at most %s are allowed", l.name, size(info.Size()), size(instruction.MaxArchive))
	}
	format, err := archive.Detect(l.file, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	if l.entries, err = archive.List(ctx, l.file, info.Size(), format, archive.DefaultLimits()); err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	whole := io.NewSectionReader(l.file, 0, info.Size())
	l.meta, err = fragment.Cut(whole, fragment.SizeFor(info.Size()), func(instruction.Fragment, []byte) error { return ctx.Err() })
	if err != nil {
		return fmt.Errorf("read %s: %w", l.name, err)
	}
	l.meta.Format = format
	return nil
}

// has reports whether the archive holds a file of the name.
func (l *localArchive) has(name string) bool {
	for _, e := range l.entries {
		if e.Name == name && !e.Dir {
			return true
		}
	}
	return false
}

func (l *localArchive) close() error {
	if l == nil || l.file == nil {
		return nil
	}
	err := l.file.Close()
	if l.temp {
		err = errors.Join(err, os.Remove(l.file.Name()))
	}
	return err
}
