package archive

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"strings"

	"github.com/klauspost/compress/zip"
	"github.com/mholt/archives"

	"github.com/muster/muster/packages/fault"
)

// opener opens the content of an entry; it is valid only during the call it is passed to.
type opener func() (io.ReadCloser, error)

// walk calls fn for every entry but the root directory. Its error is a refusal unless reading r, the
// context or the destination is to blame.
func walk(ctx context.Context, r io.ReaderAt, size int64, format string, lim Limits, fn func(Entry, opener) error) error {
	src := &source{r: r}
	var err error
	switch format {
	case Zip:
		err = walkZip(ctx, src, size, lim, fn)
	case TarGz:
		err = walkTarGz(ctx, src, size, lim, fn)
	default:
		return fault.New(fault.Unsupported, "archive format %q is not supported: use %q or %q", format, Zip, TarGz)
	}
	return verdict(err, ctx.Err(), src)
}

func walkZip(ctx context.Context, src *source, size int64, lim Limits, fn func(Entry, opener) error) error {
	if err := checkZipDirectory(src, size, lim); err != nil {
		return err
	}
	return archives.Zip{}.Extract(ctx, io.NewSectionReader(src, 0, size), func(_ context.Context, f archives.FileInfo) error {
		h, ok := f.Header.(zip.FileHeader)
		if !ok {
			return fault.New(fault.Internal, "unexpected zip header %T", f.Header)
		}
		e := Entry{Mode: zipMode(h), Link: f.LinkTarget, ModTime: h.Modified}
		if name, ok := slashed(h); ok {
			f.NameInArchive = name
			if strings.HasSuffix(name, "/") && e.Mode.IsRegular() {
				e.Mode = fs.ModeDir | 0o755
			}
		}
		e.UID, e.GID = zipOwner(h.Extra)
		switch {
		case e.Mode.IsRegular():
			e.Size = int64(h.UncompressedSize64)
		case e.Mode.IsDir() && h.UncompressedSize64 > 0:
			return refuse("entry %q is a directory with content", shorten(h.Name))
		}
		return named(f, e, fn)
	})
}

func walkTarGz(ctx context.Context, src *source, size int64, lim Limits, fn func(Entry, opener) error) error {
	gz, err := archives.Gz{}.OpenReader(io.NewSectionReader(src, 0, size))
	if err != nil {
		return err
	}
	defer gz.Close()
	// Headers, padding and what is skipped count too: they are what a bomb may consist of.
	stream := &unpacked{r: gz, packed: size, lim: lim, max: lim.Bytes + int64(lim.Entries)*4096 + (1 << 20)}
	err = archives.Tar{}.Extract(ctx, stream, func(_ context.Context, f archives.FileInfo) error {
		h, ok := f.Header.(*tar.Header)
		if !ok {
			return fault.New(fault.Internal, "unexpected tar header %T", f.Header)
		}
		e := Entry{Mode: fs.FileMode(h.Mode) & fs.ModePerm, ModTime: h.ModTime, UID: owner(h.Uid), GID: owner(h.Gid)}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeGNUSparse:
			e.Size = h.Size
		case tar.TypeDir:
			e.Mode |= fs.ModeDir
		case tar.TypeSymlink:
			e.Link, e.Mode = h.Linkname, e.Mode|fs.ModeSymlink
		case tar.TypeLink:
			target, err := cleanName(h.Linkname)
			if err != nil {
				return err
			}
			e.Link = target
		default:
			return refuse("entry %q is a device, pipe or another special file", shorten(h.Name))
		}
		return named(f, e, fn)
	})
	if err != nil {
		return err
	}
	return drain(ctx, stream)
}

// named cleans the name and passes the entry on.
func named(f archives.FileInfo, e Entry, fn func(Entry, opener) error) error {
	name, err := cleanName(f.NameInArchive)
	if err != nil {
		return err
	}
	e.Name, e.Dir = name, e.Mode.IsDir()
	if !e.Dir && strings.HasSuffix(f.NameInArchive, "/") {
		return refuse("entry %q is named as a directory but is none", shorten(f.NameInArchive))
	}
	if name == "." {
		if !e.Dir {
			return refuse("entry %q is not a directory", shorten(f.NameInArchive))
		}
		return nil
	}
	return fn(e, func() (io.ReadCloser, error) { return f.Open() })
}

// drain reads a tar's padding up to the end of the gzip stream, so that its checksum is verified, and
// refuses data hidden behind the archive's end.
func drain(ctx context.Context, r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return refuse("there is data behind its end")
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// unpacked bounds a decompressed stream.
type unpacked struct {
	r      io.Reader
	n      int64
	max    int64
	packed int64
	lim    Limits
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.n += int64(n)
	if u.n > u.max {
		return 0, refuse("it unpacks to more than %d bytes", u.lim.Bytes)
	}
	if bomb := checkRatio(u.n, u.packed, u.lim); bomb != nil {
		return 0, bomb
	}
	return n, err
}

// Systems that a zip entry may be from, as far as they matter.
const (
	hostFAT, hostUnix, hostNTFS, hostVFAT, hostDarwin = 0, 3, 10, 14, 19
)

// slashed is the name of an entry that was packed on Windows with backslashes between folders, as
// Compress-Archive of PowerShell 5 does against the rules of the format. There a backslash cannot be
// part of a name, so nothing else can be meant.
func slashed(h zip.FileHeader) (name string, ok bool) {
	switch h.CreatorVersion >> 8 {
	case hostFAT, hostNTFS, hostVFAT:
		if strings.Contains(h.Name, `\`) && !strings.Contains(h.Name, "/") {
			return strings.ReplaceAll(h.Name, `\`, "/"), true
		}
	}
	return "", false
}

// zipMode is the mode of a zip entry. Entries from systems without permissions would come out as
// writable by everybody.
func zipMode(h zip.FileHeader) fs.FileMode {
	m := plainMode(h.Mode())
	if c := h.CreatorVersion >> 8; c == hostUnix || c == hostDarwin {
		if m.Perm() != 0 {
			return m
		}
	}
	if m.IsDir() {
		return m.Type() | 0o755
	}
	return m.Type() | 0o644
}

// zipOwner reads the Info-ZIP "ux" extra field, the only place where a zip records an owner.
func zipOwner(extra []byte) (uid, gid int) {
	const infoZipUnix = 0x7875
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			break
		}
		field := extra[:n]
		extra = extra[n:]
		// version 1, length of uid, uid, length of gid, gid
		if id != infoZipUnix || n < 1 || field[0] != 1 {
			continue
		}
		u, rest, ok := littleEndian(field[1:])
		if !ok {
			continue
		}
		if g, _, ok := littleEndian(rest); ok {
			return owner(u), owner(g)
		}
	}
	return -1, -1
}

// owner is an owner as systems number them, or -1: the largest number means nobody to them, and a larger
// one would be cut to another.
func owner(id int) int {
	if id < 0 || int64(id) >= math.MaxUint32 {
		return -1
	}
	return id
}

// littleEndian takes a number with a leading length off b. Owners have 32 bits at most.
func littleEndian(b []byte) (v int, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) > len(b)-1 || b[0] > 4 {
		return 0, nil, false
	}
	n := int(b[0])
	for i := n; i >= 1; i-- {
		v = v<<8 | int(b[i])
	}
	return v, b[1+n:], true
}
