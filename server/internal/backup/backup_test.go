package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/backup"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// server is a data directory with a database.
func server(t *testing.T, dialect string) (*store.DB, string) {
	t.Helper()
	data := t.TempDir()
	url := storetest.URL(t, dialect)
	if dialect == store.SQLite {
		url = "sqlite://" + filepath.Join(data, "muster.db")
	}
	db, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, db.Migrate(t.Context()))
	require.NoError(t, db.Exec("INSERT INTO audit_entries (id, time, actor, actor_kind, operation, target, status, remote_ip, details) "+
		"VALUES ('1', '2026-01-02T03:04:05.000', 'admin', 'session', 'login', '', 200, '', '{}')").Error)
	require.NoError(t, os.MkdirAll(filepath.Join(data, "keys"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(data, "keys", "root.pem"), []byte("key"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(data, "lock"), nil, 0o600))
	return db, data
}

func write(t *testing.T, db *store.DB, data string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backup.tar")
	skip := []string{filepath.Join(data, "lock")}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		skip = append(skip, filepath.Join(data, "muster.db"+suffix))
	}
	require.NoError(t, backup.Write(t.Context(), backup.Source{DB: db, Data: data, Skip: skip, Version: "1"}, path))
	return path
}

func noRows(context.Context, io.Reader) error { return errors.New("no rows expected") }

func TestBackup_comesBackWhole(t *testing.T) {
	t.Parallel()
	for _, dialect := range storetest.Dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			db, data := server(t, dialect)
			path := write(t, db, data)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it holds keys")

			to := filepath.Join(t.TempDir(), "new")
			url := "sqlite://" + filepath.Join(to, "muster.db")
			target := backup.Target{Data: to, SQLite: filepath.Join(to, "muster.db"), Load: noRows}
			if dialect == store.MySQL {
				url = storetest.URL(t, dialect)
				target.SQLite = ""
				target.Load = func(ctx context.Context, rows io.Reader) error {
					empty, err := store.Open(ctx, url, slog.New(slog.DiscardHandler))
					require.NoError(t, err)
					return errors.Join(empty.Load(ctx, rows), empty.Close())
				}
			}
			require.NoError(t, backup.Restore(t.Context(), path, target))
			key, err := os.ReadFile(filepath.Join(to, "keys", "root.pem"))
			require.NoError(t, err)
			require.Equal(t, "key", string(key))
			require.NoFileExists(t, filepath.Join(to, "lock"))
			restored, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			defer func() { require.NoError(t, restored.Close()) }()
			var actor string
			require.NoError(t, restored.Raw("SELECT actor FROM audit_entries").Scan(&actor).Error)
			require.Equal(t, "admin", actor)

			err = backup.Restore(t.Context(), path, target)
			require.Equal(t, fault.Conflict, fault.CodeOf(err), "not over what is there")
			left, err := filepath.Glob(filepath.Join(filepath.Dir(to), ".backup-*"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// Whatever is wrong with a backup, nothing is put in place.
func TestRestore_refusesDamage(t *testing.T) {
	t.Parallel()
	db, data := server(t, store.SQLite)
	whole, err := os.ReadFile(write(t, db, data))
	require.NoError(t, err)
	at := bytes.Index(whole, []byte("SQLite format"))
	flipped := bytes.Clone(whole)
	flipped[at+1000] ^= 1
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"a bit flipped": {flipped, "missing or changed"},
		"cut":           {whole[:len(whole)/2], "damaged"},
		"no manifest":   {tarOf(t, "data/x", "x"), "no manifest"},
		"no tar":        {[]byte("hello"), "damaged"},
		"empty":         {nil, "no manifest"},
		"extra file":    {tarOf(t, "data/x", "x", "manifest.json", `{"format":1}`), "not in its manifest"},
		"outside":       {tarOf(t, "data/../../evil", "x"), "no backup has"},
		"absolute":      {tarOf(t, "/etc/evil", "x"), "no backup has"},
		"no database":   {tarOf(t, "manifest.json", `{"format":1,"database":"database/muster.db"}`), "no database"},
		"odd database":  {tarOf(t, "manifest.json", `{"format":1,"database":"../data"}`), "no database"},
		"newer format":  {tarOf(t, "manifest.json", `{"format":2}`), "reads format 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "b.tar")
			require.NoError(t, os.WriteFile(path, c.data, 0o600))
			to := filepath.Join(dir, "data")
			err := backup.Restore(t.Context(), path, backup.Target{Data: to, SQLite: filepath.Join(to, "muster.db"), Load: noRows})
			require.ErrorContains(t, err, c.want)
			require.NoDirExists(t, to)
		})
	}
}

// tarOf makes a tar file of pairs of name and content.
func tarOf(t *testing.T, pairs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: pairs[i], Mode: 0o600, Size: int64(len(pairs[i+1]))}))
		_, err := w.Write([]byte(pairs[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}
