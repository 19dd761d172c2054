// Package unabletest ends tests that this computer cannot run. Only tests use it.
package unabletest

import (
	"os"
	"testing"
)

// Skip skips the test by name and says why. With CI=true it fails instead: what nobody runs proves nothing.
func Skip(t testing.TB, reason string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("cannot run here: "+reason, args...)
	}
	t.Skipf("cannot run here: "+reason, args...)
}
