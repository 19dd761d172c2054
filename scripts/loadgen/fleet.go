package main

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// fleet is all devices and what they have in common.
type fleet struct {
	o       options
	name    string // part of the host names, different in each run
	admin   *admin
	wire    *wire
	devices []*device
	buffers sync.Pool
	ledger  *ledger
	again   *tally // what had to be sent again

	delivered *tally // batches of reports, from the sending to the acknowledgement
	connected atomic.Int64
	wakeups   atomic.Int64
	putOff    atomic.Bool // tasks are kept instead of carried out
	// heard is told of each check-in that follows a wakeup; nil tells nobody.
	heard atomic.Pointer[func(d *device, woken, done time.Time, tasks int, err error)]

	ctx     context.Context // of what runs beside the scenarios
	stop    context.CancelFunc
	reading sync.WaitGroup // goroutines that read WebSockets
	busy    sync.WaitGroup // tasks that are carried out

	mu       sync.Mutex
	problems []error
}

// newFleet enrolls the devices.
func newFleet(ctx context.Context, o options) (*fleet, []result, error) {
	a, err := login(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	e, err := a.enrollment(ctx)
	if err != nil {
		return nil, nil, err
	}
	u, err := url.Parse(e.URLs[0])
	if err != nil {
		return nil, nil, err
	}
	pool, err := learn(ctx, e.URLs[0], e.CA)
	if err != nil {
		return nil, nil, err
	}
	f := &fleet{
		o: o, name: digits(3), admin: a, wire: &wire{base: e.URLs[0], host: u.Host, ca: pool}, ledger: newLedger(),
		again: newTally(), delivered: newTally(),
	}
	f.ctx, f.stop = context.WithCancel(ctx)
	for n := range o.devices {
		f.devices = append(f.devices, newDevice(f, n))
	}
	progress("enroll %d devices", o.devices)
	r, before, t := result{Scenario: "enroll"}, measure(o.pids), newTally()
	err = f.each(ctx, func(ctx context.Context, d *device) error {
		begin := time.Now()
		d.until(ctx, func() error { return d.enroll(ctx, e) })
		t.note(time.Since(begin), ctx.Err())
		return ctx.Err()
	})
	r.add("devices", float64(t.served()), "")
	r.since(o.pids, before, t.served(), "enrollment")
	r.add("rate", float64(t.served())/time.Since(before.at).Seconds(), "/s")
	t.into(&r, "enrollment")
	r.Errors = f.again.failed()
	f.again = newTally()
	if err == nil {
		err = f.trouble()
	}
	for _, d := range f.devices {
		f.reading.Go(func() { d.listen(f.ctx) })
	}
	return f, []result{r}, err
}

// close ends all connections and waits until nothing runs any more.
func (f *fleet) close() {
	f.stop()
	for _, d := range f.devices {
		d.mu.Lock()
		if d.socket != nil {
			_ = d.socket.Close()
		}
		d.mu.Unlock()
	}
	f.reading.Wait()
	f.busy.Wait()
	for _, d := range f.devices {
		d.drop()
	}
}

// drop closes the kept connection.
func (d *device) drop() {
	d.talk.Lock()
	defer d.talk.Unlock()
	if d.kept != nil {
		d.kept.close()
		d.kept = nil
	}
}

// listen checks in whenever the device is woken, until ctx ends.
func (d *device) listen(ctx context.Context) {
	for {
		var woken time.Time
		select {
		case <-ctx.Done():
			return
		case woken = <-d.woken:
		}
		d.until(ctx, func() error {
			tasks, err := d.checkIn(ctx)
			if heard := d.fleet.heard.Load(); heard != nil {
				(*heard)(d, woken, time.Now(), tasks, err)
			}
			return err
		})
	}
}

// each runs fn for every device, --parallel at the same time.
func (f *fleet) each(ctx context.Context, fn func(context.Context, *device) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(f.o.parallel)
	for _, d := range f.devices {
		g.Go(func() error { return fn(ctx, d) })
	}
	return g.Wait()
}

// problem notes what a server must not do; the program fails at its end.
func (f *fleet) problem(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.problems) < 20 {
		f.problems = append(f.problems, err)
	}
}

func (f *fleet) trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.problems...)
}

// ids are the devices' ids.
func (f *fleet) ids() []string {
	ids := make([]string, len(f.devices))
	for n, d := range f.devices {
		ids[n] = d.id
	}
	return ids
}
