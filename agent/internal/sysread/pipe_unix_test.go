//go:build unix

package sysread

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestRead_neverWaitsForAPipe(t *testing.T) {
	t.Parallel()
	r := tree(t, nil)
	require.NoError(t, unix.Mkfifo(r.Path("pipe"), 0o600))
	_, err := r.Read("pipe", 10)
	require.Error(t, err)
}
