package store

import (
	"context"
	"sync"
	"time"

	"github.com/muster/muster/packages/fault"
)

// groupWithin bounds one commit of a Group.
const groupWithin = 30 * time.Second

// Group commits the changes of many callers together: while one commit runs, those who come wait for the next
// one. So a storm of small changes costs a few commits, each of which waits for the disk, instead of one each.
// How many wait is bounded by who calls.
type Group[T any] struct {
	commit func(ctx context.Context, items []T) error
	most   int

	mu      sync.Mutex
	waiting []*grouped[T]
	running bool
}

type grouped[T any] struct {
	item T
	done chan error
}

// NewGroup makes a Group whose commits hold at most most items. An error of commit is the error of all that
// it was given.
func NewGroup[T any](most int, commit func(ctx context.Context, items []T) error) *Group[T] {
	return &Group[T]{commit: commit, most: most}
}

// Do returns when a commit with the item has ended. When ctx ends before, the item may be committed or not.
func (g *Group[T]) Do(ctx context.Context, item T) error {
	w := &grouped[T]{item: item, done: make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, w)
	first := !g.running
	g.running = true
	g.mu.Unlock()
	if first {
		go g.run(context.WithoutCancel(ctx)) // it ends when nobody waits any more
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Unavailable, "wait for the database")
	}
}

func (g *Group[T]) run(ctx context.Context) {
	for {
		g.mu.Lock()
		n := min(g.most, len(g.waiting))
		batch := g.waiting[:n:n]
		if g.waiting = g.waiting[n:]; n == 0 {
			g.waiting, g.running = nil, false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		items := make([]T, n)
		for i, w := range batch {
			items[i] = w.item
		}
		within, cancel := context.WithTimeout(ctx, groupWithin)
		err := g.commit(within, items)
		cancel()
		for _, w := range batch {
			w.done <- err
		}
	}
}
