// Package logforward takes every line that the agent logs, writes it on this computer, and forwards it to the
// servers that asked for lines of its level (protocol.LogSetting) and may have them.
//
// A line that is to be forwarded is appended at once to a batch, a file in the server's folder whose name is the
// id of the report that it becomes. A batch that is long or old enough goes into the spool, and the file goes
// after that; one that a crash has left goes at the next start, as the same report. So a line that was logged
// before the process was killed arrives, once; a power cut may cost the lines of the last half minute. Lines
// over the rate, and those that the disk does not take, are counted, and the server is told the count.
//
// Lines of one server's tasks and session are for that server alone. Lines about forwarding itself stay on this
// computer (Quiet), because each might make another one.
//
// Where nothing is asked for there is no file, no timer and no goroutine, and a line costs a comparison. The cli
// makes one Log; the resident makes a Forwarder of it for each server that may have lines.
package logforward

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster/muster/packages/logging"
)

// maxText bounds a line, in bytes, wherever it is written.
const maxText = 16 << 10

// Log takes lines. It is safe for concurrent use.
type Log struct {
	own   slog.Level // from which on lines are written on this computer
	level slog.LevelVar

	writing sync.Mutex
	to      []io.Writer

	mu         sync.RWMutex
	forwarders []*Forwarder
}

// New makes a Log that writes lines from a level on to each of to. One that fails is no reason not to write to
// the others.
func New(level slog.Level, to ...io.Writer) *Log {
	l := &Log{own: level, to: to}
	l.level.Set(level)
	return l
}

// Logger is the logger of this process.
func (l *Log) Logger() *slog.Logger { return logging.Lines(&l.level, l.take) }

// Quiet is a logger whose lines are not forwarded.
func (l *Log) Quiet() *slog.Logger { return logging.Lines(l.own, l.write) }

// Level is the lowest that somebody wants lines of at present.
func (l *Log) Level() slog.Level { return l.relevel(time.Now()) }

// Task takes the lines that a task process for a server writes, one with each Write. What has not the form of a
// line, as what the runtime says of a crash, becomes one of the level error.
func (l *Log) Task(kind, server string) io.Writer {
	return &taskWriter{log: l, kind: kind, server: server}
}

type taskWriter struct {
	log          *Log
	kind, server string
}

func (w *taskWriter) Write(p []byte) (int, error) {
	line, ok := logging.ParseLine(string(p))
	if !ok {
		text := strings.TrimSpace(string(p))
		if text == "" {
			return len(p), nil
		}
		line = logging.Line{Time: time.Now(), Task: w.kind, Level: slog.LevelError, Text: text}
	}
	line.Task, line.Text, line.Server = logging.Clean(line.Task), logging.Clean(line.Text), w.server
	return len(p), w.log.take(line)
}

// take forwards a line to whom it is for and writes it.
func (l *Log) take(line logging.Line) error {
	line.Text = cut(line.Text, maxText)
	now, wanted := time.Now(), false
	l.mu.RLock()
	for _, f := range l.forwarders {
		if f.take(line, now) {
			wanted = true
		}
	}
	l.mu.RUnlock()
	if line.Level >= l.own { // last: what people can see here was forwarded, whatever ends this process
		return l.write(line)
	}
	if !wanted {
		l.relevel(now) // a level that was for a time has ended
	}
	return nil
}

// write writes a line on this computer.
func (l *Log) write(line logging.Line) error {
	data := []byte(line.String())
	l.writing.Lock()
	defer l.writing.Unlock()
	var first error
	for _, to := range l.to {
		if _, err := to.Write(data); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// relevel finds the lowest level that is wanted.
func (l *Log) relevel(now time.Time) slog.Level {
	l.mu.RLock()
	defer l.mu.RUnlock()
	lowest := l.own
	for _, f := range l.forwarders {
		if level, on := f.level(now); on {
			lowest = min(lowest, level)
		}
	}
	l.level.Set(lowest)
	return lowest
}

func (l *Log) add(f *Forwarder) {
	l.mu.Lock()
	l.forwarders = append(l.forwarders, f)
	l.mu.Unlock()
	l.relevel(time.Now())
}

func (l *Log) remove(f *Forwarder) {
	l.mu.Lock()
	l.forwarders = slices.DeleteFunc(l.forwarders, func(other *Forwarder) bool { return other == f })
	l.mu.Unlock()
	l.relevel(time.Now())
}

// cut shortens text to at most so many bytes, between two characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}
