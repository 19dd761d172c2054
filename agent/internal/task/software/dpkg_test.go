package software

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDpkg_dates: the date is of the list of files, which is named with the architecture where need be.
func TestDpkg_dates(t *testing.T) {
	t.Parallel()
	o := fixture{files: map[string]string{
		dpkgDir + "/status": "Package: libx\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1\n\n" +
			"Package: libx\nStatus: install ok installed\nArchitecture: i386\nMulti-Arch: same\nVersion: 1\n\n" +
			"Package: ../../../etc/passwd\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n",
		dpkgDir + "/info/libx:amd64.list": "/.\n",
		"etc/passwd.list":                 "x",
	}}.place(t)
	later := fixed.Add(time.Hour)
	path := filepath.Join(o.Root, dpkgDir, "info/libx:i386.list")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Chtimes(path, later, later))
	rows, err := List(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, rows, 3, "a package of two architectures is two rows")
	require.Nil(t, rows[0].InstalledAt, "a name is no path")
	require.Equal(t, fixed, *rows[1].InstalledAt)
	require.Equal(t, later, *rows[2].InstalledAt)
}

// TestDpkg_isStreamed: a line without end and a file that is no file cost nothing.
func TestDpkg_isStreamed(t *testing.T) {
	t.Parallel()
	text := "Package: a\nStatus: install ok installed\nDescription: " + strings.Repeat("long ", 1<<20) + "\nVersion: 7\n"
	o := fixture{files: map[string]string{dpkgDir + "/status": text}}.place(t)
	rows, err := List(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, "7", rows[0].Version)
	require.LessOrEqual(t, len(rows[0].Summary), maxText)

	o = fixture{files: map[string]string{dpkgDir + "/status/file": ""}}.place(t)
	rows, err = List(t.Context(), o)
	require.ErrorContains(t, err, "dpkg: read /var/lib/dpkg/status: /var/lib/dpkg/status is not a regular file")
	require.Empty(t, rows)
}
