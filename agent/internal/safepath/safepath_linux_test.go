package safepath_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/safepath"
)

func TestParents(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	open, sticky, closed := filepath.Join(base, "open"), filepath.Join(base, "sticky"), filepath.Join(base, "closed")
	for dir, mode := range map[string]os.FileMode{open: 0o777, sticky: 0o777 | os.ModeSticky, closed: 0o755} {
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chmod(dir, mode))
	}
	require.NoError(t, os.Symlink(open, filepath.Join(closed, "out")))
	require.NoError(t, os.Symlink("loop", filepath.Join(closed, "loop")))
	require.NoError(t, os.Symlink("../sticky", filepath.Join(closed, "relative")))
	require.NoError(t, os.WriteFile(filepath.Join(closed, "file"), nil, 0o600))
	require.NoError(t, safepath.Parents(filepath.Join(closed, "new", "deeper")))
	require.NoError(t, safepath.Parents(filepath.Join(sticky, "new")))
	require.NoError(t, safepath.Parents(filepath.Join(closed, "relative", "new")))
	require.ErrorContains(t, safepath.Parents(filepath.Join(open, "new")), "everybody may write")
	require.ErrorContains(t, safepath.Parents(filepath.Join(closed, "out", "new")), "everybody may write", "through a link too")
	require.ErrorContains(t, safepath.Parents(filepath.Join(closed, "loop", "new")), "too many links")
	require.ErrorContains(t, safepath.Parents(filepath.Join(closed, "file", "new")), "not a directory")
	if os.Geteuid() == 0 {
		theirs := filepath.Join(sticky, "theirs")
		require.NoError(t, os.Mkdir(theirs, 0o755))
		require.NoError(t, os.Chown(theirs, 12345, 12345))
		require.ErrorContains(t, safepath.Parents(filepath.Join(theirs, "new")), "another user owns it")
	}
}

func TestOwnedTree(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, base, folder string)
		says  string
	}{
		"as it should be":      {func(*testing.T, string, string) {}, ""},
		"file for the group":   {func(t *testing.T, _, folder string) { chmod(t, filepath.Join(folder, "in", "run"), 0o770) }, "chmod go-w"},
		"folder for all":       {func(t *testing.T, _, folder string) { chmod(t, filepath.Join(folder, "in"), 0o707) }, "chmod go-w"},
		"sticky folder":        {func(t *testing.T, _, folder string) { chmod(t, folder, 0o777|os.ModeSticky) }, "chmod go-w"},
		"parent for the group": {func(t *testing.T, base, _ string) { chmod(t, base, 0o770) }, "its group may write"},
		"parent for all":       {func(t *testing.T, base, _ string) { chmod(t, base, 0o707) }, "everybody may write"},
		"link in it": {func(t *testing.T, _, folder string) {
			require.NoError(t, os.Symlink("in/run", filepath.Join(folder, "link")))
		}, "is a link"},
		"too many": {func(t *testing.T, _, folder string) {
			for _, name := range []string{"1", "2", "3"} {
				require.NoError(t, os.WriteFile(filepath.Join(folder, name), nil, 0o600))
			}
		}, "more than 5"},
		"gone": {func(t *testing.T, _, folder string) { require.NoError(t, os.RemoveAll(folder)) }, "no such file"},
		"of another": {func(t *testing.T, _, folder string) {
			if os.Geteuid() != 0 {
				t.Skip("only root gives files away")
			}
			require.NoError(t, os.Chown(filepath.Join(folder, "in", "run"), 12345, 0))
		}, "another user owns it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := filepath.Join(t.TempDir(), "base")
			folder := filepath.Join(base, "folder")
			require.NoError(t, os.MkdirAll(filepath.Join(folder, "in"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(folder, "in", "run"), nil, 0o700))
			chmod(t, filepath.Dir(base), 0o700)
			c.spoil(t, base, folder)
			err := safepath.OwnedTree(folder, 5)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(t.TempDir(), link))
	require.ErrorContains(t, safepath.OwnedTree(link, 5), "is a link")
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.Chmod(path, mode))
}
