package agentapi

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/muster/muster/packages/fault"
)

// patience is how long a request waits for its place before it is sent away.
const patience = 2 * time.Second

// admission bounds the requests of one kind that are worked on at the same time. A few times as many
// may wait a moment; more are sent away at once.
type admission struct {
	places  chan struct{}
	waiting chan struct{}
}

func newAdmission(n int) *admission {
	return &admission{places: make(chan struct{}, n), waiting: make(chan struct{}, 4*n)}
}

// enter takes a place, to be given back with release.
func (a *admission) enter(ctx context.Context) (release func(), err error) {
	release = func() { <-a.places }
	select {
	case a.places <- struct{}{}:
		return release, nil
	default:
	}
	busy := fault.New(fault.Unavailable, "the server is busy; come back later")
	select {
	case a.waiting <- struct{}{}:
		defer func() { <-a.waiting }()
	default:
		return nil, busy
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a.places <- struct{}{}:
		return release, nil
	case <-timer.C:
		return nil, busy
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), fault.Unavailable, "wait for a place")
	}
}

// mostPerDevice bounds the batches of reports that one device may send at the same time. Agents send one
// after another; a hostile device must not take the places of all others.
const mostPerDevice = 4

// turns counts what each device has under way.
type turns struct {
	mu    sync.Mutex
	under map[string]int
}

func newTurns() *turns { return &turns{under: map[string]int{}} }

// take counts one more, to be given back with release.
func (t *turns) take(deviceID string) (release func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.under[deviceID] >= mostPerDevice {
		return nil, fault.New(fault.TooMany, "this device sends %d batches of reports already; send one after another", mostPerDevice)
	}
	t.under[deviceID]++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.under[deviceID]--; t.under[deviceID] == 0 {
			delete(t.under, deviceID)
		}
	}, nil
}

// Bounds of failed enrollments: a burst, then one in a while, per network address.
const (
	failureBurst = 10
	failureEvery = 30 * time.Second
	failureKept  = 10_000 // addresses
)

// failures counts failed enrollments per address, so that tokens cannot be guessed.
type failures struct {
	mu    sync.Mutex
	byNet map[netip.Prefix]*rate.Limiter
}

func newFailures() *failures { return &failures{byNet: map[netip.Prefix]*rate.Limiter{}} }

// network is what counts as one address: an IPv6 user has a whole /64.
func network(ip string) netip.Prefix {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{} // all that cannot be told apart count together
	}
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// check refuses an address that failed too often lately.
func (f *failures) check(ip string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.byNet[network(ip)]; l != nil && l.Tokens() < 1 {
		return fault.New(fault.TooMany, "too many failed enrollments from this address; try again later")
	}
	return nil
}

// count takes note of a failure.
func (f *failures) count(ip string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := network(ip)
	l := f.byNet[key]
	if l == nil {
		f.makeRoom()
		l = rate.NewLimiter(rate.Every(failureEvery), failureBurst)
		f.byNet[key] = l
	}
	l.Allow()
}

// makeRoom forgets the addresses that have recovered and, if that is not enough, any one.
func (f *failures) makeRoom() {
	if len(f.byNet) < failureKept {
		return
	}
	for key, l := range f.byNet {
		if l.Tokens() >= failureBurst {
			delete(f.byNet, key)
		}
	}
	for key := range f.byNet {
		if len(f.byNet) < failureKept {
			return
		}
		delete(f.byNet, key)
	}
}
