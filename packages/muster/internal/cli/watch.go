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

// maxPointers is how many failed deployments a verdict points at.
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
	out := make([]client.Deployment, 0, len(t.ids))
	for _, id := range t.ids {
		d, err := api.Deployment(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// watch prints each change of the deployments until all are over, and then how it went. Events of the
// server are hints to look at once; without them it looks every Poll.
func (a *app) watch(ctx context.Context, api *client.Client, t target, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
		defer cancel()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	n := a.listen(ctx, api)

	shown := screen{lines: map[string]string{}, states: map[string]protocol.State{}}
	for {
		items, err := t.load(ctx, api)
		switch {
		case ctx.Err() != nil:
			return ended(ctx, shown)
		case err == nil:
			a.changes(items, &shown)
			if over(items) {
				return a.verdict(items)
			}
		case !fault.Retryable(err):
			return err
		default: // the server is away for a moment; the deployments go on without it
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

// screen is what was shown so far, by deployment.
type screen struct {
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
		return fmt.Errorf("%w: %s still open", errTimeout, count(open, "deployment"))
	}
	return context.Cause(ctx)
}

// changes prints what differs from what was shown.
func (a *app) changes(items []client.Deployment, shown *screen) {
	for _, d := range items {
		line := summary(d)
		if shown.lines[d.ID] == line {
			continue
		}
		shown.lines[d.ID], shown.states[d.ID] = line, d.State
		a.say("%s  %s  %s %s: %s", a.Now().Local().Format("15:04:05"), d.Hostname, d.PackageName, d.PackageVersion, line)
	}
}

func over(items []client.Deployment) bool {
	for _, d := range items {
		if !d.State.Final() {
			return false
		}
	}
	return true
}

// verdict says how it ended: not applicable is no failure, everything else but success is.
func (a *app) verdict(items []client.Deployment) error {
	failed := 0
	for _, d := range items {
		if d.State == protocol.StateSucceeded || d.State == protocol.StateNotApplicable {
			continue
		}
		failed++
		if failed <= maxPointers {
			a.note("muster: why and with which output: muster deployment show %s", d.ID)
		}
	}
	if a.json {
		if err := a.printJSON(items); err != nil {
			return err
		}
	}
	switch {
	case len(items) == 0:
		a.note("muster: there is no such deployment; nothing to wait for")
	case failed > 0:
		a.note("muster: %d of %s did not succeed", failed, count(len(items), "deployment"))
		return errFailed
	default:
		a.say("%s over, none failed", count(len(items), "deployment"))
	}
	return nil
}

// nudges turns the server's events into a hint to look again.
type nudges struct {
	nudge chan struct{} // of capacity 1: several events are one hint
	live  chan struct{} // holds a value while connected
}

func (n *nudges) connected() bool { return len(n.live) > 0 }

// listen receives events until ctx ends, connecting again and again. Failing at that is no error:
// polling goes on.
func (a *app) listen(ctx context.Context, api *client.Client) *nudges {
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
				if e.Type == "deployment" {
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
