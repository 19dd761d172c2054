package protocol

import (
	"slices"
	"time"

	"github.com/muster/muster/packages/fault"
)

// LogLevels are the levels of log lines, lowest first. LogOff forwards none.
var LogLevels = []string{"debug", "info", "warn", "error"}

// LogOff is the level of a LogSetting that forwards nothing.
const LogOff = "off"

// Limits of forwarded log lines.
const (
	MaxLogLines   = 200     // lines of one report
	MaxLogMessage = 4 << 10 // bytes of one line's message
	maxLogTask    = 40
)

// LogSetting says from which level on a device forwards its log lines to the server that says so. The one of
// the last check-in that was answered holds, also over restarts. A device whose configuration does not allow
// that server TaskLog forwards none.
type LogSetting struct {
	Level string `json:"level"` // of LogLevels, or LogOff
	// Until is when Level ends and After begins; nil is never.
	Until *time.Time `json:"until,omitempty"`
	After string     `json:"after,omitempty"`
	// Follow asks, until that time, for lines as they come: somebody looks at them. Else they are collected
	// for a while, to cost less.
	Follow *time.Time `json:"follow,omitempty"`
}

// Validate checks that the levels are such.
func (l *LogSetting) Validate() error {
	valid := func(level string) bool { return level == LogOff || slices.Contains(LogLevels, level) }
	switch {
	case !valid(l.Level):
		return fault.Field("log.level", "%.40q is none of %v and %s", l.Level, LogLevels, LogOff)
	case !valid(l.After) && (l.Until != nil || l.After != ""):
		return fault.Field("log.after", "%.40q is none of %v and %s", l.After, LogLevels, LogOff)
	}
	return nil
}

// At is the level that holds at a time.
func (l *LogSetting) At(now time.Time) string {
	if l.Until != nil && !now.Before(*l.Until) {
		return l.After
	}
	return l.Level
}

// LogReport carries log lines, oldest first.
type LogReport struct {
	Lines []LogLine `json:"lines"`
	// Dropped counts lines that were to be forwarded since the report before, and were not, because there
	// were too many.
	Dropped int64 `json:"dropped,omitempty"`
}

// LogLine is one line of an agent's log.
type LogLine struct {
	Time    time.Time `json:"time"` // the device's clock
	Task    string    `json:"task"` // kind of task, "core" for the resident process
	Level   string    `json:"level"`
	Message string    `json:"message"` // with its attributes as key=value, at most MaxLogMessage bytes
}

func (l *LogReport) validate() error {
	if len(l.Lines) > MaxLogLines {
		return fault.Field("log.lines", "%d lines; at most %d are taken", len(l.Lines), MaxLogLines)
	}
	for _, line := range l.Lines {
		if len(line.Task) > maxLogTask || !slices.Contains(LogLevels, line.Level) {
			return fault.Field("log.lines", "a line of task %.60q has the level %.40q", line.Task, line.Level)
		}
	}
	return nil
}
