package api

import (
	"context"
	"sync"

	"github.com/muster/muster/packages/fault"
)

// Exchange gathers what becomes known of one request while it is served. It is made by the outermost
// middleware and read there when the answer is out: for the log, the metrics and the audit trail.
type Exchange struct {
	mu        sync.Mutex
	operation string
	target    string
	actorKind string
	actor     string
	err       error
	details   map[string]string
}

type exchangeKey struct{}

// WithExchange gives a request its Exchange.
func WithExchange(ctx context.Context) (context.Context, *Exchange) {
	e := &Exchange{}
	return context.WithValue(ctx, exchangeKey{}, e), e
}

// ExchangeFrom is the request's Exchange; one that nobody reads when there is none.
func ExchangeFrom(ctx context.Context) *Exchange {
	if e, ok := ctx.Value(exchangeKey{}).(*Exchange); ok {
		return e
	}
	return &Exchange{}
}

// Begin notes which operation the request reached and what its path names.
func (e *Exchange) Begin(operation, target string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.operation, e.target = operation, target
}

// Operation is the operation id and what the path names; empty when no operation was reached.
func (e *Exchange) Operation() (operation, target string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.operation, e.target
}

// SetTarget names what an operation made, where the path cannot name it.
func (e *Exchange) SetTarget(target string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.target = target
}

// SetActor notes on whose behalf the request runs.
func (e *Exchange) SetActor(kind, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.actorKind, e.actor = kind, name
}

// Actor is on whose behalf the request runs; empty when nobody is known.
func (e *Exchange) Actor() (kind, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.actorKind, e.actor
}

// Detail adds a fact for the audit trail. Secrets have no place in it.
func (e *Exchange) Detail(key, value string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.details == nil {
		e.details = map[string]string{}
	}
	e.details[key] = value
}

// Details is a copy of the facts.
func (e *Exchange) Details() map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[string]string, len(e.details))
	for k, v := range e.details {
		out[k] = v
	}
	return out
}

// Err is the internal error that the client was not told; nil when there was none.
func (e *Exchange) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Fail notes an error that the client is not told.
func (e *Exchange) Fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

// note keeps an internal error for the log.
func note(ctx context.Context, err error) {
	if c := fault.CodeOf(err); c == fault.Internal || c == fault.Unavailable {
		ExchangeFrom(ctx).Fail(err)
	}
}
