package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
	"github.com/muster/muster/packages/protocol"
)

// slowdown is how much more seldom the server is asked while it sends events.
const slowdown = 10

// maxPointers is how many failed ones a verdict points at.
const maxPointers = 3

// target is what is watched: deployments by id, or by a query.
type target struct {
	ids   []string
	query url.Values
}

func (t target) load(ctx context.Context, api *client.Client) ([]client.Deployment, error) {
	if t.query != nil {
		return api.Deployments(ctx, t.query, 0)
	}
	return each(ctx, t.ids, api.Deployment)
}

// each reads things by id.
func each[T any](ctx context.Context, ids []string, read func(context.Context, string) (T, error)) ([]T, error) {
	out := make([]T, 0, len(ids))
	for _, id := range ids {
		one, err := read(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// subject is one thing that is watched until it is over.
type subject struct {
	id    string
	name  string // before its state
	line  string // where it stands
	state protocol.State
	item  any // as JSON
}

// watched is things of one kind that are watched together.
type watched struct {
	thing string // what one is called: in sentences, in the server's events, and as the command that shows it
	load  func(context.Context) ([]subject, error)
}

func (t target) watched(api *client.Client) watched {
	return watched{"deployment", func(ctx context.Context) ([]subject, error) {
		found, err := t.load(ctx, api)
		out := make([]subject, 0, len(found))
		for _, d := range found {
			out = append(out, subject{d.ID, d.Hostname + "  " + d.PackageName + " " + d.PackageVersion, summary(d), d.State, d})
		}
		return out, err
	}}
}

// watch prints each change of what is watched until all is over, and then how it went. Events of the
// server are hints to look at once; without them it looks every Poll.
func (a *app) watch(ctx context.Context, api *client.Client, of watched, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
		defer cancel()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	n := a.listen(ctx, api, of.thing)

	shown := screen{thing: of.thing, lines: map[string]string{}, states: map[string]protocol.State{}}
	for {
		items, err := of.load(ctx)
		switch {
		case ctx.Err() != nil:
			return ended(ctx, shown)
		case err == nil:
			a.changes(items, &shown)
			if over(items) {
				return a.verdict(of.thing, items)
			}
		case !fault.Retryable(err):
			return err
		default: // the server is away for a moment; the devices go on without it
			if !shown.away {
				a.note("muster: %s; waiting for it to come back", sentence(err))
			}
			shown.away = true
		}
		pause := a.Poll
		if err == nil {
			shown.away = false
			if n.connected() {
				pause *= slowdown
			}
		}
		select {
		case <-ctx.Done():
			return ended(ctx, shown)
		case <-n.nudge:
		case <-time.After(pause):
		}
	}
}

// screen is what was shown so far, by id.
type screen struct {
	thing  string
	lines  map[string]string
	states map[string]protocol.State
	away   bool // the server did not answer the last time
}

func ended(ctx context.Context, shown screen) error {
	if errors.Is(context.Cause(ctx), errTimeout) {
		open := 0
		for _, s := range shown.states {
			if !s.Final() {
				open++
			}
		}
		return fmt.Errorf("%w: %s still open", errTimeout, count(open, shown.thing))
	}
	return context.Cause(ctx)
}

// changes prints what differs from what was shown.
func (a *app) changes(items []subject, shown *screen) {
	for _, s := range items {
		if shown.lines[s.id] == s.line {
			continue
		}
		shown.lines[s.id], shown.states[s.id] = s.line, s.state
		a.say("%s  %s: %s", a.Now().Local().Format("15:04:05"), s.name, s.line)
	}
}

func over(items []subject) bool {
	for _, s := range items {
		if !s.state.Final() {
			return false
		}
	}
	return true
}

// verdict says how it ended: not applicable is no failure, everything else but success is.
func (a *app) verdict(thing string, items []subject) error {
	failed := 0
	all := make([]any, 0, len(items))
	for _, s := range items {
		all = append(all, s.item)
		if s.state == protocol.StateSucceeded || s.state == protocol.StateNotApplicable {
			continue
		}
		failed++
		if failed <= maxPointers {
			a.note("muster: why and with which output: muster %s show %s", thing, s.id)
		}
	}
	if a.json {
		if err := a.printJSON(all); err != nil {
			return err
		}
	}
	switch {
	case len(items) == 0:
		a.note("muster: there is no such %s; nothing to wait for", thing)
	case failed > 0:
		a.note("muster: %d of %s did not succeed", failed, count(len(items), thing))
		return errFailed
	default:
		a.say("%s over, none failed", count(len(items), thing))
	}
	return nil
}

// nudges turns the server's events into a hint to look again.
type nudges struct {
	nudge chan struct{} // of capacity 1: several events are one hint
	live  chan struct{} // holds a value while connected
}

func (n *nudges) connected() bool { return len(n.live) > 0 }

// listen receives events of one type until ctx ends, connecting again and again. Failing at that is no error:
// polling goes on.
func (a *app) listen(ctx context.Context, api *client.Client, thing string) *nudges {
	return a.listenTo(ctx, api, func(e client.Event) bool { return e.Type == thing })
}

// listenTo is listen for the events that matter.
func (a *app) listenTo(ctx context.Context, api *client.Client, matters func(client.Event) bool) *nudges {
	n := &nudges{nudge: make(chan struct{}, 1), live: make(chan struct{}, 1)}
	hint := func() {
		select {
		case n.nudge <- struct{}{}:
		default:
		}
	}
	wait := backoff.NewExponentialBackOff()
	wait.MaxInterval = 30 * time.Second
	go func() {
		for ctx.Err() == nil {
			_ = api.Events(ctx, func() { wait.Reset(); n.live <- struct{}{}; hint() }, func(e client.Event) {
				if matters(e) {
					hint()
				}
			})
			select {
			case <-n.live:
			default:
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait.NextBackOff()):
			}
		}
	}()
	return n
}
