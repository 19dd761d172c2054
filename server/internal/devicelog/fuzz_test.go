package devicelog_test

import (
	"testing"
	"time"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/devicelog"
)

// FuzzCheck: whatever a device forwards, what is kept of it is bounded and clean.
func FuzzCheck(f *testing.F) {
	f.Add("core", "info", "message", int64(1_700_000_000_000), int64(0))
	f.Add("", "warn", "\x1b[2J\u202e\xff\n", int64(-1<<60), int64(-1))
	f.Add("de\x00ploy", "loud", "", int64(1<<60), int64(1<<60))
	f.Fuzz(func(t *testing.T, task, level, message string, ms, dropped int64) {
		r := report(line(time.UnixMilli(ms), level, task, message))
		r.Log.Dropped = dropped
		devicelog.CheckReport(t, r)
		r.Kind = protocol.ReportTask
		devicelog.CheckReport(t, r)
	})
}

// FuzzPosition: a place in the list that a client names is one or is refused.
func FuzzPosition(f *testing.F) {
	f.Add("5-1")
	f.Add("9223372036854775807-9223372036854775807")
	f.Add("-1--1")
	f.Fuzz(devicelog.CheckPosition)
}
