package hub

import (
	"strings"
	"sync"
	"time"
)

// wakeTick is how often the pacer sends; the rate decides how many each time.
const wakeTick = 50 * time.Millisecond

// wakeQueue holds the devices that WakeMany still has to wake, each once, oldest first.
type wakeQueue struct {
	mu      sync.Mutex
	waiting map[string]struct{}
	order   []string
	more    chan struct{}
}

func (q *wakeQueue) init() {
	q.waiting = map[string]struct{}{}
	q.more = make(chan struct{}, 1)
}

func (q *wakeQueue) add(ids []string) {
	q.mu.Lock()
	for _, id := range ids {
		if _, ok := q.waiting[id]; !ok {
			q.waiting[id] = struct{}{}
			q.order = append(q.order, id)
		}
	}
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// take removes up to n ids.
func (q *wakeQueue) take(n int) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.order))
	ids := q.order[:n:n]
	q.order = q.order[n:]
	if len(q.order) == 0 {
		q.order = nil // let the array of a large wave go
	}
	for _, id := range ids {
		delete(q.waiting, id)
	}
	return ids
}

// WakeMany tells the devices to check in, paced so that their check-ins fit what the server can take.
// It returns at once; a device that is named again while it waits is woken once.
func (h *Hub) WakeMany(deviceIDs []string) {
	if len(deviceIDs) == 1 {
		h.Wake(deviceIDs[0])
		return
	}
	h.wakes.add(deviceIDs)
}

func (h *Hub) wakeLoop() {
	ticker := time.NewTicker(wakeTick)
	defer ticker.Stop()
	batch := max(1, int(float64(h.opt.WakePerSecond)*wakeTick.Seconds()))
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.wakes.more:
		}
		for ids := h.wakes.take(batch); len(ids) > 0; ids = h.wakes.take(batch) {
			if err := h.opt.Bus.Publish(topicWake, []byte(strings.Join(ids, "\n"))); err != nil {
				h.log.Warn("wake devices", "count", len(ids), "err", err)
			}
			select {
			case <-h.ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}
}
