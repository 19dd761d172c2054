package hub

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// wakeMessage bounds the devices named in one message on the bus.
const wakeMessage = 1000

// wakeQueue paces wakeups by what becomes of them: so many devices may be woken and not have checked in yet.
// Each check-in lets the next wakeup go, so devices come as fast as the server takes them and no faster. Who
// does not come for a while (it is busy, or its check-in went to another node) is counted no longer.
//
// It holds each device once, and only devices that were connected when they were added.
type wakeQueue struct {
	mu      sync.Mutex
	waiting map[string]struct{}
	order   []string             // of waiting, oldest first
	under   map[string]time.Time // woken then, not checked in yet
	more    chan struct{}        // there may be something to do
}

func (q *wakeQueue) init() {
	q.waiting, q.under = map[string]struct{}{}, map[string]time.Time{}
	q.more = make(chan struct{}, 1)
}

func (q *wakeQueue) add(ids ...string) {
	q.mu.Lock()
	for _, id := range ids {
		if _, ok := q.waiting[id]; !ok {
			q.waiting[id] = struct{}{}
			q.order = append(q.order, id)
		}
	}
	q.mu.Unlock()
	q.nudge()
}

// done takes note of a check-in.
func (q *wakeQueue) done(id string) {
	q.mu.Lock()
	_, woken := q.under[id]
	delete(q.under, id)
	next := woken && len(q.order) > 0
	q.mu.Unlock()
	if next {
		q.nudge()
	}
}

func (q *wakeQueue) nudge() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// take removes the devices to wake now, so that at most most are under way. When others must wait, wait is
// how long until one under way is counted no longer; otherwise it is zero.
func (q *wakeQueue) take(now time.Time, most int, patience time.Duration) (ids []string, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	oldest := now
	for id, at := range q.under {
		switch {
		case now.Sub(at) >= patience:
			delete(q.under, id)
		case at.Before(oldest):
			oldest = at
		}
	}
	n := min(max(0, most-len(q.under)), len(q.order))
	ids = slices.Clone(q.order[:n])
	for _, id := range ids {
		delete(q.waiting, id)
		q.under[id] = now
	}
	if q.order = q.order[n:]; len(q.order) == 0 {
		q.order = nil // let the array of a large wave go
		return ids, 0
	}
	return ids, max(patience-now.Sub(oldest), time.Millisecond)
}

// WakeMany tells the devices to check in, paced so that their check-ins fit what the server can take: see
// CheckedIn. It returns at once; a device that is named again while it waits is woken once.
func (h *Hub) WakeMany(deviceIDs []string) {
	for part := range slices.Chunk(deviceIDs, wakeMessage) {
		if err := h.opt.Bus.Publish(topicWakeMany, []byte(strings.Join(part, "\n"))); err != nil {
			h.log.Warn("wake devices", "count", len(part), "err", err)
		}
	}
}

// onWakeMany queues those of the devices that are connected here.
func (h *Hub) onWakeMany(payload []byte) {
	var here []string
	h.mu.Lock()
	for id := range strings.SplitSeq(string(payload), "\n") {
		if h.devices[id] != nil {
			here = append(here, id)
		}
	}
	h.mu.Unlock()
	h.wakes.add(here...)
}

// CheckedIn says that a check-in of the device was answered: the next of those who wait may be woken.
func (h *Hub) CheckedIn(deviceID string) { h.wakes.done(deviceID) }

func (h *Hub) wakeLoop() {
	for {
		ids, wait := h.wakes.take(time.Now(), h.opt.WakesUnderWay, h.opt.WakePatience)
		for _, id := range ids {
			if !h.wakeLocal(id) {
				h.wakes.done(id) // gone meanwhile
			}
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-h.ctx.Done():
			return
		case <-h.wakes.more:
		case <-timer:
		}
	}
}

// wakeLocal wakes a device that is connected here.
func (h *Hub) wakeLocal(id string) bool {
	h.mu.Lock()
	c := h.devices[id]
	h.mu.Unlock()
	if c == nil || !c.wake() {
		return false
	}
	h.metrics.wakeups.Inc()
	return true
}
