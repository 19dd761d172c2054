package attempt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

func TestOpen_takesNothingButUUIDs(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", ".", "..", "../../etc", "/etc", "x", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8"} {
		_, err := attempt.Open(t.TempDir(), id)
		require.Equal(t, fault.Invalid, fault.CodeOf(err), "%q", id)
	}
}

func TestAttempt_life(t *testing.T) {
	t.Parallel()
	dir, id := t.TempDir(), uuid.NewString()
	a, err := attempt.Open(dir, id)
	require.NoError(t, err)
	task := protocol.Task{ID: "t", Kind: protocol.TaskDeploy, Deploy: &protocol.DeployTask{AttemptID: id, Priority: 3}}
	require.NoError(t, a.Begin(task))
	require.NoError(t, a.Begin(protocol.Task{ID: "other", Deploy: &protocol.DeployTask{}}), "may be repeated")
	kept, err := a.Task()
	require.NoError(t, err)
	require.Equal(t, task, kept, "what was asked first stays")

	records, err := a.Peek()
	require.NoError(t, err)
	require.Empty(t, records)
	j, _, err := a.Journal()
	require.NoError(t, err)
	for _, state := range []protocol.State{protocol.StateAccepted, protocol.StateStarted, protocol.StateWaiting} {
		r, err := attempt.NewReport(time.Now(), protocol.DeploymentReport{DeploymentID: id, AttemptID: id, State: state})
		require.NoError(t, err)
		require.NoError(t, r.Validate())
		require.NoError(t, j.Append(attempt.Record{Report: r}))
	}
	records, err = a.Peek()
	require.NoError(t, err)
	require.Len(t, records, 3, "it can be read while it is open")
	require.Equal(t, protocol.StateStarted, attempt.Furthest(records), "waiting does not move an attempt")
	require.NoError(t, j.Close())

	_, over := a.Settled()
	require.False(t, over)
	require.NoError(t, a.Settle())
	at, over := a.Settled()
	require.True(t, over)
	require.WithinDuration(t, time.Now(), at, time.Minute)
	list, err := attempt.List(dir)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, a.Remove())
	list, err = attempt.List(dir)
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestPeek_ofATornJournalChangesNothing(t *testing.T) {
	t.Parallel()
	a, err := attempt.Open(t.TempDir(), uuid.NewString())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(a.Dir(), 0o700))
	j, _, err := a.Journal()
	require.NoError(t, err)
	require.NoError(t, j.Append(attempt.Record{BootID: "b"}))
	require.NoError(t, j.Close())
	path := filepath.Join(a.Dir(), "journal")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	torn := append(append([]byte(nil), whole...), whole[:len(whole)/2]...)
	require.NoError(t, os.WriteFile(path, torn, 0o600))
	records, err := a.Peek()
	require.NoError(t, err)
	require.Len(t, records, 1)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, torn, after)
}

// What is over is left out, however much of it there is, and what is not comes in the order of its names.
func TestUnsettled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	none, err := attempt.Unsettled(dir)
	require.NoError(t, err)
	require.Empty(t, none)
	var want []string
	for i := range 200 {
		id := fmt.Sprintf("01890000-0000-7000-8000-%012d", i)
		a, err := attempt.Open(dir, id)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(a.Dir(), 0o700))
		if i%50 == 7 {
			want = append(want, id)
			continue
		}
		require.NoError(t, os.WriteFile(filepath.Join(a.Dir(), "settled"), nil, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "attempts", "no attempt"), nil, 0o600))
	left, err := attempt.Unsettled(dir)
	require.NoError(t, err)
	var got []string
	for _, a := range left {
		got = append(got, a.ID())
	}
	require.Equal(t, want, got)
}
