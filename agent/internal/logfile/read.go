package logfile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

const (
	maxLine = 64 << 10 // bytes, at which a line is taken apart
	pollAt  = 250 * time.Millisecond
)

// Position is how far the log has been read.
type Position struct {
	file   os.FileInfo // nil: nothing yet
	offset int64
}

// Read hands every line from a position on to fn, oldest first and without its end, and returns the position
// after the last whole one. The line is fn's until it returns. Lines that were rotated away are left out.
func Read(dataDir string, from Position, fn func(line []byte) error) (Position, error) {
	files, err := openAll(dataDir)
	if err != nil {
		return from, fmt.Errorf("read the log: %w", err)
	}
	defer func() {
		for _, f := range files {
			_ = f.file.Close()
		}
	}()
	first := 0
	for n, f := range files {
		if from.file != nil && os.SameFile(from.file, f.info) {
			first = n
			if from.offset <= f.info.Size() {
				f.start = from.offset
			}
		}
	}
	at := from
	for n := first; n < len(files); n++ {
		f := files[n]
		end, err := f.read(n == len(files)-1, fn)
		if err != nil {
			return at, err
		}
		at = Position{file: f.info, offset: end}
	}
	return at, nil
}

// opened is a file of the log.
type opened struct {
	file  *os.File
	info  os.FileInfo
	start int64
}

// openAll opens all files, oldest first. The newest is opened first of all: what is rotated meanwhile is seen
// twice, and left out the second time, instead of not at all.
func openAll(dataDir string) (files []*opened, err error) {
	for n := range MaxFiles {
		file, err := os.Open(path(dataDir, n))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a gap is what a crash may leave
		}
		var info os.FileInfo
		if err == nil {
			info, err = file.Stat()
		}
		if err != nil {
			for _, f := range files {
				_ = f.file.Close()
			}
			return nil, err
		}
		if slices.ContainsFunc(files, func(f *opened) bool { return os.SameFile(f.info, info) }) {
			_ = file.Close()
			continue
		}
		files = append([]*opened{{file: file, info: info}}, files...)
	}
	return files, nil
}

// read hands on the lines from start. Of the newest file a line that has no end yet is left for later.
func (f *opened) read(newest bool, fn func(line []byte) error) (end int64, err error) {
	if _, err := f.file.Seek(f.start, io.SeekStart); err != nil {
		return f.start, fmt.Errorf("read the log: %w", err)
	}
	end = f.start
	lines := bufio.NewReaderSize(f.file, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == nil || errors.Is(err, bufio.ErrBufferFull):
		case !errors.Is(err, io.EOF):
			return end, fmt.Errorf("read the log: %w", err)
		case newest || len(line) == 0:
			return end, nil
		}
		end += int64(len(line))
		if fnErr := fn(bytes.TrimSuffix(line, []byte{'\n'})); fnErr != nil {
			return end, fnErr
		}
		if errors.Is(err, io.EOF) {
			return end, nil
		}
	}
}

// Follow hands on the lines that come after a position, until ctx ends, which is no error.
func Follow(ctx context.Context, dataDir string, from Position, fn func(line []byte) error) error {
	ticker := time.NewTicker(pollAt)
	defer ticker.Stop()
	for {
		info, err := os.Stat(path(dataDir, 0))
		if err == nil && (from.file == nil || !os.SameFile(from.file, info) || info.Size() != from.offset) {
			if from, err = Read(dataDir, from, fn); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Tail is the end of the log: whole lines, at most so many and so many bytes.
func Tail(dataDir string, lines int, most int64) ([]byte, error) {
	var tail []byte
	var seen os.FileInfo
	for n := range 2 { // with the one before there is enough, but for a log of few bytes
		file, err := os.Open(path(dataDir, n))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var info os.FileInfo
		if err == nil {
			info, err = file.Stat()
		}
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		if seen != nil && os.SameFile(seen, info) { // it was rotated just now
			_ = file.Close()
			continue
		}
		seen = info
		want := min(info.Size(), most-int64(len(tail)))
		part := make([]byte, want, want+int64(len(tail)))
		_, err = file.ReadAt(part, info.Size()-want)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		if want < info.Size() { // begin with a line, and be done
			_, part, _ = bytes.Cut(part, []byte{'\n'})
			return lastLines(append(part, tail...), lines), nil
		}
		tail = append(part, tail...)
	}
	return lastLines(tail, lines), nil
}

func lastLines(text []byte, lines int) []byte {
	for n := len(text) - 2; n >= 0; n-- {
		if text[n] != '\n' {
			continue
		}
		if lines--; lines <= 0 {
			return text[n+1:]
		}
	}
	return text
}
