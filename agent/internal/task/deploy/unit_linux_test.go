package deploy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/task/software"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
)

const dpkgText = `Package: editor
Status: install ok installed
Version: 2:1.0-3
Description: an editor
 Package: not a field

Package: removed
Status: deinstall ok config-files
Version: 4.2

Package: last
Status: hold ok installed
Version: 7`

// dpkgRoot is the root of a system with dpkg's status file.
func dpkgRoot(t *testing.T, status string) string {
	t.Helper()
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "var/lib/dpkg"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), []byte(status), 0o600))
	return root
}

func TestDpkgInstalled(t *testing.T) {
	t.Parallel()
	root := dpkgRoot(t, dpkgText)
	cases := map[string]struct {
		rule instruction.SoftwareRule
		want bool
	}{
		"by name":           {instruction.SoftwareRule{Name: "editor"}, true},
		"by version":        {instruction.SoftwareRule{Name: "editor", Version: "2:1.0-3"}, true},
		"other version":     {instruction.SoftwareRule{Name: "editor", Version: "1.0"}, false},
		"removed":           {instruction.SoftwareRule{Name: "removed"}, false},
		"unknown":           {instruction.SoftwareRule{Name: "viewer"}, false},
		"last, no newline":  {instruction.SoftwareRule{Name: "last", Version: "7"}, true},
		"text of a field":   {instruction.SoftwareRule{Name: "not a field"}, false},
		"version elsewhere": {instruction.SoftwareRule{Name: "editor", Version: "7"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := detectSoftware(t.Context(), c.rule, software.Options{Root: root})
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
	_, err := detectSoftware(t.Context(), instruction.SoftwareRule{Name: "x"}, software.Options{Root: t.TempDir()})
	require.ErrorContains(t, err, "cannot tell")
	require.Equal(t, fault.Unsupported, fault.CodeOf(err))
}

// TestRPMInstalled: other lists than dpkg's count as well; the version is given with the epoch or without.
func TestRPMInstalled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "var/lib/rpm"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "var/lib/rpm/rpmdb.sqlite"), nil, 0o600))
	o := software.Options{Root: root, Run: func(context.Context, string, ...string) ([]byte, error) {
		return []byte("editor\x1f2\x1f1.0\x1f3.el9\x1fnoarch\x1f1\x1f1\x1f\x1fan editor\x1e"), nil
	}}
	for version, want := range map[string]bool{"": true, "1.0-3.el9": true, "2:1.0-3.el9": true, "1.0": false} {
		got, err := detectSoftware(t.Context(), instruction.SoftwareRule{Name: "editor", Version: version}, o)
		require.NoError(t, err)
		require.Equal(t, want, got, version)
	}
}

func TestDetectFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, []byte("abc"), 0o600))
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	for want, rules := range map[bool][]instruction.FileRule{
		true:  {{Path: path}, {Path: path, SHA256: abc}, {Path: filepath.Dir(path)}},
		false: {{Path: path, SHA256: strings.Repeat("0", 64)}, {Path: path + "x"}, {Path: filepath.Dir(path), SHA256: abc}},
	} {
		for _, rule := range rules {
			got, err := detectFile(rule)
			require.NoError(t, err)
			require.Equal(t, want, got, "%+v", rule)
		}
	}
}

func TestOlder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		have, need string
		want       bool
	}{
		{"1.2.3", "1.2.3", false}, {"1.2.3", "1.2.4", true}, {"1.10.0", "1.9.0", false}, {"v1.2", "1.2.1", true},
		{"1.2.3-rc1", "1.2.3", true}, {"1.2.3+5", "1.2.3", false}, {"2", "1.9.9", false}, {"dev", "1.0.0", false}, {"1.0.0", "soon", false},
	} {
		require.Equal(t, c.want, older(c.have, c.need), "%s against %s", c.have, c.need)
	}
}

func TestCut_staysValidText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "short", cut("short", 10))
	long := cut(strings.Repeat("é", 100), 51)
	require.LessOrEqual(t, len(long), 51)
	require.True(t, strings.HasSuffix(long, "…"))
	require.Equal(t, long, strings.ToValidUTF8(long, "?"))
}
