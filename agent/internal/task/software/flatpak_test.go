package software

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFlatpak_ofAUserWhoFloods: what one user makes up in his home is taken up to a bound, and neither rows
// nor looking at folders without any goes on beyond.
func TestFlatpak_ofAUserWhoFloods(t *testing.T) {
	t.Parallel()
	const most = 3
	files := map[string]string{}
	for i := range most + 2 {
		files[fmt.Sprintf("many/app/a%d/x/y/active/metadata", i)] = ""
	}
	o := fixture{files: files}.place(t)
	for i := range 10*most + 1 {
		require.NoError(t, os.MkdirAll(filepath.Join(o.Root, "deep/app/a/x", fmt.Sprint(i), "active"), 0o755))
	}
	rows, _, err := list(t.Context(), o, []source{
		{"many", func(s *scan) error { _ = s.flatpaks(s.tree, "many", "ada", most); return nil }, false},
		{"deep", func(s *scan) error { return s.flatpaks(s.tree, "deep", "eve", most) }, false},
	})
	require.ErrorContains(t, err, "many: programs that were left out: 2")
	require.ErrorContains(t, err, "deep: /deep has more folders than are looked at")
	require.Len(t, rows, most)
	checkRows(t, rows)
}
