package archive

import (
	"errors"
	"io"

	"github.com/muster/muster/packages/fault"
)

// refusal marks the errors that are the archive's fault.
type refusal struct{ fault *fault.Error }

func (r *refusal) Error() string { return r.fault.Error() }
func (r *refusal) Unwrap() error { return r.fault }

func refuse(format string, args ...any) error {
	return &refusal{fault.New(fault.Untrusted, "the archive is refused: "+format, args...)}
}

// Refused reports whether err says that the archive itself is hostile or damaged, and not that reading
// or writing failed.
func Refused(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// environment marks an error of the place that is unpacked to.
type environment struct{ error }

func (e *environment) Unwrap() error { return e.error }

// verdict decides whose fault an error of reading an archive is.
func verdict(err error, ctxErr error, src *source) error {
	var r *refusal
	var env *environment
	switch {
	case err == nil:
		return nil
	case ctxErr != nil:
		return ctxErr
	case src.err != nil:
		return src.err // the archive's bytes could not be had
	case errors.As(err, &r):
		return r // without the prefixes of the library
	case errors.As(err, &env):
		return env.error
	default:
		return &refusal{fault.Wrap(err, fault.Untrusted, "the archive is refused: it is damaged")}
	}
}

// source remembers why the bytes of an archive could not be read, because decoders report that as
// damage.
type source struct {
	r   io.ReaderAt
	err error
	// budget is how many bytes may still be read; negative is unlimited.
	budget    int64
	limited   bool
	exhausted bool
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if s.limited {
		if s.budget -= int64(len(p)); s.budget < 0 {
			s.exhausted = true
			return 0, refuse("its directory is too large")
		}
	}
	if off < 0 { // computed from numbers of the archive; not a fault of the place it lies in
		return 0, refuse("it points before its beginning")
	}
	n, err := s.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) && s.err == nil {
		s.err = err
	}
	return n, err
}
