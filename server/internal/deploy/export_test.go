package deploy

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/text"
)

// CheckReport is check with what must hold of its answer.
func CheckReport(t *testing.T, r protocol.Report) {
	t.Helper()
	now := time.Now().UTC()
	in, err := check("device", r, now)
	require.False(t, in.time.After(now))
	if err != nil {
		require.NotEqual(t, fault.Internal, fault.CodeOf(err))
		return
	}
	require.True(t, in.body.State.FromDevice())
	require.LessOrEqual(t, len(in.body.Message), protocol.MaxMessage)
	require.LessOrEqual(t, len(in.body.Output), protocol.MaxOutputTail)
	require.LessOrEqual(t, len(in.body.Reason), 40)
	require.Equal(t, text.Line(in.body.Message), strings.TrimSpace(in.body.Message), "it steers no terminal and is one line")
	require.True(t, utf8.ValidString(in.body.Output) && utf8.ValidString(in.body.Message))
}
