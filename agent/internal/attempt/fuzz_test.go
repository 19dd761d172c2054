package attempt_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/packages/fault"
)

// An id from a server never leads out of the server's folder.
func FuzzOpen(f *testing.F) {
	for _, id := range []string{"01900000-0000-7000-8000-000000000001", "../../etc", "{01900000-0000-7000-8000-000000000001}", "01900000000070008000000000000001", ""} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		a, err := attempt.Open("/server", id)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
			return
		}
		rel, err := filepath.Rel("/server/attempts", a.Dir())
		require.NoError(t, err)
		require.Equal(t, id, rel)
	})
}

// Whatever a disk makes of an attempt's files, what is read of them is a task to deploy and records that
// stay what they are when they are read again for writing, or an error.
func FuzzFiles(f *testing.F) {
	task := []byte(`{"id":"01900000-0000-7000-8000-000000000001","kind":"deploy","deploy":{"attempt_id":"01900000-0000-7000-8000-000000000001"}}`)
	record := journal.AppendLine(nil, []byte(`{"report":{"id":"01900000-0000-7000-8000-000000000001","kind":"deployment","deployment":{"state":"started"}}}`))
	f.Add(task, record)
	f.Add([]byte(`{"deploy":null}`), append(record, record[:20]...))
	f.Add([]byte(`{}`), journal.AppendLine([]byte("junk\n"), []byte(`[]`)))
	f.Add([]byte(`{"deploy":{}}`), journal.AppendLine(nil, []byte(`{"report":{"deployment":{"state":"none"}}}`)))
	f.Fuzz(func(t *testing.T, task, records []byte) {
		a, err := attempt.Open(t.TempDir(), "01900000-0000-7000-8000-000000000001")
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(a.Dir(), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(a.Dir(), "task.json"), task, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(a.Dir(), "journal"), records, 0o600))
		if got, err := a.Task(); err == nil {
			require.NotNil(t, got.Deploy)
		}
		peeked, err := a.Peek()
		if err != nil {
			return
		}
		state := attempt.Furthest(peeked)
		j, opened, err := a.Journal()
		require.NoError(t, err)
		require.NoError(t, j.Close())
		require.Equal(t, peeked, opened)
		again, err := a.Peek()
		require.NoError(t, err)
		require.Equal(t, state, attempt.Furthest(again))
	})
}
