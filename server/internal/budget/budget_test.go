package budget_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/budget"
)

// TestBudget: small messages always pass, large ones share what there is, and what is given back counts.
func TestBudget(t *testing.T) {
	t.Parallel()
	b := budget.New(100_000)
	read := func(n int) (release func(), err error) {
		r, release := b.Reader(bytes.NewReader(make([]byte, n)))
		got, err := io.ReadAll(r)
		if err == nil {
			require.Len(t, got, n)
		}
		return release, err
	}
	first, err := read(80_000)
	require.NoError(t, err)
	second, err := read(80_000)
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	small, err := read(4 << 10)
	require.NoError(t, err)
	small()
	second()
	first()
	again, err := read(100_000)
	require.NoError(t, err)
	again()
	again() // twice does no harm
	last, err := read(104_000)
	require.NoError(t, err)
	last()
	_, err = read(105_000)
	require.Error(t, err)
}
