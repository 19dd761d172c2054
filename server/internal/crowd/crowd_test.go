package crowd_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/crowd"
)

// TestListener: one network gets three quarters, others the rest, and who leaves makes room.
func TestListener(t *testing.T) {
	t.Parallel()
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, trusted, err := net.ParseCIDR("127.0.0.9/32")
	require.NoError(t, err)
	l := crowd.New(inner, 8, []*net.IPNet{trusted})
	accepted := make(chan net.Conn, 20)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("!"))
			accepted <- c
		}
	}()
	t.Cleanup(func() { _ = inner.Close() })
	dial := func(from string) bool {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.DialContext(t.Context(), "tcp", inner.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
		_, err = io.ReadFull(c, make([]byte, 1))
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "neither accepted nor closed")
		return err == nil
	}
	for range 6 {
		require.True(t, dial("127.0.0.1"))
	}
	require.False(t, dial("127.0.0.1"), "three quarters are six of eight")
	require.True(t, dial("127.0.0.9"), "a trusted proxy is not counted by itself")
	require.True(t, dial("127.0.0.2"))
	require.False(t, dial("127.0.0.3"), "eight in all")
	c := <-accepted
	require.NoError(t, c.Close())
	_ = c.Close() // counts once
	require.True(t, dial("127.0.0.1"))
	require.False(t, dial("127.0.0.3"))
	require.Positive(t, crowd.Most())
}
