package agentapi_test

import "testing"

// BenchmarkCheckIn is a whole check-in of a device for which there is nothing to do, over plain HTTP with the
// connection kept: what TLS costs comes on top.
func BenchmarkCheckIn(b *testing.B) {
	e := newEnv(b, nil)
	_, bearer := e.enroll(false)
	for b.Loop() {
		e.checkIn(bearer, 2)
	}
}
