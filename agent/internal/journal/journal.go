// Package journal is a crash-safe, append-only file of JSON records.
//
// Each record is one line: the length of its JSON, the CRC-32C of that JSON (both eight hex digits),
// the JSON. Append returns after the record is on the disk (fsync), so a record that Append accepted
// is there after a crash of the process or the machine, and so is one that Open returned. A record that
// was being written when the crash came is cut off at the next Open and reported by Recovery; a damaged
// record in the middle is left out, reported, and does not cost the records behind it.
//
// One process at a time may have a journal open; whoever opens it holds a lock that says so.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/muster/muster/packages/atomicfile"
)

// Recovery tells what Open found damaged. Its zero value means that nothing was.
type Recovery struct {
	Damaged  int    // damaged stretches in front of good records
	Torn     bool   // the file ended in an unfinished or damaged record
	LostSize int64  // bytes that were left out or cut off
	Detail   string // the first damage, for people
}

// Clean reports whether nothing was damaged.
func (r Recovery) Clean() bool { return r == Recovery{} }

// Journal is an open journal. It is safe for concurrent use.
type Journal[T any] struct {
	path     string
	recovery Recovery

	mu     sync.Mutex
	file   *os.File
	size   int64 // end of the last good record
	broken error // why nothing can be appended any more
}

// Open opens or makes the journal at path and returns the records that survived, oldest first. A
// record that is whole but does not fit T is an error: it was written by another version and must not
// be lost.
func Open[T any](path string) (*Journal[T], []T, error) {
	file, data, err := openFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	j := &Journal[T]{path: path, file: file}
	records, err := j.recover(data)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open journal %s: %w", path, err), j.Close())
	}
	return j, records, nil
}

func openFile(path string) (*os.File, []byte, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return createFile(path)
	}
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(file)
	if err == nil {
		// What is read is acted upon, and a process that crashed may have written it without having synced it.
		err = errors.Join(file.Sync(), atomicfile.SyncDir(filepath.Dir(path)))
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, data, nil
}

// createFile makes the file and syncs its folder: a journal must not vanish in a power cut after its first
// record was accepted, which syncs the file.
func createFile(path string) (*os.File, []byte, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := atomicfile.SyncDir(filepath.Dir(path)); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, nil, nil
}

// recover decodes the records of data and brings the file into a state that can be appended to.
func (j *Journal[T]) recover(data []byte) ([]T, error) {
	var records []T
	var good [][]byte
	recovery, end, err := Scan(data, func(_ int64, payload []byte) error {
		var record T
		if err := json.Unmarshal(payload, &record); err != nil {
			return fmt.Errorf("decode record %d: %w", len(records)+1, err)
		}
		records, good = append(records, record), append(good, payload)
		return nil
	})
	if err != nil {
		return nil, err
	}
	j.recovery, j.size = recovery, end
	switch {
	case recovery.Damaged > 0:
		return records, j.rewrite(good)
	case recovery.Torn:
		return records, j.truncate(end)
	default:
		_, err := j.file.Seek(end, io.SeekStart)
		return records, err
	}
}

// Recovery tells what Open found damaged.
func (j *Journal[T]) Recovery() Recovery { return j.recovery }

// Append adds a record and returns when it is on the disk. After an error the record is not in the
// journal, and if the file could not be brought back into its former state, every later Append fails
// too: the journal must be opened again.
func (j *Journal[T]) Append(record T) error {
	payload, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	if len(payload) > MaxRecord {
		return fmt.Errorf("append to journal: the record has %d bytes, the limit is %d", len(payload), MaxRecord)
	}
	line := AppendLine(nil, payload)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return fmt.Errorf("append to journal %s: unusable after an earlier error: %w", j.path, j.broken)
	}
	if _, err := j.file.Write(line); err != nil {
		if undo := j.truncate(j.size); undo != nil {
			j.broken = errors.Join(err, undo)
		}
		return fmt.Errorf("append to journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		// After a failed fsync the kernel may have dropped the pages: what the file holds is unknown.
		j.broken = err
		return fmt.Errorf("append to journal: %w", err)
	}
	j.size += int64(len(line))
	return nil
}

// Close closes the file; everything that was accepted is on the disk already.
func (j *Journal[T]) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if errors.Is(j.broken, fs.ErrClosed) {
		return nil
	}
	j.broken = fs.ErrClosed
	return j.file.Close()
}

func (j *Journal[T]) truncate(size int64) error {
	if err := j.file.Truncate(size); err != nil {
		return err
	}
	if _, err := j.file.Seek(size, io.SeekStart); err != nil {
		return err
	}
	return j.file.Sync()
}

func (j *Journal[T]) rewrite(payloads [][]byte) error {
	var data []byte
	for _, payload := range payloads {
		data = AppendLine(data, payload)
	}
	// Closed first: Windows does not replace an open file.
	if err := j.file.Close(); err != nil {
		return err
	}
	if err := atomicfile.Write(j.path, data, 0o600); err != nil {
		return err
	}
	file, err := os.OpenFile(j.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	j.file, j.size = file, int64(len(data))
	_, err = file.Seek(j.size, io.SeekStart)
	return err
}
