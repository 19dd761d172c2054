// Package archive lists, unpacks and packs the archives of packages: zip and tar.gz.
//
// Archives are hostile input. List and Unpack refuse, as a whole, an archive with absolute or parent
// paths, backslashes, colons, control characters, names that Windows reserves, names that collide when
// case or Unicode form is ignored, links that leave the archive (directly, by a chain, or as hard
// links to anything but an earlier file), entries below a link, devices and pipes, encryption,
// compression methods other than store and deflate, entries that share bytes, data before or behind
// the archive, damage, or more entries, bytes or compression than Limits allow. Setuid, setgid and
// sticky bits are dropped. Such a refusal is a fault of code untrusted, and Refused tells it from an
// error of the environment. List and Unpack come to the same verdict, and so does every system: what
// Windows could not hold is refused on Linux too, where an author sees it before any device does.
//
// Of what a format says twice, one counts: the directory of a zip and not its local headers, the type
// flag of a tar and not the type in its mode, extended headers and not the plain ones. Holes of sparse
// files are filled, within Limits. Backslashes in a zip that was packed on Windows are slashes.
//
// Unpack writes into a directory that must be empty, through os.Root, and empties it again on any
// error. Nothing is synced: after a crash the directory is thrown away and unpacked anew.
//
// Reading goes through mholt/archives with the two formats named explicitly. That library passes names
// and link targets on raw and hides three things that we need, which come from elsewhere: the owner
// and the type of an entry are in the format's own header (FileInfo.Header: tar.Header, and
// zip.FileHeader with its Info-ZIP extra field); the end of a gzip stream with its checksum is read by
// opening Gz and Tar separately; and since it opens the links of a zip before it asks, with
// decompressors that may be nil, the zip's directory is checked before it is let near it.
package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/mholt/archives"

	"github.com/muster/muster/packages/fault"
)

// Formats.
const (
	Zip   = "zip"
	TarGz = "tar.gz"
)

// Limits bound what an archive may hold.
type Limits struct {
	Entries   int     // files, directories (named or implied) and links
	Bytes     int64   // of all files, unpacked
	FileBytes int64   // of one file, unpacked
	Ratio     float64 // unpacked to packed; applies from RatioFloor on
	// RatioFloor is how many unpacked bytes are always fine: small archives of zeros are harmless.
	RatioFloor int64
	// Room is how many bytes fit where it is unpacked; 0 when that is not known. An archive that needs more
	// is not refused: Unpack stops before it fills the disk, and its error is syscall.ENOSPC.
	Room int64
}

// DefaultLimits are generous to installers and deadly to bombs.
func DefaultLimits() Limits {
	return Limits{Entries: 200_000, Bytes: 64 << 30, FileBytes: 64 << 30, Ratio: 200, RatioFloor: 64 << 20}
}

// Entry is one file, directory or link.
type Entry struct {
	Name string // relative, clean, with forward slashes
	Size int64  // of a regular file, in bytes
	// Mode has the type and the permission bits. Entries made on systems without permissions have 0644
	// (files) or 0755 (directories).
	Mode fs.FileMode
	Dir  bool
	// Link is the target of a symbolic link (as written) if Mode says so; otherwise, if not empty, the
	// entry is a hard link to the entry of that name.
	Link    string
	ModTime time.Time
	UID     int // -1 when the archive does not record it
	GID     int // likewise
}

// Symlink reports whether the entry is a symbolic link.
func (e Entry) Symlink() bool { return e.Mode&fs.ModeSymlink != 0 }

// Executable reports whether the entry is a file that anybody may execute, as far as the archive says.
func (e Entry) Executable() bool { return e.Mode.IsRegular() && e.Mode&0o111 != 0 }

// detectBytes is how much unpacked data Detect looks at to find a tar header.
const detectBytes = 4 << 20

// Detect tells the format by the content, never by a name. Anything but zip and tar.gz is a fault of
// code unsupported.
func Detect(r io.ReaderAt, size int64) (string, error) {
	head := make([]byte, 4)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	head = head[:n]
	switch {
	case zipStart(head):
		return Zip, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		src := &source{r: r}
		if holdsTar(io.NewSectionReader(src, 0, size)) {
			return TarGz, nil
		}
		if src.err != nil {
			return "", src.err
		}
		return "", fault.New(fault.Unsupported, "the file is compressed with gzip but holds no tar archive; only zip and tar.gz are supported")
	default:
		return "", fault.New(fault.Unsupported, "the file is neither a zip nor a tar.gz archive")
	}
}

func holdsTar(r io.Reader) bool {
	gz, err := archives.Gz{}.OpenReader(r)
	if err != nil {
		return false
	}
	defer gz.Close()
	m, err := archives.Tar{}.Match(context.Background(), "", io.LimitReader(gz, detectBytes))
	return err == nil && m.ByStream
}

// List names the entries in the archive's order. It reads all contents and makes every check that Unpack
// makes.
func List(ctx context.Context, r io.ReaderAt, size int64, format string, lim Limits) ([]Entry, error) {
	var entries []Entry
	c := newChecker(lim, size)
	err := walk(ctx, r, size, format, lim, func(e Entry, open opener) error {
		if err := c.add(e); err != nil {
			return err
		}
		entries = append(entries, e)
		if !e.Mode.IsRegular() || e.Link != "" {
			return nil
		}
		return copyContent(ctx, io.Discard, e, open)
	})
	if err == nil {
		err = c.finish()
	}
	if err != nil {
		return nil, err
	}
	return entries, nil
}
