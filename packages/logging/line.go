package logging

import (
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"
)

// Line is one line of the agent's log, as the format Tagged writes it.
type Line struct {
	Time time.Time
	Task string // Core for the resident process
	// Server is the attribute of that name, which is a part of Text as well; ParseLine leaves it empty.
	Server string
	Level  slog.Level
	Text   string // message and attributes
}

// stamp is the form of a line's time.
const stamp = "2006-01-02T15:04:05.000Z07:00"

// String is the line with its end.
func (l Line) String() string {
	return l.Time.Format(stamp) + " [" + l.Task + "][" + l.Level.String() + "] " + l.Text + "\n"
}

// ParseLine reads what String has written, with or without the line's end; false for anything else.
func ParseLine(text string) (Line, bool) {
	at, rest, ok := strings.Cut(strings.TrimSuffix(text, "\n"), " [")
	if !ok {
		return Line{}, false
	}
	task, rest, ok := strings.Cut(rest, "][")
	if !ok {
		return Line{}, false
	}
	level, message, ok := strings.Cut(rest, "] ")
	if !ok {
		return Line{}, false
	}
	l := Line{Task: task, Text: message}
	var err error
	if l.Time, err = time.Parse(stamp, at); err != nil || l.Level.UnmarshalText([]byte(level)) != nil {
		return Line{}, false
	}
	return l, true
}

// Lines makes a logger that hands its lines to out, from level on. It may be called from any goroutine
// that logs, and several at once.
func Lines(level slog.Leveler, out func(Line) error) *slog.Logger {
	return slog.New(&tagged{out: out, level: level, task: Core})
}

// Clean makes text from outside one line that moves no cursor and turns no direction: whatever does not show
// becomes a space.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= ' ' && r < 0x7f {
			return r // nearly all
		}
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, s)
}

// lineWriter writes lines to w, one at a time.
func lineWriter(w io.Writer) func(Line) error {
	out := &lockedWriter{w: w}
	return func(l Line) error {
		out.mu.Lock()
		defer out.mu.Unlock()
		_, err := io.WriteString(out.w, l.String())
		return err
	}
}
