package archive

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/muster/muster/packages/fault"
)

// PackProgram writes a tar.gz with one executable file, size bytes of r. The same program gives the same
// archive, byte for byte, wherever and whenever it is packed with the same version of Go.
func PackProgram(w io.Writer, name string, r io.Reader, size int64) error {
	gz := gzip.NewWriter(w) // the best compression takes three times as long for 0.3 % less
	t := tar.NewWriter(gz)
	err := t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: size, ModTime: packTime, Format: tar.FormatUSTAR})
	if err == nil {
		_, err = io.Copy(t, r)
	}
	if err := errors.Join(err, t.Close(), gz.Close()); err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	return nil
}

// UnpackProgram reads a tar.gz that holds exactly one regular file of the name, and nothing before, beside or
// behind it, and copies the file to w. It reads r to its end, so that whoever hashes what is read has all of
// it. A file of more than limit bytes, and every other archive, is refused (Refused); an error of r or w is
// returned as it is. What was written before an error is void.
func UnpackProgram(r io.Reader, name string, w io.Writer, limit int64) (size int64, err error) {
	src := &readMark{r: r}
	defer func() {
		switch {
		case err == nil, Refused(err):
		case src.err != nil:
			err = src.err
		default:
			var env *environment
			if errors.As(err, &env) {
				err = env.error
				return
			}
			err = &refusal{fault.Wrap(err, fault.Untrusted, "the archive is refused: it is damaged")}
		}
	}()
	buffered := bufio.NewReader(src)
	gz, err := gzip.NewReader(buffered)
	if err != nil {
		return 0, err
	}
	gz.Multistream(false)
	t := tar.NewReader(gz)
	head, err := t.Next()
	if errors.Is(err, io.EOF) {
		return 0, refuse("it is empty")
	}
	if err != nil {
		return 0, err
	}
	if head.Typeflag != tar.TypeReg || head.Name != name {
		return 0, refuse("its first entry is %.80q, not a regular file %q", head.Name, name)
	}
	if head.Size > limit {
		return 0, refuse("%s has %d bytes, %d are expected at most", name, head.Size, limit)
	}
	size, err = io.Copy(markedWriter{w}, t)
	if err != nil {
		return size, err
	}
	if _, err := t.Next(); !errors.Is(err, io.EOF) {
		if err != nil {
			return size, err
		}
		return size, refuse("it holds more than one entry")
	}
	rest, err := io.Copy(io.Discard, io.LimitReader(gz, padding)) // to the checksum of the gzip stream
	if err != nil {
		return size, err
	}
	if rest == padding {
		return size, refuse("data follows its end")
	}
	if _, err := buffered.ReadByte(); !errors.Is(err, io.EOF) {
		if err != nil {
			return size, err
		}
		return size, refuse("data follows its end")
	}
	return size, nil
}

// padding is how much a tar archive may have behind its end: tools fill up a record of 20 blocks.
const padding = 64 << 10

// readMark remembers why the bytes could not be read, because decoders report that as damage.
type readMark struct {
	r   io.Reader
	err error
}

func (m *readMark) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		m.err = err
	}
	return n, err
}
