package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/store"
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
