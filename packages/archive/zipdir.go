package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zip"
)

// checkZipDirectory reads the directory of a zip with the reader that archives uses, before archives
// does: it bounds the memory for it, and keeps compression methods and encryption away that archives
// would try to open.
func checkZipDirectory(src *source, size int64, lim Limits) error {
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
	for _, f := range zr.File {
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

// declaredEntries is the number of entries that the end of the directory announces. The reader
// allocates by it, and a zip64 file may announce any number.
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
