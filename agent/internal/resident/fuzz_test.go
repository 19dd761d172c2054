package resident

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/agent/internal/task"
)

// What a task tells is kept whole or refused: no event leaves a report in the spool that cannot be read
// again.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"report":{"id":"1","kind":"deployment","deployment":{"state":"failed"}}}`))
	f.Add([]byte(`{"end":{"state":"succeeded"}}`))
	f.Add([]byte(`{"report":{}}`))
	f.Add([]byte(`{"end":null,"report":null}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		folder, err := os.MkdirTemp(dir, "spool")
		require.NoError(t, err)
		defer os.RemoveAll(folder)
		sp, err := spool.Open(folder, spool.Limits{})
		require.NoError(t, err)
		r := &Resident{changed: make(chan struct{}, 1)}
		u := &unit{spool: sp, log: slog.New(slog.DiscardHandler)}
		var end task.End
		var e task.Event
		if json.Unmarshal(data, &e) == nil && e.Progress != nil {
			return // goes to the session
		}
		if err := r.event(context.Background(), u, &process{}, data, &end); err != nil {
			require.Zero(t, sp.Len())
		}
		held := sp.Len()
		require.NoError(t, sp.Close())
		again, err := spool.Open(folder, spool.Limits{})
		require.NoError(t, err)
		require.Equal(t, held, again.Len())
		require.NoError(t, again.Close())
	})
}

// The status is for people: a damaged one is an error, never a panic of the command that shows it.
func FuzzReadStatus(f *testing.F) {
	f.Add([]byte(`{"pid":1,"servers":[{"server":"a","connected":true}]}`))
	f.Add([]byte(`{"servers":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, StatusFile), data, 0o600))
		s, err := ReadStatus(dir)
		if err != nil {
			return
		}
		_, err = json.Marshal(s)
		require.NoError(t, err)
	})
}
