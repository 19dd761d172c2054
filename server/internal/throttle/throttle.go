// Package throttle slows down guessing: of passwords and of enrollment tokens.
//
// A bucket holds as many tokens as somebody may fail at once; each failure costs one, and they come back
// with time. Everything lives in memory and is bounded, even when a whole network attacks: a restart
// forgives. A Throttle may be used by many goroutines.
package throttle

import (
	"net/netip"
	"sync"
	"time"
)

// maxBuckets bounds the memory of one Throttle.
const maxBuckets = 20_000

// Bucket names what failures are counted for, and how many there may be at once.
type Bucket struct {
	Key  string
	Size int
}

// Throttle keeps buckets. Make it with New.
type Throttle struct {
	refill time.Duration

	mu   sync.Mutex
	fill map[string]*level
}

type level struct {
	left float64
	size int
	seen time.Time
}

// New makes a Throttle whose buckets get one token back in every refill.
func New(refill time.Duration) *Throttle {
	return &Throttle{refill: refill, fill: map[string]*level{}}
}

// Network is what counts as one address: an IPv6 user has a whole /64 to send from. All that cannot be
// told apart counts together.
func Network(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return ""
	}
	return prefix.String()
}

// Take takes a token from each bucket; when one is empty it takes none and reports false. Buckets behind
// an empty one are not made: who has no tokens left could push out everybody else's.
func (t *Throttle) Take(now time.Time, buckets ...Bucket) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	levels := make([]*level, 0, len(buckets))
	for _, b := range buckets {
		l := t.level(now, b)
		if l.left < 1 {
			return false
		}
		levels = append(levels, l)
	}
	for _, l := range levels {
		l.left--
	}
	return true
}

// Give gives back what Take took, after a success.
func (t *Throttle) Give(buckets ...Bucket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range buckets {
		if l := t.fill[b.Key]; l != nil {
			l.left = min(l.left+1, float64(b.Size))
		}
	}
}

// Empty reports whether the bucket has no token left. It takes none: for who counts failures only once
// they have happened, so that many successes at once do not get in each other's way.
func (t *Throttle) Empty(now time.Time, b Bucket) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.fill[b.Key]
	return l != nil && t.now(l, now) < 1
}

// now is how full a bucket is at a time.
func (t *Throttle) now(l *level, now time.Time) float64 {
	gone := max(now.Sub(l.seen), 0)
	return min(float64(l.size), l.left+float64(gone)/float64(t.refill))
}

func (t *Throttle) level(now time.Time, b Bucket) *level {
	l := t.fill[b.Key]
	if l == nil {
		t.makeRoom(now)
		l = &level{left: float64(b.Size), size: b.Size, seen: now}
		t.fill[b.Key] = l
		return l
	}
	l.left, l.seen = t.now(l, now), now
	return l
}

// makeRoom forgets the buckets that are full again, and all of them when that is not enough.
func (t *Throttle) makeRoom(now time.Time) {
	if len(t.fill) < maxBuckets {
		return
	}
	for key, l := range t.fill {
		if t.now(l, now) >= float64(l.size) {
			delete(t.fill, key)
		}
	}
	if len(t.fill) >= maxBuckets {
		clear(t.fill)
	}
}
