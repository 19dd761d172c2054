package agentapi

import (
	"context"
	"sync"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/throttle"
)

// patience is how long a request waits for its place before it is sent away.
const patience = 2 * time.Second

// admission bounds the requests of one kind that are worked on at the same time. Twice as many may wait a
// moment; more are sent away at once, so that those who are served are served soon.
type admission struct {
	places  chan struct{}
	waiting chan struct{}
}

func newAdmission(n int) *admission {
	return &admission{places: make(chan struct{}, n), waiting: make(chan struct{}, 2*n)}
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
	most  int
	what  string
	mu    sync.Mutex
	under map[string]int
}

func newTurns(most int, what string) *turns {
	return &turns{most: most, what: what, under: map[string]int{}}
}

// take counts one more, to be given back with release.
func (t *turns) take(deviceID string) (release func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.under[deviceID] >= t.most {
		return nil, fault.New(fault.TooMany, "this device sends %d %s already; send one after another", t.most, t.what)
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

// Failed enrollments: a burst, then one in a while, per network address, so that tokens cannot be guessed.
const (
	failureBurst = 10
	failureEvery = 30 * time.Second
)

// guesses is what an address's failed enrollments are counted in.
func guesses(ip string) throttle.Bucket {
	return throttle.Bucket{Key: throttle.Network(ip), Size: failureBurst}
}
