package resident

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/packages/unabletest"
)

// TestSweepLeft: what was left goes, whatever of it has gone before; the agent goes with the last server.
func TestSweepLeft(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		servers map[string]bool // name → left
		files   []string
		gone    []string // before, as after a crash
		last    bool
	}{
		"nothing":               {servers: map[string]bool{}},
		"none left":             {servers: map[string]bool{"a": false}},
		"one of two":            {servers: map[string]bool{"a": true, "b": false}},
		"both":                  {servers: map[string]bool{"a": true, "b": true}, last: true},
		"the only one":          {servers: map[string]bool{"a": true}, last: true},
		"cut off":               {servers: map[string]bool{"a": true}, gone: []string{"servers/a/identity.json"}, last: true},
		"cut off, another":      {servers: map[string]bool{"a": true, "b": false}, gone: []string{"servers/a/identity.json"}},
		"an enrollment waits":   {servers: map[string]bool{"a": true}, files: []string{"enrollment"}},
		"folder without server": {servers: map[string]bool{}, files: []string{"servers/a/state.json"}},
	} {
		dir := filepath.Join(t.TempDir(), "data [1]*") // no pattern, whatever an administrator calls it
		for server, left := range c.servers {
			require.NoError(t, identity.Open(dir, server).Save(identity.Identity{}))
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "servers", server, "spool"), 0o700))
			if left {
				c.files = append(c.files, "servers/"+server+"/"+leftFile)
			}
		}
		for _, file := range c.files {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o600))
		}
		for _, file := range c.gone {
			require.NoError(t, os.Remove(filepath.Join(dir, file)))
		}
		last := false
		require.NoError(t, SweepLeft(dir, func() error { last = true; return nil }), name)
		require.Equal(t, c.last, last, name)
		for server, left := range c.servers {
			_, err := os.Stat(filepath.Join(dir, "servers", server))
			require.Equal(t, left, os.IsNotExist(err), "%s: %s", name, server)
		}
	}
}

// TestSweepLeft_whatCannotBeReadStays: a disk that fails makes no server the last one.
func TestSweepLeft_whatCannotBeReadStays(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		unabletest.Skip(t, "symbolic links need rights there")
	}
	dir := t.TempDir()
	require.NoError(t, identity.Open(dir, "a").Save(identity.Identity{}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "servers/a", leftFile), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "servers/no folder"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "servers/b"), 0o700))
	require.NoError(t, os.Symlink("identity.json", filepath.Join(dir, "servers/b/identity.json"))) // leads to itself
	require.NoError(t, SweepLeft(dir, func() error { return errors.New("it is not the last") }))
	names, err := identity.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, names)
	require.NoDirExists(t, filepath.Join(dir, "servers/a"))
}

// TestSweepLeft_notesTheRemovalFirst: the last identity goes only when the disk says what is to come.
func TestSweepLeft_notesTheRemovalFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, identity.Open(dir, "a").Save(identity.Identity{}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "servers/a", leftFile), nil, 0o600))
	full := errors.New("no space")
	require.ErrorIs(t, SweepLeft(dir, func() error { return full }), full)
	names, err := identity.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, names)
}
