package journal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzOpen: a journal that opens can be appended to, and holds then what it held, and the new record.
func FuzzOpen(f *testing.F) {
	line := AppendLine(nil, []byte(`{"name":"one","n":1}`))
	f.Add(line)
	f.Add(append(append([]byte("junk\n"), line...), line[:20]...))
	f.Add(append(line[:len(line)-1:len(line)-1], 0))
	f.Add(AppendLine(line, []byte(`[]`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "journal")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		j, before, err := Open[step](path)
		if err != nil {
			return // a whole record that is none of ours: nothing may be built on it
		}
		require.NoError(t, j.Append(step{"new", 7}))
		require.NoError(t, j.Close())
		j, after, err := Open[step](path)
		require.NoError(t, err)
		require.True(t, j.Recovery().Clean(), "mended once and for all")
		require.NoError(t, j.Close())
		require.Equal(t, append(before, step{"new", 7}), after)
	})
}
