package versionkey_test

import (
	"cmp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/server/internal/versionkey"
)

// Each line is in the order that dpkg --compare-versions gives.
func TestOf_sortsAsDpkg(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"1.0~rc1-1 1.0~rc1-1.1 1.0-1 1.0-1ubuntu1 1.0-2 1.0-10 1.0a-1 1.0+dfsg-1 1.0.1-1 1.1-1 1.9 1.10 2 10 1:0.1",
		"~~ ~~a ~ 0 0a 0.0 1",
		"7.2-1 7.2-1+deb12u1 7.2-2 7.2.0-1",
		"115.0 115.0esr 115.0.1 128.3.0esr-1~deb12u1 128.3.0esr-1",
		"2.36-9+deb12u8 2.36-9+deb12u10",
		"1.0A 1.0Z 1.0a 1.0z 1.0_",
		"20240203 20241121 20241121.1",
	} {
		versions := strings.Fields(line)
		for i, a := range versions {
			for j, b := range versions {
				require.Equal(t, cmp.Compare(i, j), strings.Compare(versionkey.Of(a), versionkey.Of(b)), "%s and %s", a, b)
			}
		}
	}
	for _, same := range [][2]string{{"1.0", "0:1.0"}, {"1.0", "1.0-0"}, {"1.01", "1.1"}, {"1.0a", "1.0a0"}} {
		require.Equal(t, versionkey.Of(same[0]), versionkey.Of(same[1]), "%v", same)
	}
}

func TestOfRelease_sortsAsReleases(t *testing.T) {
	t.Parallel()
	versions := strings.Fields("dev 0.9.9 1.0.0-0 1.0.0-2 1.0.0-11 1.0.0-al 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-alpha-2 " +
		"1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 v1.0.0 1.0.0+git.abc 1.0.1 1.2 1.2.0 1.10.0 v2 1..2 10.0.0")
	for _, a := range versions {
		for _, b := range versions {
			require.Equal(t, release.Compare(a, b), strings.Compare(versionkey.OfRelease(a), versionkey.OfRelease(b)), "%s and %s", a, b)
		}
	}
}

// Whatever a device says, the key fits its column and has nothing that a collation could sort otherwise.
func FuzzOf(f *testing.F) {
	for _, s := range []string{"", "1:2.3~rc1-4", "::", "-", strings.Repeat("9", 300), "ünï", "1.0-\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, key := range []string{versionkey.Of(s), versionkey.OfRelease(s)} {
			require.LessOrEqual(t, len(key), versionkey.Max)
			require.Empty(t, strings.Trim(key, "0123456789abcdef"), "of %q", s)
		}
	})
}
