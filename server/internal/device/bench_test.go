package device_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// BenchmarkAuthenticate is the first of the two reads of a check-in.
func BenchmarkAuthenticate(b *testing.B) {
	e := &env{t: b, db: storetest.Open(b, store.SQLite), live: &live{}}
	e.svc = e.restart()
	c := e.enroll(false)
	for b.Loop() {
		_, err := e.svc.Authenticate(b.Context(), c.bearer())
		require.NoError(b, err)
	}
}
