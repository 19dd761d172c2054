package buildinfo_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/buildinfo"
)

func TestString_namesVersionAndPlatform(t *testing.T) {
	t.Parallel()
	s := buildinfo.String()
	require.Contains(t, s, buildinfo.Version)
	require.Contains(t, s, runtime.GOOS+"/"+runtime.GOARCH)
	require.LessOrEqual(t, len(buildinfo.Revision()), 12)
}
