package store_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// A line of a dump is of a table and holds values that a database takes, or is refused.
func FuzzDecodeLine(f *testing.F) {
	f.Add([]byte(`{"table":"t","row":{"a":1,"b":null,"c":"x","d":1.5,"e":true,"f":{"time":"2026-01-02T03:04:05.678Z"},"g":{"bytes":"AA=="}}}`))
	f.Add([]byte(`{"table":"t","row":{"f":{"time":"x"},"n":1e400}}`))
	f.Add([]byte(`{"table":"","row":{"l":[1]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, row, err := store.DecodeLine(data)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
			return
		}
		require.NotEmpty(t, table)
		for name, v := range row {
			switch v.(type) {
			case nil, string, bool, int64, float64, time.Time, []byte:
			default:
				t.Fatalf("%s is a %T", name, v)
			}
		}
	})
}

// A database address is used, or refused without being repeated: it may hold a password.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"sqlite:///a/b.db", "sqlite://host/a", "mysql://u:secret@h:3306/d?tls=true", "mariadb://u@/d?socket=/run/x", "mysql://u:secret@h/d?secret=1", "mysql://u:se%zzcret@h/d", "", "postgres://a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		dialect, name, err := store.ParseURL(raw)
		if u, perr := url.Parse(raw); perr == nil && u.User != nil {
			if password, _ := u.User.Password(); len(password) > 8 && !strings.Contains(u.Host+u.Path+u.RawQuery+u.Scheme, password) {
				require.NotContains(t, name, password)
				require.False(t, err != nil && strings.Contains(err.Error(), password))
			}
		}
		if err != nil {
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
			return
		}
		require.Contains(t, []string{store.SQLite, store.MySQL}, dialect)
		require.NotEmpty(t, name)
	})
}

// A dump is loaded or refused, and what was loaded can be dumped again.
func FuzzLoad(f *testing.F) {
	var dump bytes.Buffer
	require.NoError(f, storetest.Open(f, store.SQLite).Dump(f.Context(), &dump))
	f.Add(dump.Bytes())
	f.Add(dump.Bytes()[:dump.Len()/2])
	f.Add([]byte(`{"table":"migrations","row":{"id":"9999"}}`))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		db, err := store.Open(t.Context(), "sqlite://"+filepath.ToSlash(filepath.Join(t.TempDir(), "a.db")), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		if err := db.Load(t.Context(), bytes.NewReader(data)); err != nil {
			return
		}
		require.NoError(t, db.Dump(t.Context(), io.Discard))
	})
}
