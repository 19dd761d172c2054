package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// arrivals gathers for each device when its task arrived.
type arrivals struct {
	mu   sync.Mutex
	seen map[*device]bool
}

func (a *arrivals) first(d *device) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := !a.seen[d]
	a.seen[d] = true
	return first
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}

// wake assigns a package to all and waits until each device has its task. The tasks are carried out when
// the last one has, so that the two are measured apart.
func wake(ctx context.Context, f *fleet) ([]result, error) {
	f.putOff.Store(true)
	woken, err := assignment(ctx, f, "wake")
	f.putOff.Store(false)
	if err != nil {
		return woken, err
	}
	r, before, acked := result{Scenario: "carry out"}, measure(f.o.pids), f.ledger.counted()
	f.delivered = newTally()
	for _, d := range f.devices {
		f.busy.Go(func() { d.release(f.ctx) })
	}
	f.busy.Wait()
	f.told(&r, before, acked)
	return append(woken, r), ctx.Err()
}

// deployAll assigns a package to all, and each device carries it out as soon as it hears of it.
func deployAll(ctx context.Context, f *fleet) ([]result, error) {
	before, acked := measure(f.o.pids), f.ledger.counted()
	f.delivered = newTally()
	all, err := assignment(ctx, f, "deploy")
	if err != nil {
		return all, err
	}
	f.busy.Wait()
	r := result{Scenario: "deploy, to the last report"}
	f.told(&r, before, acked)
	return append(all, r), ctx.Err()
}

// told adds how fast reports were acknowledged.
func (f *fleet) told(r *result, before usage, acked int) {
	n := f.ledger.counted() - acked
	r.add("reports", float64(n), "")
	r.since(f.o.pids, before, n, "report")
	r.add("rate", float64(n)/time.Since(before.at).Seconds(), "/s")
	f.delivered.into(r, "report to acknowledgement")
	r.Errors = f.delivered.failed()
}

// assignment gives a package to all and waits until each device has checked in and got its task.
func assignment(ctx context.Context, f *fleet, name string) ([]result, error) {
	if f.connected.Load() != int64(len(f.devices)) {
		return nil, errors.New("not every device is connected: put connect before it")
	}
	if f.o.keep { // the connections are not what is measured
		if err := f.each(ctx, func(ctx context.Context, d *device) error { _, err := d.checkIn(ctx); return err }); err != nil {
			return nil, err
		}
	}
	r, before := result{Scenario: name}, measure(f.o.pids)
	fromWakeup, fromAssignment := newTally(), newTally()
	arrived := arrivals{seen: map[*device]bool{}}
	var begin time.Time
	ready := make(chan struct{}) // begin is set
	heard := f.hear(func(d *device, woken, done time.Time, tasks int, err error) {
		fromWakeup.note(done.Sub(woken), err)
		if err != nil || tasks == 0 {
			return
		}
		<-ready
		fromAssignment.note(done.Sub(begin), nil)
		arrived.first(d)
	})
	defer heard()
	begin, err := f.assignAll(ctx, name)
	made := time.Since(begin)
	close(ready)
	if err != nil {
		return nil, err
	}
	err = await(ctx, "each device's task", func() bool { return arrived.count() == len(f.devices) })
	r.add("devices", float64(arrived.count()), "")
	r.add("assignment answered after", made.Seconds(), "s")
	r.since(f.o.pids, before, fromWakeup.served(), "check-in")
	r.add("check-ins", float64(fromWakeup.served()), "")
	fromWakeup.into(&r, "wakeup to check-in")
	fromAssignment.into(&r, "assignment to task")
	r.Errors = fromWakeup.failed()
	return []result{r}, err
}
