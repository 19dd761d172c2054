package task

import (
	"encoding/json"
	"testing"
	"time"
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
	require.False(t, in.time.After(now))
	if err != nil {
		require.NotEqual(t, fault.Internal, fault.CodeOf(err))
		return
	}
	require.True(t, reports(in.state))
	require.LessOrEqual(t, len(in.message), protocol.MaxMessage)
	require.LessOrEqual(t, len(in.reason), mostReason)
	require.True(t, utf8.ValidString(in.message))
	require.NotContains(t, in.message+string(in.reason), "\x1b")
	if in.items == "" {
		return
	}
	var items []protocol.TaskItem
	require.NoError(t, json.Unmarshal([]byte(in.items), &items))
	require.LessOrEqual(t, len(items), protocol.MaxItems)
	for _, i := range items {
		require.LessOrEqual(t, len(i.Output), protocol.MaxItemOutput)
		require.LessOrEqual(t, len(i.Others), mostOthers)
		require.LessOrEqual(t, len(i.ID), mostKey)
		require.NotContains(t, i.Output+i.Message+i.ID, "\x1b")
	}
}
