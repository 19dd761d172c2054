package logforward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

const (
	folder     = "log"     // of a server's folder
	maxBatch   = 256 << 10 // bytes of JSON, of which a report may have more than twice as many
	maxWaiting = 20        // batches that the spool does not take
	maxTask    = 40        // bytes
)

func (f *Forwarder) dir() string { return filepath.Join(f.o.Store.Dir(), folder) }

// Forget removes what was collected for a server that may have it no longer. What is in the spool already goes.
func Forget(store *identity.Store) error {
	if err := os.RemoveAll(filepath.Join(store.Dir(), folder)); err != nil {
		return fmt.Errorf("forget collected log lines: %w", err)
	}
	return nil
}

// record is what a batch's file holds, one in each line of the journal's form. One field is set.
type record struct {
	Line    *protocol.LogLine `json:"line,omitempty"`
	Dropped int64             `json:"dropped,omitempty"`
}

// batch is a file of lines on their way to the spool.
type batch struct {
	id    string
	file  *os.File
	lines int
	size  int
}

func newBatch(dir string) (*batch, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an id: %w", err)
	}
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("collect log lines: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, id.String()), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("collect log lines: %w", err)
	}
	return &batch{id: id.String(), file: file}, nil
}

func (b *batch) append(line protocol.LogLine) error {
	if err := b.write(record{Line: &line}); err != nil {
		return err
	}
	b.lines++
	return nil
}

func (b *batch) tell(dropped int64) error { return b.write(record{Dropped: dropped}) }

func (b *batch) write(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a log line: %w", err)
	}
	data = journal.AppendLine(nil, data)
	n, err := b.file.Write(data)
	b.size += n
	if err != nil {
		if n > 0 { // what is left of it must not hide the next one
			_, _ = b.file.Write([]byte{'\n'})
		}
		return fmt.Errorf("collect log lines: %w", err)
	}
	return nil
}

func (b *batch) full() bool { return b.lines >= protocol.MaxLogLines || b.size >= maxBatch }

// left names the batches that an earlier process has left, oldest first.
func (f *Forwarder) left() (ids []string) {
	entries, err := os.ReadDir(f.dir())
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.complain(err)
		}
		return nil
	}
	for _, e := range entries {
		if uuid.Validate(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids
}

// spool makes a batch a report, and lets go of it when the report is on the disk. Done twice it is done once:
// the report has the same id.
func (f *Forwarder) spool(id string) error {
	path := filepath.Join(f.dir(), id)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var data []byte
	if err == nil && info.Size() <= 2*maxBatch {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return fmt.Errorf("spool log lines: %w", err)
	}
	report := decode(data)
	if len(report.Lines) > 0 || report.Dropped > 0 {
		at := info.ModTime()
		if len(report.Lines) > 0 {
			at = report.Lines[0].Time
		}
		err := f.o.Spool.Add(context.Background(), protocol.Report{ID: id, Kind: protocol.ReportLog, Time: at.UTC(), Log: &report})
		if err != nil {
			return fmt.Errorf("spool log lines: %w", err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool log lines: %w", err)
	}
	return nil
}

// decode reads a batch's file. What a crash has cut off is left out.
func decode(data []byte) protocol.LogReport {
	var report protocol.LogReport
	_, _, _ = journal.Scan(data, func(_ int64, payload []byte) error {
		var r record
		if json.Unmarshal(payload, &r) != nil {
			return nil //nolint:nilerr // one damaged line must not cost the others
		}
		report.Dropped += max(r.Dropped, 0)
		if r.Line != nil && len(report.Lines) < protocol.MaxLogLines {
			report.Lines = append(report.Lines, *r.Line)
		}
		return nil
	})
	return report
}

// wire is a line as it is told.
func wire(l logging.Line) protocol.LogLine {
	level := protocol.LogLevels[0]
	switch {
	case l.Level >= slog.LevelError:
		level = "error"
	case l.Level >= slog.LevelWarn:
		level = "warn"
	case l.Level >= slog.LevelInfo:
		level = "info"
	}
	return protocol.LogLine{
		Time: l.Time.UTC().Truncate(time.Microsecond), Task: cut(l.Task, maxTask), Level: level, Message: cut(l.Text, protocol.MaxLogMessage),
	}
}
