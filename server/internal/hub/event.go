package hub

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// collapseAt is how many different things of one type may change between two deliveries before
// browsers are told only that many changed.
const collapseAt = 100

// Event tells browsers that something changed; they fetch it again. An empty ID says that many things
// of the type changed.
type Event struct {
	Type      string    `json:"type"` // what changed, in the words of the API: device, task, log
	ID        string    `json:"id"`
	DeviceID  string    `json:"device_id,omitempty"`
	PackageID string    `json:"package_id,omitempty"`
	Progress  *Progress `json:"progress,omitempty"`
}

// Progress is how far a deployment's fetch has come, in bytes.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

type eventKey struct{ kind, id string }

// eventQueue gathers events between two deliveries, the newest per thing.
type eventQueue struct {
	mu      sync.Mutex
	pending map[eventKey]Event // at most one more than collapseAt per type
	count   map[string]int     // of pending, by type
	more    chan struct{}
}

func (q *eventQueue) init() {
	q.pending, q.count = map[eventKey]Event{}, map[string]int{}
	q.more = make(chan struct{}, 1)
}

func (q *eventQueue) add(e Event) {
	q.mu.Lock()
	key := eventKey{e.Type, e.ID}
	old, known := q.pending[key]
	if known && e.Progress == nil {
		e.Progress = old.Progress
	}
	if !known && q.count[e.Type] <= collapseAt { // of more it is only told that they are many
		q.count[e.Type]++
		known = true
	}
	if known {
		q.pending[key] = e
	}
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// take empties the queue, collapsing a type of which too many things changed.
func (q *eventQueue) take() []Event {
	q.mu.Lock()
	pending, count := q.pending, q.count
	q.pending, q.count = map[eventKey]Event{}, map[string]int{}
	q.mu.Unlock()
	var events []Event
	for kind, n := range count {
		if n > collapseAt {
			events = append(events, Event{Type: kind})
		}
	}
	for key, e := range pending {
		if count[key.kind] <= collapseAt {
			events = append(events, e)
		}
	}
	return events
}

// Notify tells all browsers, within FlushEvery. Repeated events of one thing are sent once.
func (h *Hub) Notify(e Event) {
	payload, err := json.Marshal(e)
	if err == nil {
		err = h.opt.Bus.Publish(topicEvent, payload)
	}
	if err != nil {
		h.log.Debug("notify browsers", "type", e.Type, "err", err)
	}
}

func (h *Hub) onEvent(payload []byte) {
	h.mu.Lock()
	none := len(h.browsers) == 0
	h.mu.Unlock()
	if none {
		return
	}
	var e Event
	if err := json.Unmarshal(payload, &e); err != nil {
		h.log.Warn("read event from the bus", "err", err)
		return
	}
	h.events.add(e)
}

func (h *Hub) eventLoop() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.events.more:
		}
		h.deliver(h.events.take())
		select { // gather before the next delivery
		case <-h.ctx.Done():
			return
		case <-time.After(h.opt.FlushEvery):
		}
	}
}

// deliver sends one message per event: the form browsers read is the event itself.
func (h *Hub) deliver(events []Event) {
	if len(events) == 0 {
		return
	}
	h.mu.Lock()
	browsers := make([]*conn, 0, len(h.browsers))
	for c := range h.browsers {
		browsers = append(browsers, c)
	}
	h.mu.Unlock()
	for _, e := range events {
		data, err := json.Marshal(e)
		if err != nil {
			h.log.Warn("encode event", "type", e.Type, "err", err)
			continue
		}
		for _, c := range browsers {
			c.send(frame{kind: websocket.TextMessage, data: data})
		}
	}
}
