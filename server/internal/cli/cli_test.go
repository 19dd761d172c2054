package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/cli"
	"github.com/muster/muster/server/internal/config"
)

func run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = cli.Run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

func TestRun_usage(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"unknown flag":    {"serve", "--bogus"},
		"extra argument":  {"version", "x"},
		"missing file":    {"backup"},
		"open plain HTTP": {"serve", "--data", "x", "--http", "0.0.0.0:80"},
		"two problems":    {"serve", "--listen", "nowhere", "--log-level", "loud"},
	} {
		code, _, errs := run(t, args...)
		require.Equal(t, 2, code, name)
		require.NotEmpty(t, errs, name)
	}
	code, out, _ := run(t, "version")
	require.Equal(t, 0, code)
	require.Contains(t, out, "muster-server")
}

func TestRun_backupRestoreResetPassword(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := config.Default()
	c.Data, c.Listen, c.HTTP = filepath.Join(dir, "data"), "127.0.0.1:0", ""
	s, err := cli.Start(t.Context(), cli.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	fingerprint := s.CA.Fingerprint()
	_, err = cli.Start(t.Context(), cli.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, "another muster-server is running")

	backup := filepath.Join(dir, "backup.tar")
	code, _, errs := run(t, "backup", "--data", c.Data, backup)
	require.Equal(t, 0, code, errs)
	code, _, _ = run(t, "backup", "--data", c.Data, filepath.Join(c.Data, "backup.tar"))
	require.Equal(t, 2, code, "not into itself")
	require.NoError(t, s.Close(context.Background()))

	restored := filepath.Join(dir, "restored")
	code, _, errs = run(t, "restore", "--data", restored, backup)
	require.Equal(t, 0, code, errs)
	code, _, errs = run(t, "restore", "--data", restored, backup)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "not empty")
	code, out, errs := run(t, "admin", "reset-password", "--data", restored)
	require.Equal(t, 0, code, errs)
	require.Contains(t, out, "password")
	code, _, _ = run(t, "admin", "reset-password", "--data", filepath.Join(dir, "nowhere"))
	require.Equal(t, 1, code)

	c.Data = restored
	s, err = cli.Start(t.Context(), cli.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.Equal(t, fingerprint, s.CA.Fingerprint(), "agents know the restored server")
	require.Empty(t, s.AdminPassword)
	require.NoError(t, s.Close(context.Background()))
}

func TestRun_openapi(t *testing.T) {
	t.Parallel()
	code, out, errs := run(t, "openapi")
	require.Equal(t, 0, code, errs)
	require.True(t, json.Valid([]byte(out)))
}
