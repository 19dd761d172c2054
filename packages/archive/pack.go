package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/mholt/archives"

	"github.com/muster/muster/packages/fault"
)

// packTime is the modification time of everything that Pack writes: the same folder gives the same
// archive, byte for byte, wherever and whenever it was checked out.
var packTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Pack writes the contents of a directory to w as tar.gz. Names are sorted, owners left out, times
// fixed, and modes reduced to 0644, or 0755 for directories and what its owner may execute. What
// Unpack would refuse is refused here.
func Pack(ctx context.Context, w io.Writer, root string, lim Limits) error {
	abs, err := filepath.Abs(root)
	if err != nil {
		return fmt.Errorf("find %s: %w", root, err)
	}
	// The separator at the end asks for the contents without the folder itself.
	files, err := archives.FilesFromDisk(ctx, nil, map[string]string{abs + string(filepath.Separator): ""})
	if err != nil {
		return fmt.Errorf("read %s: %w", root, err)
	}
	c := newChecker(lim, 0)
	c.lim.Ratio, c.lim.RatioFloor = 0, lim.Bytes // nothing is packed yet
	plain := make([]archives.FileInfo, 0, len(files))
	for _, f := range files {
		f.NameInArchive = filepath.ToSlash(f.NameInArchive)
		f.LinkTarget = filepath.ToSlash(f.LinkTarget)
		info := newPackInfo(f.FileInfo)
		f.FileInfo = info
		e := Entry{Name: f.NameInArchive, Mode: info.Mode(), Dir: f.IsDir(), Link: f.LinkTarget, Size: info.Size()}
		if err := c.add(e); err != nil {
			return packError(root, err)
		}
		plain = append(plain, f)
	}
	if err := c.finish(); err != nil {
		return packError(root, err)
	}
	if len(plain) == 0 {
		return fault.New(fault.Invalid, "%s is empty: there is nothing to pack", root)
	}
	gz, err := archives.Gz{}.OpenWriter(w)
	if err != nil {
		return fmt.Errorf("begin archive: %w", err)
	}
	if err := (archives.Tar{}).Archive(ctx, gz, plain); err != nil {
		_ = gz.Close() // the archive is void anyway
		return fmt.Errorf("pack %s: %w", root, err)
	}
	if err := gz.Close(); err != nil {
		return fmt.Errorf("finish archive: %w", err)
	}
	return nil
}

// packError turns the refusal of an archive into one of the folder that the archive would be made of.
func packError(root string, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return fault.Wrap(err, fault.Invalid, "%s cannot be packed, devices would not accept it", root)
	}
	return err
}

// packInfo shows a file without what differs between two copies of it.
type packInfo struct {
	fs.FileInfo
	mode fs.FileMode
}

func newPackInfo(info fs.FileInfo) packInfo {
	mode := info.Mode()
	perm := fs.FileMode(0o644)
	if mode.IsDir() || mode&0o100 != 0 {
		perm = 0o755
	}
	return packInfo{info, mode.Type() | perm}
}

func (i packInfo) Mode() fs.FileMode  { return i.mode }
func (i packInfo) ModTime() time.Time { return packTime }
func (i packInfo) Sys() any           { return nil } // holds owner and access times

func (i packInfo) Size() int64 {
	if i.mode.IsRegular() {
		return i.FileInfo.Size()
	}
	return 0
}

var _ fs.FileInfo = packInfo{}
