package cli

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/config"
)

// A backup looks for the database file where the server keeps it.
func FuzzSqliteFile(f *testing.F) {
	f.Add("/var/lib/muster", "")
	f.Add("/with space/%41", "")
	f.Add("/d", "mysql://u:p@h/d")
	f.Add("/d", "sqlite:///a%20b?x#y")
	f.Fuzz(func(t *testing.T, data, database string) {
		c := config.Config{Data: data, Database: database}
		file := sqliteFile(c)
		if database == "" && filepath.IsAbs(data) {
			require.Equal(t, filepath.Clean(data), filepath.Dir(file), "in the data directory")
		}
	})
}
