package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/muster/muster/packages/protocol"
)

const (
	outputFile    = "output"     // the newest output
	outputOldFile = "output.old" // what came right before it
	reserveFile   = "reserve"    // disk space kept for the status and the tail
	reserveSize   = 3 * protocol.MaxOutputTail
)

// recorder keeps the tail of a command's output in two files of an attempt's folder, so that even a
// killed machine leaves something: whatever was written is in a file at once, and on the disk after Sync.
// When a file is full it becomes the old one, so both together always hold the tail.
//
// An installer may well fill the disk. The command must not see that, so failed writes only set failed;
// the tail is kept in memory too and written at the end into the space that was reserved at the start.
type recorder struct {
	dir string

	mu     sync.Mutex
	file   *os.File
	size   int   // of file
	total  int64 // all that was written
	dirty  bool
	failed bool
	memory []byte
}

func newRecorder(dir string) (*recorder, error) {
	// Real bytes: a sparse file would reserve nothing.
	if err := os.WriteFile(filepath.Join(dir, reserveFile), make([]byte, reserveSize), 0o600); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, outputFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &recorder{dir: dir, file: file}, nil
}

// Write takes output and never fails: see recorder.
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total += int64(len(p))
	r.memory = append(r.memory, p...)
	if excess := len(r.memory) - 2*protocol.MaxOutputTail; excess > 0 {
		r.memory = append(r.memory[:0], r.memory[len(r.memory)-protocol.MaxOutputTail:]...)
	}
	if !r.failed {
		r.failed = r.record(p) != nil
	}
	return len(p), nil
}

func (r *recorder) record(p []byte) error {
	if r.size > 0 && r.size+len(p) > protocol.MaxOutputTail {
		if err := r.rotate(); err != nil {
			return err
		}
	}
	n, err := r.file.Write(p)
	r.size += n
	r.dirty = true
	return err
}

func (r *recorder) rotate() error {
	path := filepath.Join(r.dir, outputFile)
	// Closed first: Windows does not rename an open file.
	if err := r.file.Close(); err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(r.dir, outputOldFile)); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	r.file, r.size = file, 0
	return nil
}

// Sync puts what was written on the disk. Its errors do not matter: it only betters what is left after
// the machine was killed.
func (r *recorder) Sync() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dirty && !r.failed {
		r.dirty = r.file.Sync() != nil
	}
}

// Close releases the reserved space, completes the files and returns how much was written in all.
func (r *recorder) Close() (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := os.Remove(filepath.Join(r.dir, reserveFile))
	if r.failed {
		return r.total, errors.Join(err, r.file.Close(), r.rewrite())
	}
	return r.total, errors.Join(err, r.file.Sync(), r.file.Close())
}

func (r *recorder) rewrite() error {
	old := filepath.Join(r.dir, outputOldFile)
	if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	data := r.memory
	if len(data) > protocol.MaxOutputTail {
		data = data[len(data)-protocol.MaxOutputTail:]
	}
	return os.WriteFile(filepath.Join(r.dir, outputFile), data, 0o600)
}

// readOutput returns the tail that the files of dir hold, as text whose first line says so when there was
// more, and how many bytes were written, at least. total is that number where the status says it, or 0.
// Missing files are no error: the runner may have died before it made them.
func readOutput(dir string, total int64) (tail string, written int64, err error) {
	var data []byte
	for _, name := range []string{outputOldFile, outputFile} {
		part, err := readBounded(filepath.Join(dir, name), 2*protocol.MaxOutputTail)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", 0, err
		}
		data = append(data, part...)
	}
	written = max(total, int64(len(data)))
	if written <= protocol.MaxOutputTail {
		// The room for one rune more shows text that grew too long when invalid bytes were replaced.
		if text := tailText(data, protocol.MaxOutputTail+utf8.UTFMax); len(text) <= protocol.MaxOutputTail {
			return text, written, nil
		}
	}
	mark := "[earlier output is left out]\n"
	if total > 0 {
		mark = fmt.Sprintf("[earlier output is left out; it was %d bytes in all]\n", total)
	}
	return mark + tailText(data, protocol.MaxOutputTail-len(mark)), written, nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, limit))
	return data, errors.Join(err, file.Close())
}

// tailText turns the end of data into at most limit bytes of valid UTF-8. A cut never leaves half a
// rune, and each stretch of invalid bytes becomes one replacement character.
func tailText(data []byte, limit int) string {
	if len(data) > limit {
		data = trimContinuation(data[len(data)-limit:])
	}
	text := strings.ToValidUTF8(string(data), string(utf8.RuneError))
	if len(text) > limit { // replacement characters are longer than what they stand for
		text = string(trimContinuation([]byte(text[len(text)-limit:])))
	}
	return text
}

// trimContinuation removes what is left at the front of a rune that was cut.
func trimContinuation(data []byte) []byte {
	for i := 0; i < utf8.UTFMax-1 && len(data) > 0 && !utf8.RuneStart(data[0]); i++ {
		data = data[1:]
	}
	return data
}
