package httpapi

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// The plain listener answers to this computer's own names only, however they are written.
func FuzzLocalHost(f *testing.F) {
	for _, s := range []string{"localhost", "localhost:8080", "127.0.0.1:1", "[::1]:1", "::1", "localhost.example:1", "127.0.0.1.example", "0.0.0.0:1", "[::ffff:127.0.0.1]:1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, hostport string) {
		if !localHost(hostport) {
			return
		}
		host := hostport
		if h, _, err := net.SplitHostPort(hostport); err == nil {
			host = h
		}
		if host != "localhost" {
			ip := net.ParseIP(host)
			require.True(t, ip != nil && ip.IsLoopback(), "%q", hostport)
		}
	})
}
