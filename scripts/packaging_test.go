package scripts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/unabletest"
)

// TestPackageVersion: what git says becomes a version that dpkg and rpm put into the right order.
func TestPackageVersion(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"v1.2.3":                     "1.2.3",
		"v0.1.0-dev+1144304":         "0.1.0~dev+1144304",
		"v1.0.0-rc.1":                "1.0.0~rc.1",
		"v1.0.0-5-gabc1234":          "1.0.0+5.gabc1234",
		"v1.0.0-5-gabc1234-dirty":    "1.0.0+5.gabc1234.dirty",
		"v1.0.0-rc.1-12-gabc-dirty":  "1.0.0~rc.1+12.gabc.dirty",
		"v1.0.0-dirty":               "1.0.0+dirty",
		"unknown":                    "",
		"v1.0.0; touch /tmp/nothing": "",
	} {
		out, err := exec.Command("packaging/version.sh", given).Output()
		require.Equal(t, want == "", err != nil, given)
		require.Equal(t, want, strings.TrimSpace(string(out)), given)
	}
	if _, err := exec.LookPath("dpkg"); err != nil {
		unabletest.Skip(t, "dpkg is not here, it compares versions")
	}
	ascending := []string{"v0.9.0", "v1.0.0-dev+1", "v1.0.0-rc.1", "v1.0.0-rc.1-3-gab", "v1.0.0-rc.2", "v1.0.0", "v1.0.0-5-gab", "v1.0.0-12-gab", "v1.0.1"}
	for n := 1; n < len(ascending); n++ {
		var versions []string
		for _, v := range ascending[n-1 : n+1] {
			out, err := exec.Command("packaging/version.sh", v).Output()
			require.NoError(t, err)
			versions = append(versions, strings.TrimSpace(string(out)))
		}
		require.NoError(t, exec.Command("dpkg", "--compare-versions", versions[0], "lt", versions[1]).Run(), "%v", versions)
	}
}

// TestUnits: systemd understands all that the units say.
func TestUnits(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		unabletest.Skip(t, "systemd-analyze is not here, it checks units")
	}
	dir := t.TempDir()
	for _, unit := range []string{"../agent/internal/service/muster-agent.service", "packaging/muster-server.service"} {
		text, err := os.ReadFile(unit)
		require.NoError(t, err)
		// The programs need not be installed here.
		path := filepath.Join(dir, filepath.Base(unit))
		require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "ExecStart=/usr/bin/muster", "ExecStart=/bin/sh #")), 0o600))
		out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", path).CombinedOutput()
		require.NoError(t, err, "%s: %s", unit, out)
		require.Empty(t, string(out), unit)
	}
}

// TestMaintainerScripts: every shell can read them, and those of POSIX systems too.
func TestMaintainerScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("packaging/*.sh")
	require.NoError(t, err)
	require.Greater(t, len(files), 6)
	for _, shell := range []string{"dash", "bash", "busybox"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue // each is one more that reads them; sh is always there
		}
		for _, file := range files {
			args := []string{"-n", file}
			if shell == "busybox" {
				args = []string{"sh", "-n", file}
			}
			out, err := exec.Command(path, args...).CombinedOutput()
			require.NoError(t, err, "%s %s: %s", shell, file, out)
		}
	}
}
