package resident

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/muster/muster/agent/internal/backoff"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/schedule"
)

// Times of inventories that nobody asked for.
const (
	afterChange    = 2 * time.Second // from the end of a change to the inventory that shows it
	inventoryRetry = time.Minute     // first bound of the back-off after one that was not sent
	inventoryCap   = time.Hour       // its last
)

// roll is when one server gets inventories on the agent's own account. The time of the next is on disk: a
// restart neither repeats one nor leaves one out.
type roll struct {
	schedule schedule.Schedule
	jitter   time.Duration
	wanted   bool // the device lets this server have inventories
	retry    backoff.Backoff

	// Under the unit's lock.
	plan identity.Plan
	asks int // grows whenever one is due for another reason than the schedule
}

// planInventories reads the plan from the disk. One is due at once for a server that never got one, and soon
// after a start of the computer: not at once, for many may have started together.
func (u *unit) planInventories(sched schedule.Schedule, jitter time.Duration, bootID string, now time.Time) {
	limit := sched.Interval(now)
	u.roll = roll{
		schedule: sched, jitter: jitter, wanted: slices.Contains(u.allowed, protocol.TaskInventory), plan: u.store.LoadPlan(),
		retry: backoff.Backoff{Base: inventoryRetry, Cap: min(inventoryCap, limit)},
	}
	p := &u.roll.plan
	if p.Next.After(sched.Next(now).Add(jitter)) { // the clock was set back meanwhile
		p.Next = sched.NextJittered(now, jitter)
	}
	if boot := now.Add(rand.N(time.Minute)); p.BootID != bootID && p.BootID != "" && p.Next.After(boot) {
		p.Next = boot
	}
	p.BootID = bootID
}

// inventoryAt is when the next inventory on the agent's own account is due; ok is false when there is none.
func (u *unit) inventoryAt() (at time.Time, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.roll.plan.Next, u.roll.wanted && !u.leaving
}

// inventorySoon makes one due because the computer has changed.
func (u *unit) inventorySoon(at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.roll.asks++
	if u.roll.plan.Next.After(at) {
		u.roll.plan.Next = at
		u.savePlan()
	}
}

// savePlan persists the plan; the caller holds mu. A full disk costs an inventory too many after a restart.
func (u *unit) savePlan() {
	if err := u.store.SavePlan(u.roll.plan); err != nil {
		u.log.Warn("persist the time of the next inventory", logging.Err, err)
	}
}

// inventoryTaken says that the server took an inventory, which began when asks was what it was. A whole one
// stands for the one that was due. The caller holds mu.
func (u *unit) inventoryTaken(now time.Time, asks int, whole bool) {
	p := &u.roll.plan
	p.Last, p.Problem = now.UTC(), ""
	u.roll.retry.Reset()
	switch {
	case !whole:
	case u.roll.asks != asks: // something changed while it was made
		p.Next = now.Add(afterChange)
	default:
		p.Next = u.roll.schedule.NextJittered(now, u.roll.jitter)
	}
}

// dueInventory is that of the servers whose inventory is due first, and when; nil without one.
func dueInventory(units []*unit) (from *unit, at time.Time) {
	for _, u := range units {
		if next, ok := u.inventoryAt(); ok && (from == nil || next.Before(at)) {
			from, at = u, next
		}
	}
	return from, at
}

// takeInventory makes one inventory for a server and plans the next.
func (r *Resident) takeInventory(ctx context.Context, u *unit) {
	u.mu.Lock()
	asks := u.roll.asks
	u.mu.Unlock()
	end, err := r.process(ctx, u, item{task: protocol.Task{Kind: protocol.TaskInventory}, started: true})
	if ctx.Err() != nil {
		return // still due at the next start
	}
	if err == nil && end.State != protocol.StateSucceeded {
		err = errors.New(end.Problem)
	}
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	p := &u.roll.plan
	switch {
	case err == nil:
		u.inventoryTaken(now, asks, true)
	case end.State.Final(): // refused by the server: not again before its time
		u.log.Error("the inventory was not taken", logging.Err, err)
		p.Problem, p.Next = err.Error(), u.roll.schedule.NextJittered(now, u.roll.jitter)
	default:
		if p.Problem == "" {
			u.log.Warn("the inventory was not sent", logging.Err, err)
		}
		p.Problem, p.Next = err.Error(), now.Add(u.roll.retry.Next())
		if end.NextTry.After(p.Next) && end.NextTry.Before(now.Add(longestWait)) { // as the server asks
			p.Next = end.NextTry
		}
	}
	p.Next = p.Next.UTC().Truncate(time.Millisecond)
	u.savePlan()
	if err == nil && r.outside.any() { // it gets what it may have lost of theirs, too
		u.owe(now, true)
	}
	r.statusChanged()
	r.settled()
}
