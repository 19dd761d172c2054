package user

import (
	"net/netip"
	"sync"
	"time"
)

// attempts slows down guessing. Each failure costs one of a bucket's tokens, which come back with time;
// a success costs nothing. It lives in memory: a restart forgives.
type attempts struct {
	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	left float64
	seen time.Time
}

// How much a stranger may fail.
const (
	perName    = 10              // failures at once, per address and name
	perAddress = 50              // failures at once, per address
	refill     = 6 * time.Second // one more
	maxBuckets = 20000
)

func newAttempts() *attempts { return &attempts{buckets: map[string]*bucket{}} }

// network is what counts as one address: an IPv6 user has a whole /64 to send from.
func network(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return "" // all that cannot be told apart count together
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

// begin takes a token from both buckets; false when one is empty. An address that has none left makes no
// buckets of names: it could push out everybody's.
func (a *attempts) begin(now time.Time, remote, name string) bool {
	remote = network(remote)
	a.mu.Lock()
	defer a.mu.Unlock()
	byAddress := a.bucket(now, remote, perAddress)
	if byAddress.left < 1 {
		return false
	}
	byName := a.bucket(now, remote+"|"+name, perName)
	if byName.left < 1 {
		return false
	}
	byName.left--
	byAddress.left--
	return true
}

// forgive gives the tokens of a success back.
func (a *attempts) forgive(remote, name string) {
	remote = network(remote)
	a.mu.Lock()
	defer a.mu.Unlock()
	if b := a.buckets[remote+"|"+name]; b != nil {
		b.left = min(b.left+1, perName)
	}
	if b := a.buckets[remote]; b != nil {
		b.left = min(b.left+1, perAddress)
	}
}

func (a *attempts) bucket(now time.Time, key string, size float64) *bucket {
	b := a.buckets[key]
	if b == nil {
		a.makeRoom(now)
		b = &bucket{left: size}
		a.buckets[key] = b
	} else if gone := now.Sub(b.seen); gone > 0 {
		b.left = min(size, b.left+float64(gone)/float64(refill))
	}
	b.seen = now
	return b
}

// makeRoom forgets whoever has been quiet for as long as a bucket takes to fill, and everybody when
// that is not enough: memory stays bounded even when a whole network attacks.
func (a *attempts) makeRoom(now time.Time) {
	if len(a.buckets) < maxBuckets {
		return
	}
	for key, b := range a.buckets {
		if now.Sub(b.seen) > perAddress*refill {
			delete(a.buckets, key)
		}
	}
	if len(a.buckets) >= maxBuckets {
		clear(a.buckets)
	}
}
