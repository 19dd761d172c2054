package archive

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/klauspost/compress/zip"
)

// checkZipDirectory reads the directory of a zip with the reader that archives uses, before archives
// does: it bounds the memory for it, and keeps compression methods and encryption away that archives
// would try to open.
func checkZipDirectory(src *source, size int64, lim Limits) error {
	if err := checkZipStart(src); err != nil {
		return err
	}
	n, err := declaredEntries(src, size)
	if err != nil {
		return err
	}
	if n > uint64(lim.Entries) {
		return refuse("it has more than %d entries", lim.Entries)
	}
	// A header has at most 46 bytes and three fields; an honest one is far below a kilobyte.
	bounded := &source{r: src, limited: true, budget: (1 << 20) + int64(lim.Entries)*1024}
	zr, err := zip.NewReader(bounded, size)
	if bounded.exhausted {
		return refuse("its directory is too large")
	}
	if err != nil {
		return err
	}
	if len(zr.File) > lim.Entries {
		return refuse("it has more than %d entries", lim.Entries)
	}
	if err := checkZipEntries(zr.File, lim); err != nil {
		return err
	}
	err = checkZipExtents(zr.File, size)
	if bounded.exhausted {
		return refuse("its directory is too large")
	}
	return err
}

// checkZipStart refuses data in front of an archive, as self-extracting programs have it: they are
// programs, and nobody should take what follows for their content.
func checkZipStart(src *source) error {
	head := make([]byte, 4)
	n, err := src.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !zipStart(head[:n]) {
		return refuse("it does not begin like a zip archive")
	}
	return nil
}

// zipStart reports whether a file begins as zip archives do: with an entry or, if empty, with its end.
func zipStart(head []byte) bool {
	return bytes.Equal(head, []byte("PK\x03\x04")) || bytes.Equal(head, []byte("PK\x05\x06"))
}

func checkZipEntries(files []*zip.File, lim Limits) error {
	for _, f := range files {
		if f.Flags&0x1 != 0 {
			return refuse("entry %q is encrypted", shorten(f.Name))
		}
		if f.Method != zip.Store && f.Method != zip.Deflate {
			return refuse("entry %q is compressed with method %d; only store and deflate are supported", shorten(f.Name), f.Method)
		}
		if f.UncompressedSize64 > uint64(lim.FileBytes) {
			return refuse("entry %q is larger than %d bytes", shorten(f.Name), lim.FileBytes)
		}
	}
	return nil
}

// checkZipExtents refuses entries that share bytes of the archive: a small archive unpacks to any size
// that way.
func checkZipExtents(files []*zip.File, size int64) error {
	const headerLen = 30 // of an entry, at least
	type extent struct {
		start, end int64
		name       string
	}
	extents := make([]extent, 0, len(files))
	for _, f := range files {
		data, err := f.DataOffset()
		if err != nil {
			return err
		}
		if data > size || f.CompressedSize64 > uint64(size-data) {
			return refuse("entry %q reaches beyond its end", shorten(f.Name))
		}
		extents = append(extents, extent{data - headerLen, data + int64(f.CompressedSize64), f.Name})
	}
	slices.SortFunc(extents, func(a, b extent) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(extents); i++ {
		if a, b := extents[i-1], extents[i]; a.end > b.start {
			return refuse("entries %q and %q share bytes", shorten(a.name), shorten(b.name))
		}
	}
	return nil
}

// declaredEntries is the number of entries that the end of the directory announces. The reader
// allocates by it, and a zip64 file may announce any number. It also refuses data behind the end.
func declaredEntries(r io.ReaderAt, size int64) (uint64, error) {
	const endLen, locatorLen, end64Len = 22, 20, 56
	tail := make([]byte, min(size, endLen+0xffff))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	at := -1
	for i := len(tail) - endLen; i >= 0; i-- {
		if bytes.HasPrefix(tail[i:], []byte("PK\x05\x06")) {
			at = i
			break
		}
	}
	if at < 0 {
		return 0, zip.ErrFormat
	}
	if comment := int(binary.LittleEndian.Uint16(tail[at+20:])); at+endLen+comment != len(tail) {
		return 0, refuse("there is data behind its end, or it is cut short")
	}
	n := uint64(binary.LittleEndian.Uint16(tail[at+10:]))
	locator := at - locatorLen
	if locator < 0 || !bytes.HasPrefix(tail[locator:], []byte("PK\x06\x07")) {
		return n, nil
	}
	end := make([]byte, end64Len)
	off := int64(binary.LittleEndian.Uint64(tail[locator+8:]))
	if off < 0 || off > size-end64Len {
		return 0, zip.ErrFormat
	}
	if _, err := r.ReadAt(end, off); err != nil {
		return 0, err
	}
	return max(n, binary.LittleEndian.Uint64(end[32:])), nil
}
