package spool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/packages/protocol"
)

// FuzzOpen: whatever lies in the folder, a spool opens, takes a report, and hands it out again after the
// next start together with all that it held before.
func FuzzOpen(f *testing.F) {
	line := journal.AppendLine(nil, []byte(`{"id":"1","kind":"deployment","deployment":{"state":"failed"}}`))
	f.Add("0000000000000001", line, journal.AppendLine(nil, []byte(`["1"]`)), []byte(`{"dropped":1}`))
	f.Add("0000000000000001", append([]byte("junk\n"), line...), []byte("junk"), []byte(`{"dropped":"x"}`))
	f.Add("18446744073709551615", line, []byte{}, []byte{})
	f.Add("9999999999999999", line, []byte{}, []byte(`[]`))
	f.Add("x", line, []byte{}, []byte(`null`))
	f.Fuzz(func(t *testing.T, name string, segment, notes, loss []byte) {
		if name == "" || filepath.Base(name) != name || len(name) > 100 {
			return
		}
		dir := t.TempDir()
		for file, data := range map[string][]byte{name + segmentSuffix: segment, name + ackSuffix: notes, lossFile: loss} {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
				return // no name of a file
			}
		}
		ids := func(s *Spool) (out []string) {
			for _, r := range s.Next(1000, 1<<30) {
				out = append(out, r.ID)
			}
			return out
		}
		s, err := Open(dir, Limits{})
		require.NoError(t, err)
		before := ids(s)
		require.NoError(t, s.Add(context.Background(), protocol.Report{ID: fmt.Sprintf("new-%d", len(before)), Kind: protocol.ReportTask}))
		held := ids(s)
		require.Subset(t, held, before)
		lost := s.Loss()
		require.NoError(t, s.Close())
		s, err = Open(dir, Limits{})
		require.NoError(t, err)
		require.Equal(t, held, ids(s))
		require.Equal(t, lost.Damaged, s.Loss().Damaged, "damage is counted once")
		require.NoError(t, s.Close())
	})
}
