package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster/muster/packages/protocol"
)

// checkIns measures check-ins at --rate, or as many as the server answers.
func checkIns(ctx context.Context, f *fleet) ([]result, error) {
	if f.o.rate <= 0 {
		r, _, err := closedLoop(ctx, f, f.o.duration)
		return []result{r}, err
	}
	r, err := openLoop(ctx, f, fmt.Sprintf("check-ins at %.0f/s", f.o.rate), f.o.rate, f.o.duration)
	return []result{r}, err
}

// closedLoop keeps --parallel check-ins under way and returns how many per second were answered.
func closedLoop(ctx context.Context, f *fleet, length time.Duration) (result, float64, error) {
	if err := f.warm(ctx); err != nil {
		return result{}, 0, err
	}
	r, t, before := result{Scenario: fmt.Sprintf("check-ins, %d at a time", f.o.parallel)}, newTally(), measure(f.o.pids)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range f.o.parallel {
		workers.Go(func() {
			for ctx.Err() == nil && time.Since(before.at) < length {
				d := f.devices[int(next.Add(1))%len(f.devices)]
				begin := time.Now()
				_, err := d.checkIn(ctx)
				t.note(time.Since(begin), err)
			}
		})
	}
	workers.Wait()
	rate := float64(t.served()) / time.Since(before.at).Seconds()
	r.add("check-ins", float64(t.served()), "")
	r.since(f.o.pids, before, t.served(), "check-in")
	r.add("rate", rate, "/s")
	t.into(&r, "check-in")
	r.Errors = t.failed()
	return r, rate, ctx.Err()
}

// warm opens the kept connections, when they are kept, so that they are not measured.
func (f *fleet) warm(ctx context.Context) error {
	if !f.o.keep {
		return nil
	}
	return f.each(ctx, func(ctx context.Context, d *device) error {
		_, err := d.checkIn(ctx)
		return err
	})
}

// openLoop begins check-ins when they are due, whatever became of those before; latency counts from then, so
// that what a slow server holds up is not left out. Devices do as agents do: one that was told to come later
// does not come before, and one whose check-in is under way begins no second one.
func openLoop(ctx context.Context, f *fleet, name string, rate float64, length time.Duration) (result, error) {
	if err := f.warm(ctx); err != nil {
		return result{}, err
	}
	r, t, before := result{Scenario: name}, newTally(), measure(f.o.pids)
	var all sync.WaitGroup
	begin, quiet, merged, total := time.Now(), 0, 0, int(rate*length.Seconds())
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; n < total && ctx.Err() == nil; {
		due := min(int(rate*time.Since(begin).Seconds())+1, total)
		for ; n < due; n++ {
			d, at := f.devices[n%len(f.devices)], begin.Add(time.Duration(float64(n)/rate*float64(time.Second)))
			switch {
			case at.UnixNano() < d.quiet.Load():
				quiet++
			case !d.under.CompareAndSwap(false, true):
				merged++
			default:
				all.Go(func() { d.due(ctx, at, t) })
			}
		}
		<-tick.C
	}
	lasted := time.Since(begin).Seconds()
	all.Wait()
	r.add("check-ins due", float64(total)/lasted, "/s")
	r.since(f.o.pids, before, t.served(), "served check-in")
	r.add("check-ins served", float64(t.served())/lasted, "/s")
	r.add("told to come later, and not yet back", float64(quiet)/lasted, "/s")
	r.add("one was under way already", float64(merged)/lasted, "/s")
	t.into(&r, "check-in")
	r.Errors = t.failed()
	return r, ctx.Err()
}

// due makes a check-in that was due at a time, and takes note of when to come again.
func (d *device) due(ctx context.Context, at time.Time, t *tally) {
	defer d.under.Store(false)
	_, err := d.checkIn(ctx)
	t.note(time.Since(at), err)
	var status *statusError
	if errors.As(err, &status) {
		d.quiet.Store(time.Now().Add(status.retryAfter).UnixNano())
	}
}

// reports sends batches of reports that say why a deployment waits. A device has done its part when its
// deployment's timeline is full.
func reports(ctx context.Context, f *fleet) ([]result, error) {
	f.putOff.Store(true)
	prepared, err := assignment(ctx, f, "reports")
	f.putOff.Store(false)
	if err != nil {
		return prepared, err
	}
	const most = 480 // of one attempt; the server takes 500 that do not move it on
	r, before, acked := result{Scenario: fmt.Sprintf("reports, %d at once", f.o.batch)}, measure(f.o.pids), f.ledger.counted()
	f.delivered = newTally()
	var senders sync.WaitGroup
	for _, d := range f.devices {
		d.mu.Lock()
		held := d.held
		d.mu.Unlock()
		if len(held) == 0 {
			continue
		}
		senders.Go(func() {
			for sent := 0; sent+f.o.batch <= most && time.Since(before.at) < f.o.duration && ctx.Err() == nil; sent += f.o.batch {
				batch := make([]protocol.Report, f.o.batch)
				for n := range batch {
					var err error
					if batch[n], err = newReport(held[0], protocol.StateWaiting); err != nil {
						f.problem(err)
						return
					}
					batch[n].Deployment.Reason = protocol.ReasonBusy
				}
				d.until(ctx, func() error { return d.deliver(ctx, batch) })
			}
		})
	}
	senders.Wait()
	f.told(&r, before, acked)
	for _, d := range f.devices { // so that no deployment is left open
		f.busy.Go(func() { d.release(f.ctx) })
	}
	f.busy.Wait()
	return append(prepared[:0], r), ctx.Err()
}

// overload finds out how many check-ins per second the server answers, offers as many for --duration, and then
// twice as many. Each time, evenly spread, each device carries out a deployment.
func overload(ctx context.Context, f *fleet) ([]result, error) {
	const short = 10 * time.Second
	found, capacity, err := closedLoop(ctx, f, short)
	all := []result{found}
	if err != nil {
		return all, err
	}
	var p99 []float64
	for _, phase := range []struct {
		name  string
		times float64
	}{{"at capacity", 1}, {"at twice the capacity", 2}} {
		f.putOff.Store(true)
		_, err := assignment(ctx, f, "overload")
		f.putOff.Store(false)
		if err != nil {
			return all, err
		}
		f.delivered = newTally()
		spread, pause := time.Now(), f.o.duration/time.Duration(len(f.devices))
		f.busy.Go(func() {
			for n, d := range f.devices {
				select {
				case <-f.ctx.Done():
				case <-time.After(time.Until(spread.Add(time.Duration(n) * pause))):
				}
				f.busy.Go(func() { d.release(f.ctx) })
			}
		})
		acked := f.ledger.counted()
		r, err := openLoop(ctx, f, phase.name, phase.times*capacity, f.o.duration)
		if err != nil {
			return append(all, r), err
		}
		f.busy.Wait()
		r.add("reports acknowledged", float64(f.ledger.counted()-acked), "")
		f.delivered.into(&r, "report to acknowledgement")
		p99 = append(p99, r.figureOf("check-in p99"))
		if len(p99) == 2 && p99[0] > 0 {
			r.add("p99 against that at capacity", p99[1]/p99[0], "times")
		}
		all = append(all, r)
	}
	return all, nil
}
