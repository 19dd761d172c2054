package fragment

import (
	"bytes"
	"fmt"
	"io"

	"github.com/muster/muster/packages/instruction"
)

// Reader reads an archive from its fragments in order. It verifies a whole fragment before it hands
// out its first byte, and so holds one fragment in memory.
type Reader struct {
	frags []instruction.Fragment
	open  func(sha256 string) (io.ReadCloser, error)
	buf   bytes.Buffer
	err   error // sticky
}

// NewReader reads the fragments in order; open finds one by its digest.
func NewReader(frags []instruction.Fragment, open func(sha256 string) (io.ReadCloser, error)) *Reader {
	_, _, err := offsets(frags)
	return &Reader{frags: frags, open: open, err: err}
}

// Read implements io.Reader. A fragment that is not what its digest says is a fault of code untrusted.
func (r *Reader) Read(p []byte) (int, error) {
	for r.buf.Len() == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if len(r.frags) == 0 {
			return 0, io.EOF
		}
		if r.err = r.load(r.frags[0]); r.err != nil {
			r.buf.Reset()
			return 0, r.err
		}
		r.frags = r.frags[1:]
	}
	return r.buf.Read(p)
}

func (r *Reader) load(f instruction.Fragment) error {
	src, err := r.open(f.SHA256)
	if err != nil {
		return fmt.Errorf("open fragment %s: %w", f.SHA256, err)
	}
	r.buf.Reset()
	// One byte more than expected, so that Verify sees a fragment that is too long.
	_, err = r.buf.ReadFrom(io.LimitReader(src, f.Length+1))
	if closeErr := src.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("read fragment %s: %w", f.SHA256, err)
	}
	return Verify(f, r.buf.Bytes())
}
