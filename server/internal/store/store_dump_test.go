package store_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

type session struct {
	Token  string
	Data   []byte
	Expiry time.Time
}

// fill makes rows with every kind of value.
func fill(t *testing.T, db *store.DB) []session {
	t.Helper()
	var rows []session
	for i := range 450 { // more than two batches
		rows = append(rows, session{Token: fmt.Sprintf("%04d é'\"", i), Data: []byte{0, 255, byte(i)}, Expiry: store.Now()})
	}
	require.NoError(t, db.CreateInBatches(&rows, 100).Error)
	now := store.Now()
	require.NoError(t, db.Table("api_tokens").Create([]map[string]any{
		{"id": "1", "user_id": "u", "name": "n", "hash": "h1", "created_at": now, "last_used_at": now},
		{"id": "2", "user_id": "u", "name": "n", "hash": "h2", "created_at": now, "last_used_at": nil},
	}).Error)
	require.NoError(t, db.Table("audit_entries").Create(map[string]any{
		"id": "1", "time": now, "actor": "a", "actor_kind": "session", "operation": "o", "target": "", "status": 204,
		"remote_ip": "", "details": `{"a":"b"}`,
	}).Error)
	return rows
}

// A dump of either database fills either database.
func TestDump_loadsAnywhere(t *testing.T) {
	t.Parallel()
	for _, from := range storetest.Dialects() {
		for _, to := range storetest.Dialects() {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				source := storetest.Open(t, from)
				rows := fill(t, source)
				var dump bytes.Buffer
				require.NoError(t, source.Dump(t.Context(), &dump))

				target, err := store.Open(t.Context(), storetest.URL(t, to), slog.New(slog.DiscardHandler))
				require.NoError(t, err)
				defer func() { require.NoError(t, target.Close()) }()
				require.NoError(t, target.Load(t.Context(), bytes.NewReader(dump.Bytes())))

				var got []session
				require.NoError(t, target.Order("token").Find(&got).Error)
				require.Len(t, got, len(rows))
				for i := range got {
					got[i].Expiry = got[i].Expiry.UTC()
				}
				require.Equal(t, rows, got)
				var unused int64
				require.NoError(t, target.Table("api_tokens").Where("last_used_at IS NULL").Count(&unused).Error)
				require.EqualValues(t, 1, unused)
				err = target.Load(t.Context(), bytes.NewReader(dump.Bytes()))
				require.Equal(t, fault.Conflict, fault.CodeOf(err), "not into a database with rows")
			})
		}
	}
}

// A dump of an earlier version has some of each area's steps: exactly those are there when its rows come.
func TestLoad_ofAnEarlierVersion(t *testing.T) {
	t.Parallel()
	dump := `{"table":"migrations","row":{"id":"0001_users"}}
{"table":"migrations","row":{"id":"0010_trust_documents"}}
{"table":"trust_documents","row":{"version":1,"envelope":"{}","created_at":{"time":"2026-01-02T03:04:05Z"}}}
`
	for _, dialect := range storetest.Dialects() {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			open := func() *store.DB {
				db, err := store.Open(t.Context(), storetest.URL(t, dialect), slog.New(slog.DiscardHandler))
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, db.Close()) })
				return db
			}
			db := open()
			require.NoError(t, db.Load(t.Context(), strings.NewReader(dump)))
			require.Equal(t, schema(t, storetest.Open(t, dialect)), schema(t, db))
			require.Equal(t, int64(1), counts(t, db)["trust_documents"])
			later := dump + `{"table":"sessions","row":{"token":"t","data":{"bytes":""},"expiry":{"time":"2026-01-02T03:04:05Z"}}}`
			require.Error(t, open().Load(t.Context(), strings.NewReader(later)), "that version had no such table")
		})
	}
}

func TestLoad_refusesDamage(t *testing.T) {
	t.Parallel()
	for name, dump := range map[string]string{
		"empty":          "",
		"no migrations":  `{"table":"users","row":{"id":"1"}}`,
		"not JSON":       "{",
		"newer":          `{"table":"migrations","row":{"id":"9999_future"}}`,
		"unknown value":  `{"table":"migrations","row":{"id":"0001_users"}}` + "\n" + `{"table":"users","row":{"id":{"weird":"1"}}}`,
		"unknown column": `{"table":"migrations","row":{"id":"0001_users"}}` + "\n" + `{"table":"users","row":{"nope":"1"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := store.Open(context.Background(), storetest.URL(t, store.SQLite), slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			require.Error(t, db.Load(t.Context(), strings.NewReader(dump)))
		})
	}
}
