// Package storetest runs a test on every database the server supports: SQLite in a temporary file and
// MariaDB in a private server that ends with the test binary. Only tests import it.
package storetest

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/unabletest"
	"github.com/muster/muster/server/internal/store"
)

// Dialects lists what Each runs on.
func Dialects() []string { return []string{store.SQLite, store.MySQL} }

// Each runs fn once per dialect, side by side, each time with a fresh and migrated database.
func Each(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	for _, dialect := range Dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			fn(t, Open(t, dialect))
		})
	}
}

// Open is a fresh, migrated database of the dialect. It is closed when the test ends.
func Open(t testing.TB, dialect string) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), URL(t, dialect), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	require.NoError(t, db.Migrate(context.Background()))
	return db
}

// URL is the address of a fresh, empty database of the dialect. Without MariaDB the test is skipped,
// or fails when CI=true.
func URL(t testing.TB, dialect string) string {
	t.Helper()
	if dialect == store.SQLite {
		return "sqlite://" + filepath.ToSlash(filepath.Join(t.TempDir(), "muster.db"))
	}
	s, err := startMariaDB()
	if err != nil {
		unabletest.Skip(t, "no MariaDB for this test: %v", err)
	}
	url, err := s.createDatabase(t.Context())
	require.NoError(t, err)
	return url
}
