package local

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/fragments"
)

// Whatever stands in a query, it is refused, or it names one fragment of one package and no other file.
func FuzzQuery(f *testing.F) {
	f.Add("action=wakeup&deviceid=0198f0aa-1111-7222-8333-444455556666")
	f.Add("action=download?file=/" + packageID + "/" + packageID + "-1")
	f.Add("action=download&file=%2F" + packageID + "%2F" + packageID + "-99")
	f.Add("action=download&file=/../../etc/passwd")
	f.Add("action=log&action=log;%zz")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw)
		if err != nil {
			require.Equal(t, query{}, q)
			return
		}
		require.LessOrEqual(t, len(q.action)+len(q.deviceID)+len(q.file), maxQuery)
		id, number, err := parseFile(q.file)
		if err != nil {
			return
		}
		require.True(t, fragments.ValidID(id))
		require.Positive(t, number)
		require.True(t, strings.HasPrefix(q.file, "/"+id+"/"+id+"-"))
	})
}

// A Host header that is let in on loopback is a loopback address or localhost, however it is written.
func FuzzHost(f *testing.F) {
	for _, host := range []string{"localhost:62354", "127.0.0.1", "[::1]:1", "127.0.0.1.evil.example", "[::ffff:127.0.0.1]", "localhost:x", ":", "[", "[]"} {
		f.Add(host)
	}
	local := netip.MustParseAddr("127.0.0.1")
	f.Fuzz(func(t *testing.T, host string) {
		if !hostAllowed(host, local, false) {
			return
		}
		name := strings.ToLower(host)
		bare := strings.HasPrefix(name, "localhost") || strings.HasPrefix(name, "127.") || strings.HasPrefix(name, "[")
		require.True(t, bare, host)
		require.Empty(t, strings.Trim(name, "acdefhlostbx0123456789.:[]%"), host)
	})
}
