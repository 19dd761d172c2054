package bus_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/bus"
)

func TestMemory_deliversToTheTopicInOrder(t *testing.T) {
	t.Parallel()
	b := bus.NewMemory()
	var got []string
	b.Subscribe("wake", func(p []byte) { got = append(got, string(p)) })
	b.Subscribe("other", func(p []byte) { got = append(got, "other "+string(p)) })
	for i := range 5 {
		require.NoError(t, b.Publish("wake", []byte(strconv.Itoa(i))))
	}
	require.NoError(t, b.Publish("nobody", []byte("lost")))
	require.Equal(t, []string{"0", "1", "2", "3", "4"}, got)
}

func TestMemory_cancelEndsOneSubscription(t *testing.T) {
	t.Parallel()
	b := bus.NewMemory()
	var first, second int
	cancel := b.Subscribe("t", func([]byte) { first++ })
	b.Subscribe("t", func([]byte) { second++ })
	require.NoError(t, b.Publish("t", nil))
	cancel()
	cancel() // twice is harmless
	require.NoError(t, b.Publish("t", nil))
	require.Equal(t, 1, first)
	require.Equal(t, 2, second)
}

func TestMemory_subscriberMayPublishAndCancel(t *testing.T) {
	t.Parallel()
	b := bus.NewMemory()
	var cancel func()
	var got []string
	cancel = b.Subscribe("a", func([]byte) {
		cancel()
		require.NoError(t, b.Publish("b", []byte("from a")))
	})
	b.Subscribe("b", func(p []byte) { got = append(got, string(p)) })
	require.NoError(t, b.Publish("a", nil))
	require.NoError(t, b.Publish("a", nil))
	require.Equal(t, []string{"from a"}, got)
}

func TestMemory_closed(t *testing.T) {
	t.Parallel()
	b := bus.NewMemory()
	called := false
	cancel := b.Subscribe("t", func([]byte) { called = true })
	require.NoError(t, b.Close())
	require.True(t, fault.Is(b.Publish("t", nil), fault.Unavailable))
	b.Subscribe("t", func([]byte) { called = true })()
	cancel()
	require.False(t, called)
}

func TestMemory_concurrent(t *testing.T) {
	t.Parallel()
	b := bus.NewMemory()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				cancel := b.Subscribe("t", func([]byte) {})
				_ = b.Publish("t", []byte("x"))
				cancel()
			}
		})
	}
	wg.Wait()
	require.NoError(t, b.Close())
}
