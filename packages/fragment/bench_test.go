package fragment_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
)

// BenchmarkVerify is what a device does with each fragment of 1 MB.
func BenchmarkVerify(b *testing.B) {
	data := bytes.Repeat([]byte("0123456789abcdef"), fragment.DefaultSize/16)
	var f instruction.Fragment
	_, err := fragment.Cut(bytes.NewReader(data), fragment.DefaultSize, func(cut instruction.Fragment, _ []byte) error {
		f = cut
		return nil
	})
	require.NoError(b, err)
	b.SetBytes(fragment.DefaultSize)
	for b.Loop() {
		require.NoError(b, fragment.Verify(f, data))
	}
}
