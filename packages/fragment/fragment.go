// Package fragment cuts an archive into fragments named by their SHA-256, and joins them again without
// ever writing the joined archive to disk.
//
// Author's tool and server cut with the same code, so they arrive at the same list. NewReader hands
// out only bytes whose fragment has been verified; NewReaderAt is for fragments that were verified
// when they were stored. The package keeps no state: after a crash one cuts or reads again.
package fragment

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// DefaultSize is the length of the fragments of an archive of ordinary size, in bytes.
const DefaultSize = 1 << 20

// maxFragments is how many fragments SizeFor aims at, at most: it keeps an instruction below 400 KB.
const maxFragments = 4096

// SizeFor is the fragment length for an archive of total bytes: DefaultSize up to 4 GiB, and doubled
// from there on until 4096 fragments are enough.
func SizeFor(total int64) int64 {
	size := int64(DefaultSize)
	for size < protocol.MaxFragment && total > size*maxFragments {
		size *= 2
	}
	return size
}

// Cut reads r to its end in pieces of size bytes (the last may be shorter), calls sink with each piece
// in order, and describes the whole. The data is valid only during the call of sink. The returned
// archive has no Format: that is a matter of its content. An error of sink ends the cut.
func Cut(r io.Reader, size int64, sink func(f instruction.Fragment, data []byte) error) (instruction.Archive, error) {
	var a instruction.Archive
	if size < 1 || size > protocol.MaxFragment {
		return a, fault.New(fault.Invalid, "fragment length %d is not between 1 and %d bytes", size, protocol.MaxFragment)
	}
	whole := sha256.New()
	var buf bytes.Buffer // grows with the data: a small archive needs no large buffer
	for {
		buf.Reset()
		n, err := io.CopyN(&buf, r, size)
		if err != nil && !errors.Is(err, io.EOF) {
			return instruction.Archive{}, fmt.Errorf("read archive at offset %d: %w", a.Size+n, err)
		}
		if n == 0 {
			break
		}
		whole.Write(buf.Bytes())
		f := instruction.Fragment{SHA256: digest(buf.Bytes()), Length: n}
		if sinkErr := sink(f, buf.Bytes()); sinkErr != nil {
			return instruction.Archive{}, sinkErr
		}
		a.Size += n
		a.Fragments = append(a.Fragments, f)
		if n < size { // the end was reached
			break
		}
	}
	a.SHA256 = hex.EncodeToString(whole.Sum(nil))
	return a, nil
}

// Verify reports a fault of code untrusted unless data is what f describes.
func Verify(f instruction.Fragment, data []byte) error {
	if int64(len(data)) != f.Length {
		return fault.New(fault.Untrusted, "fragment %s has %d bytes instead of %d", f.SHA256, len(data), f.Length)
	}
	if got := digest(data); got != f.SHA256 {
		return fault.New(fault.Untrusted, "fragment %s has other content: its digest is %s", f.SHA256, got)
	}
	return nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// offsets returns the start of each fragment and the total length, or a fault if a length is not
// between 1 and protocol.MaxFragment.
func offsets(frags []instruction.Fragment) ([]int64, int64, error) {
	starts := make([]int64, len(frags))
	var total int64
	for i, f := range frags {
		if f.Length < 1 || f.Length > protocol.MaxFragment {
			return nil, 0, fault.New(fault.Invalid, "fragment %d has a length of %d bytes; 1 to %d are allowed", i, f.Length, protocol.MaxFragment)
		}
		starts[i] = total
		total += f.Length
	}
	return starts, total, nil
}
