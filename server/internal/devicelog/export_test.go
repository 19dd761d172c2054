package devicelog

import (
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// CheckReport is check with what must hold of its answer.
func CheckReport(t *testing.T, r protocol.Report) {
	t.Helper()
	now := time.Now().UTC()
	in, err := check(r, now)
	if err != nil {
		require.NotEqual(t, fault.Internal, fault.CodeOf(err))
		return
	}
	require.LessOrEqual(t, len(in.lines), protocol.MaxLogLines)
	require.GreaterOrEqual(t, in.dropped, int64(0))
	for _, l := range in.lines {
		require.Contains(t, []int{1, 2, 3, 4}, l.Level)
		require.LessOrEqual(t, l.TimeMS, now.UnixMilli())
		require.Positive(t, l.TimeMS)
		require.LessOrEqual(t, len(l.Message), protocol.MaxLogMessage)
		require.LessOrEqual(t, utf8.RuneCountInString(l.Task), mostTask)
		require.NotEmpty(t, l.Task)
		for _, c := range l.Task + l.Message {
			require.False(t, unicode.IsControl(c), "%q", l.Message)
		}
		require.True(t, utf8.ValidString(l.Task+l.Message))
	}
}

// CheckPosition is parsePosition with what must hold of its answer.
func CheckPosition(t *testing.T, s string) {
	t.Helper()
	p, err := parsePosition(s)
	if err != nil {
		require.Equal(t, fault.Invalid, fault.CodeOf(err))
		return
	}
	again, err := parsePosition(p.String())
	require.NoError(t, err)
	require.Equal(t, p, again)
}
