package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// stateLimit is how long a scenario waits for the whole fleet to come into a state.
const stateLimit = 5 * time.Minute

// await waits until ok.
func await(ctx context.Context, what string, ok func() bool) error {
	limit := time.NewTimer(stateLimit)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("waited %s in vain for %s", stateLimit, what)
		case <-tick.C:
		}
	}
	return nil
}

// handshakes makes one TLS connection per device, and sends nothing over it. Sessions are not resumed.
func handshakes(ctx context.Context, f *fleet) ([]result, error) {
	r, t, before := result{Scenario: "handshakes"}, newTally(), measure(f.o.pids)
	conf := f.wire.tls(false)
	err := f.each(ctx, func(ctx context.Context, d *device) error {
		begin := time.Now()
		l, err := open(ctx, f.wire, f.wire.dialer(d.number), conf)
		t.note(time.Since(begin), err)
		if err == nil {
			l.close()
		}
		return ctx.Err()
	})
	r.add("handshakes", float64(t.served()), "")
	r.since(f.o.pids, before, t.served(), "handshake")
	r.add("rate", float64(t.served())/time.Since(before.at).Seconds(), "/s")
	t.into(&r, "handshake")
	r.Errors = t.failed()
	return []result{r}, err
}

// connectAll opens the WebSocket of each device that has none and waits for the check-ins that follow.
func connectAll(ctx context.Context, f *fleet) ([]result, error) {
	r, err := connectSome(ctx, f, f.devices)
	return []result{r}, err
}

func connectSome(ctx context.Context, f *fleet, devices []*device) (result, error) {
	r, t, before := result{Scenario: "connect"}, newTally(), measure(f.o.pids)
	checkedIn := newTally()
	heard := f.hear(func(_ *device, woken, done time.Time, _ int, err error) { checkedIn.note(done.Sub(woken), err) })
	defer heard()
	// A device that is sent away comes back later and must not hold up others meanwhile.
	g, gctx := errgroup.WithContext(ctx)
	places := make(chan struct{}, f.o.parallel)
	missing := 0
	for _, d := range devices {
		d.mu.Lock()
		connected := d.socket != nil
		d.mu.Unlock()
		if connected {
			continue
		}
		missing++
		g.Go(func() error {
			d.until(gctx, func() error {
				places <- struct{}{}
				defer func() { <-places }()
				begin := time.Now()
				err := d.connect(gctx)
				t.note(time.Since(begin), err)
				return err
			})
			return gctx.Err()
		})
	}
	err := g.Wait()
	if err == nil {
		err = await(ctx, "a check-in of each connected device", func() bool { return checkedIn.served() >= missing })
	}
	r.add("connections", float64(t.served()), "")
	r.since(f.o.pids, before, t.served(), "connection and check-in")
	r.add("rate", float64(t.served())/time.Since(before.at).Seconds(), "/s")
	t.into(&r, "connection")
	checkedIn.into(&r, "wakeup to check-in")
	r.Errors = t.failed()
	return r, err
}

// hear lets fn hear of check-ins that follow wakeups, until the returned function is called.
func (f *fleet) hear(fn func(d *device, woken, done time.Time, tasks int, err error)) (end func()) {
	f.heard.Store(&fn)
	return func() { f.heard.Store(nil) }
}

// memory connects half of the devices, then the others, and reads the server's memory after each, when it
// has settled: what a device adds is the difference. What the server needs without any is left out so.
func memory(ctx context.Context, f *fleet) ([]result, error) {
	half := len(f.devices) / 2
	if half == 0 || f.connected.Load() > 0 {
		return nil, errors.New("it needs two devices that are not connected yet: put it first")
	}
	var at [2]usage
	for n, devices := range [][]*device{f.devices[:half], f.devices[half:]} {
		if _, err := connectSome(ctx, f, devices); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(f.o.settle):
		}
		at[n] = measure(f.o.pids)
	}
	r := result{Scenario: "memory"}
	r.add("connected", float64(f.connected.Load()), "")
	r.add("server memory", float64(at[1].resident)/(1<<20), "MiB")
	r.add("server memory per device", float64(at[1].resident-at[0].resident)/1024/float64(len(f.devices)-half), "KiB")
	return []result{r}, nil
}

// idle leaves the connected devices alone for --duration.
func idle(ctx context.Context, f *fleet) ([]result, error) {
	r, before := result{Scenario: "idle"}, measure(f.o.pids)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(f.o.duration):
	}
	r.add("connected", float64(f.connected.Load()), "")
	r.since(f.o.pids, before, 0, "")
	return []result{r}, nil
}

// reconnect waits until somebody has restarted the server, and then until each device is back.
func reconnect(ctx context.Context, f *fleet) ([]result, error) {
	if f.connected.Load() == 0 {
		return nil, errors.New("no device is connected: put connect before it")
	}
	progress("restart the server now")
	if err := await(ctx, "the end of all connections", func() bool { return f.connected.Load() == 0 }); err != nil {
		return nil, err
	}
	var up atomic.Int64
	begin := time.Now()
	err := await(ctx, "the server's return", func() bool {
		l, err := open(ctx, f.wire, f.wire.dialer(0), f.devices[0].tls)
		if err != nil {
			return false
		}
		l.close()
		up.Store(int64(time.Since(begin)))
		return true
	})
	if err != nil {
		return nil, err
	}
	r, err := connectAll(ctx, f)
	r[0].Scenario = "reconnect"
	r[0].add("server away", time.Duration(up.Load()).Seconds(), "s")
	return r, err
}
