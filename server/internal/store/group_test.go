package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/store"
)

// TestGroup: who comes while a commit runs shares the next one; everybody hears what became of their own.
func TestGroup(t *testing.T) {
	t.Parallel()
	const callers, most = 100, 40
	begun, proceed := make(chan struct{}), make(chan struct{})
	var sizes []int
	refused := errors.New("refused")
	g := store.NewGroup(most, func(_ context.Context, items []int) error {
		sizes = append(sizes, len(items))
		if len(sizes) == 1 {
			close(begun)
			<-proceed
		}
		if len(items) == 1 && items[0] == -1 {
			return refused
		}
		return nil
	})
	var all sync.WaitGroup
	errs := make(chan error, callers)
	first := make(chan error, 1)
	all.Go(func() { first <- g.Do(t.Context(), -1) })
	<-begun
	gone, leave := context.WithCancel(t.Context())
	leave()
	require.ErrorIs(t, g.Do(gone, 0), context.Canceled, "who does not wait is not waited for")
	for n := range callers {
		all.Go(func() { errs <- g.Do(t.Context(), n+1) })
	}
	require.Eventually(t, func() bool { return g.Waiting() == callers+1 }, time.Minute, time.Millisecond, "all of them wait")
	close(proceed)
	all.Wait()
	close(errs)
	require.ErrorIs(t, <-first, refused)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, []int{1, 40, 40, 21}, sizes)
	require.NoError(t, g.Do(t.Context(), 1), "and it works again after a rest")
}
