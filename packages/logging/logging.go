// Package logging makes the slog loggers of Muster's programs and names the attribute keys they share,
// so that one search finds a device in every log. Loggers are made once, in a program's cli package,
// and passed to constructors; there is no default logger. Nothing is buffered: a line that was logged
// before a crash has been handed to the writer.
package logging

import (
	"io"
	"log/slog"
)

// Attribute keys.
const (
	Device     = "device"
	Deployment = "deployment"
	Attempt    = "attempt"
	Package    = "package"
	Assignment = "assignment"
	Task       = "task"
	Step       = "step"
	Server     = "server"
	User       = "user"
	Remote     = "remote"
	Path       = "path"
	Err        = "err"
)

// Formats of New.
const (
	Text   = "text"   // key=value pairs
	JSON   = "json"   // one JSON object per line
	Tagged = "tagged" // "time [task][LEVEL] message key=value", the agent's local file
)

// New makes a logger that writes lines of the format to w, from level on. An unknown format is Text:
// a misspelt setting must not silence a program.
func New(w io.Writer, level slog.Leveler, format string) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case JSON:
		return slog.New(slog.NewJSONHandler(w, opts))
	case Tagged:
		return Lines(level, lineWriter(w))
	default:
		return slog.New(slog.NewTextHandler(w, opts))
	}
}
