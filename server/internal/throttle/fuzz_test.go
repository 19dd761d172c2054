package throttle

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// All addresses of one /64, and one IPv4 address however it is written, count as one.
func FuzzNetwork(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1%eth0", "2001:db8:0:0:ffff::", "x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, remote string) {
		network := Network(remote)
		addr, err := netip.ParseAddr(remote)
		if err != nil {
			require.Empty(t, network)
			return
		}
		if addr = addr.Unmap().WithZone(""); addr.Is4() {
			require.Equal(t, addr.String(), network)
			return
		}
		bytes := addr.As16()
		bytes[15] ^= 0xff // a neighbour
		require.Equal(t, network, Network(netip.AddrFrom16(bytes).String()))
	})
}
