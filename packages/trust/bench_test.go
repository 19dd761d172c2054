package trust_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/instruction"
)

// BenchmarkVerifyInstruction is what a device does with each instruction.
func BenchmarkVerifyInstruction(b *testing.B) {
	w := newWorld(b)
	envelope := seal(b, instruction.PayloadType, payloadOf(b), w.author)
	for b.Loop() {
		_, _, err := w.doc.VerifyInstruction(envelope)
		require.NoError(b, err)
	}
}
