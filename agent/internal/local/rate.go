package local

import (
	"net/netip"
	"sync"
	"time"
)

// Rates of requests: so many at once, and so many a second for long.
type rates struct {
	burst, perSecond         float64 // of one remote address
	sumBurst, sumPerSecond   float64 // of all that come from outside of this computer, or all from inside
	wakeBurst, wakePerSecond float64 // check-ins at one server
}

// defaultRates leave a neighbour enough to fetch 20 fragments a second, and do not let anybody make this
// device ask a server more often than one check-in in ten seconds.
var defaultRates = rates{
	burst: 40, perSecond: 20, sumBurst: 100, sumPerSecond: 50, wakeBurst: 3, wakePerSecond: 0.1,
}

// maxRemotes bounds the remote addresses that are remembered.
const maxRemotes = 256

// bucket holds tokens that come back with time. Its zero value is full.
type bucket struct {
	used float64
	at   time.Time
}

// take takes a token, if there is one.
func (b *bucket) take(now time.Time, burst, perSecond float64) bool {
	b.refill(now, perSecond)
	if b.used+1 > burst {
		return false
	}
	b.used++
	return true
}

func (b *bucket) refill(now time.Time, perSecond float64) {
	b.used = max(b.used-max(now.Sub(b.at).Seconds(), 0)*perSecond, 0)
	b.at = now
}

// limiter decides whether a request is answered. There are two sums, so that the network cannot take
// away what this computer's own users may ask.
type limiter struct {
	rates rates

	mu      sync.Mutex
	sums    [2]bucket
	remotes map[netip.Prefix]*bucket
	wakes   map[string]*bucket // by device id of this device
}

// allow takes a request of a remote address into account.
func (l *limiter) allow(remote netip.Addr, lan bool, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.remote(remote, now)
	if b == nil || !b.take(now, l.rates.burst, l.rates.perSecond) {
		return false
	}
	sum := &l.sums[0]
	if lan {
		sum = &l.sums[1]
	}
	return sum.take(now, l.rates.sumBurst, l.rates.sumPerSecond)
}

// remote is the bucket of an address; nil when too many others ask at the moment.
func (l *limiter) remote(addr netip.Addr, now time.Time) *bucket {
	key := prefixOf(addr)
	if b := l.remotes[key]; b != nil {
		return b
	}
	if len(l.remotes) >= maxRemotes {
		for k, b := range l.remotes {
			if b.refill(now, l.rates.perSecond); b.used == 0 {
				delete(l.remotes, k) // as good as new
			}
		}
		if len(l.remotes) >= maxRemotes {
			return nil
		}
	}
	if l.remotes == nil {
		l.remotes = map[netip.Prefix]*bucket{}
	}
	b := new(bucket)
	l.remotes[key] = b
	return b
}

// prefixOf is what counts as one neighbour: an IPv4 address, or the /64 that one computer may use freely.
func prefixOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// allowWake takes a wakeup for a device id of this device into account.
func (l *limiter) allowWake(deviceID string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.wakes[deviceID]
	if b == nil {
		if l.wakes == nil {
			l.wakes = map[string]*bucket{}
		}
		b = new(bucket)
		l.wakes[deviceID] = b
	}
	return b.take(now, l.rates.wakeBurst, l.rates.wakePerSecond)
}
