// Package logfile is the agent's log on its own disk: log/agent.log in the data directory, and the files that
// it was before, agent.log.1 the newest of them. Lines have the form of logging.Line, one each.
//
// A line that was written is with the system: it outlives the process however that ends, but a power cut may
// take the last seconds. What a crash leaves of a line is ended before the next one, so that a reader loses
// that line alone. Files are moved by number, never by date, and a crash between two moves leaves a gap that
// the next rotation fills, so that a clock that is wrong keeps nothing too long.
//
// The one agent that holds the data directory's lock has a Writer, and a launcher beside it appends a line now and
// then; anybody who may read the files reads them, at the same time too.
package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/muster/muster/packages/atomicfile"
)

// Names in the data directory.
const (
	Dir  = "log"
	name = "agent.log"
)

// MaxFiles is how many files a log may have.
const MaxFiles = 100

// path is the file of a number; 0 is the one that is written to.
func path(dataDir string, number int) string {
	at := filepath.Join(dataDir, Dir, name)
	if number > 0 {
		at += fmt.Sprintf(".%d", number)
	}
	return at
}

// Writer appends lines. It is safe for concurrent use.
type Writer struct {
	dataDir  string
	maxBytes int64
	files    int

	mu    sync.Mutex
	file  *os.File
	size  int64
	limit int64 // of size, at which the files move
	torn  bool  // the file ends within a line
}

// New makes a Writer that holds maxBytes in each of so many files, 1 at least. Nothing is touched before the
// first line is written.
func New(dataDir string, maxBytes int64, files int) *Writer {
	return &Writer{dataDir: dataDir, maxBytes: maxBytes, files: min(max(files, 1), MaxFiles)}
}

// Write appends a line with its end, whole in one file. After an error, as of a full disk, the line is lost and
// the next one is tried anew.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		if err := w.open(); err != nil {
			return 0, fmt.Errorf("open the log: %w", err)
		}
	}
	if w.size > 0 && w.size+int64(len(line)) > w.limit {
		if err := w.rotate(); err != nil {
			return 0, fmt.Errorf("rotate the log: %w", err)
		}
	}
	if w.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.file.Write(line)
	w.size += int64(n)
	if n > 0 {
		w.torn = line[n-1] != '\n'
	}
	return n, err
}

// Append appends one line, beside the Writer of another process: files are moved by that alone.
func Append(dataDir string, line []byte) error {
	w := New(dataDir, 0, MaxFiles) // removes none
	w.limit = math.MaxInt64
	if err := atomicfile.MkdirAll(filepath.Join(dataDir, Dir), 0o700); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	if err := w.append(); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	_, err := w.Write(line)
	return errors.Join(err, w.Close())
}

// open opens or makes the newest file, and removes those that are more than there may be now.
func (w *Writer) open() error {
	if err := atomicfile.MkdirAll(filepath.Join(w.dataDir, Dir), 0o700); err != nil {
		return err
	}
	for n := w.files; n < MaxFiles; n++ {
		if err := os.Remove(path(w.dataDir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	w.limit = w.maxBytes
	return w.append()
}

// append opens the newest file and finds out how it ends.
func (w *Writer) append() error {
	file, err := os.OpenFile(path(w.dataDir, 0), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	w.size, w.torn = info.Size(), false
	if w.size > 0 {
		var last [1]byte
		if _, err := file.ReadAt(last[:], w.size-1); err != nil {
			return errors.Join(err, file.Close())
		}
		w.torn = last[0] != '\n'
	}
	w.file = file
	return nil
}

// rotate moves every file to the next number and begins a new one. Where a file cannot be moved, as on Windows
// while somebody reads it, the newest goes on to be written and the move is tried again a little later.
func (w *Writer) rotate() error {
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return err
	}
	if err := w.move(); err != nil {
		w.limit = w.size + max(w.maxBytes/8, 1)
	} else {
		w.limit = w.maxBytes
	}
	return w.append()
}

func (w *Writer) move() error {
	if w.files == 1 {
		return os.Remove(path(w.dataDir, 0))
	}
	for n := w.files - 2; n >= 0; n-- {
		if err := os.Rename(path(w.dataDir, n), path(w.dataDir, n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Close closes the file. A line written later opens it again.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}
