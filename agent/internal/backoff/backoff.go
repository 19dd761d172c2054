// Package backoff spreads repeated tries over time: exponential, with full jitter, so that ten thousand
// devices that lost the same server do not come back in the same second. It keeps nothing on disk; one
// Backoff belongs to one goroutine.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Backoff counts the failures since the last success.
type Backoff struct {
	Base time.Duration // upper bound of the first wait
	Cap  time.Duration // upper bound of any wait
	n    int
}

// Next is how long to wait after one more failure: a random time up to Base, doubled with each failure
// in a row, at most Cap, and never less than a tenth of that bound.
func (b *Backoff) Next() time.Duration {
	bound := b.Base << min(b.n, 30)
	if bound > b.Cap || bound <= 0 {
		bound = b.Cap
	}
	b.n++
	floor := bound / 10
	return floor + rand.N(max(bound-floor, 1))
}

// Failures is how many failures there were since the last success.
func (b *Backoff) Failures() int { return b.n }

// Reset forgets the failures.
func (b *Backoff) Reset() { b.n = 0 }
