package deploy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Of two versions at most one is the older, and none is older than itself.
func FuzzOlder(f *testing.F) {
	f.Add("1.2.3", "v1.10")
	f.Add("v0.1.0-dev+abc", "1")
	f.Add("1.-2", "99999999999999999999")
	f.Fuzz(func(t *testing.T, a, b string) {
		require.False(t, older(a, b) && older(b, a))
		require.False(t, older(a, a))
	})
}
