// Package bus carries short messages between the parts of a server, and later between its nodes.
//
// It promises little on purpose: a message is delivered at most once, to whoever is subscribed when
// it is published, and none survives a crash. Everything sent over it is a nudge whose loss costs
// latency only; the facts are in the database. Memory serves one process; an implementation for
// several nodes has the same three methods. Any server package may use it.
package bus

import (
	"sync"

	"github.com/muster/muster/packages/fault"
)

// Bus is the contract of every implementation.
type Bus interface {
	// Publish hands payload to the topic's subscribers. The payload must not be changed afterwards.
	Publish(topic string, payload []byte) error
	// Subscribe calls fn for every later message of the topic until cancel is called. fn must not
	// block: it may run in the publisher's goroutine.
	Subscribe(topic string, fn func(payload []byte)) (cancel func())
	// Close ends all subscriptions; publishing afterwards is an error.
	Close() error
}

// Memory is the bus of a single process. Messages are delivered in the publisher's goroutine, so two
// messages of one publisher arrive in the order they were published.
type Memory struct {
	mu     sync.RWMutex
	closed bool
	next   uint64
	topics map[string]map[uint64]func([]byte)
}

var _ Bus = (*Memory)(nil)

// NewMemory makes an empty bus.
func NewMemory() *Memory {
	return &Memory{topics: map[string]map[uint64]func([]byte){}}
}

// Publish implements Bus.
func (m *Memory) Publish(topic string, payload []byte) error {
	m.mu.RLock()
	if m.closed {
		m.mu.RUnlock()
		return fault.New(fault.Unavailable, "publish on %q: the bus is closed", topic)
	}
	// Copied so that a subscriber may cancel, or publish in turn, without a deadlock.
	fns := make([]func([]byte), 0, len(m.topics[topic]))
	for _, fn := range m.topics[topic] {
		fns = append(fns, fn)
	}
	m.mu.RUnlock()
	for _, fn := range fns {
		fn(payload)
	}
	return nil
}

// Subscribe implements Bus.
func (m *Memory) Subscribe(topic string, fn func([]byte)) (cancel func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return func() {}
	}
	m.next++
	id := m.next
	if m.topics[topic] == nil {
		m.topics[topic] = map[uint64]func([]byte){}
	}
	m.topics[topic][id] = fn
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.topics[topic], id)
		if len(m.topics[topic]) == 0 {
			delete(m.topics, topic)
		}
	}
}

// Close implements Bus.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	clear(m.topics)
	return nil
}
