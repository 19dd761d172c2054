package task

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
)

// What the resident writes to a task's standard input arrives as it was, and all else is refused.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"data_dir":"/a","server":"b","change_lock":"/c","log_level":"INFO","task":{"id":"x","kind":"deploy","deploy":{"attempt_id":"y"}}}`))
	f.Add([]byte(`{"log_level":7}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := decode(data)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
			return
		}
		again, err := json.Marshal(in)
		require.NoError(t, err)
		same, err := decode(again)
		require.NoError(t, err)
		require.Equal(t, in, same)
	})
}
