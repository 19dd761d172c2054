package logforward

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// How long a batch is collected, at most.
const (
	collect       = 30 * time.Second
	collectFollow = time.Second // while somebody looks on
	tryAgain      = 30 * time.Second
)

// Options make a Forwarder.
type Options struct {
	Store *identity.Store
	Spool *spool.Spool
	// PerMinute and Burst bound the lines, in the long run and at once.
	PerMinute, Burst int
	// Except is the kind of a task whose lines the server gets only when it asked for that task itself; may be empty.
	Except string
}

// Forwarder forwards lines to one server.
type Forwarder struct {
	o     Options
	log   *Log
	quiet *slog.Logger
	limit *rate.Limiter

	flushing sync.Mutex // one at a time spools batches

	mu       sync.Mutex
	asked    identity.Forwarding
	levelEnd time.Time // when the level of the setting ends, by both clocks
	followed time.Time // until when somebody looks on
	batch    *batch    // that is written to; nil without lines
	due      time.Time // when it is to be spooled
	waiting  []string  // ids of those that are to be spooled now
	dropped  int64     // lines that no batch tells of yet
	timer    *time.Timer
	problem  string // that was logged last
	closed   bool
}

// Forward makes the Forwarder of a server, which goes on as it was asked to before this start. Close must be
// called before the spool is closed.
func (l *Log) Forward(o Options) *Forwarder {
	f := &Forwarder{
		o: o, log: l, quiet: l.Quiet().With(logging.Server, o.Store.Name()), limit: rate.NewLimiter(rate.Limit(float64(o.PerMinute)/60), o.Burst),
	}
	f.timer = time.AfterFunc(0, f.flush)
	f.timer.Stop()
	now := time.Now()
	f.mu.Lock()
	f.resume(now)
	f.waiting = f.left()
	if len(f.waiting) > 0 {
		f.timer.Reset(0)
	}
	f.mu.Unlock()
	l.add(f)
	return f
}

// resume takes up what was asked for before. Where the clock was set back meanwhile nobody knows how much of a
// time has passed: then it begins anew, once, and never becomes longer.
func (f *Forwarder) resume(now time.Time) {
	f.asked = f.o.Store.LoadForwarding()
	if f.asked.Setting.Level == "" {
		f.asked.Setting.Level = protocol.LogOff
	}
	passed := max(now.Sub(f.asked.At), 0)
	f.levelEnd, f.followed = now.Add(f.asked.LevelFor-passed), now.Add(f.asked.FollowFor-passed)
}

// Set takes what the server asks for in an answered check-in, nil for nothing; at is what the server's clock says.
func (f *Forwarder) Set(setting *protocol.LogSetting, at time.Time) {
	asked := identity.Forwarding{Setting: protocol.LogSetting{Level: protocol.LogOff}}
	if setting != nil {
		if err := setting.Validate(); err != nil {
			f.quiet.Debug("what the server asks for of the log is not understood; it gets no lines", logging.Err, err)
		} else {
			asked.Setting = *setting
		}
	}
	now := time.Now()
	if at.IsZero() {
		at = now
	}
	asked.At = now.UTC()
	asked.LevelFor, asked.FollowFor = left(asked.Setting.Until, at), left(asked.Setting.Follow, at)
	f.mu.Lock()
	before := f.asked.Setting
	f.asked, f.levelEnd, f.followed = asked, now.Add(asked.LevelFor), now.Add(asked.FollowFor)
	if f.batch != nil {
		f.due = soonest(f.due, now.Add(f.pause(now)))
		f.arm(now)
	}
	f.mu.Unlock()
	f.log.relevel(now)
	if same(before, asked.Setting) {
		return
	}
	if err := f.o.Store.SaveForwarding(asked); err != nil {
		f.quiet.Warn("keep what the server asks for of the log", logging.Err, err)
	}
	if before.Level != asked.Setting.Level {
		f.quiet.Info("the server asks for log lines", "from", asked.Setting.Level, "for", asked.LevelFor.Round(time.Second))
	}
}

// left is how long it is until a time; 0 when it is over, or none.
func left(until *time.Time, now time.Time) time.Duration {
	if until == nil {
		return 0
	}
	return max(until.Sub(now), 0)
}

func same(a, b protocol.LogSetting) bool {
	equal := func(a, b *time.Time) bool {
		return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
	}
	return a.Level == b.Level && a.After == b.After && equal(a.Until, b.Until) && equal(a.Follow, b.Follow)
}

// over reports whether a time has come, by whichever clock is further: the monotonic one stands still while a
// computer sleeps, the wall clock may be set back.
func over(at, now time.Time) bool { return !now.Before(at) || !now.Round(0).Before(at.Round(0)) }

func soonest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// levels are those of lines by their names on the wire.
var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

// Level is what the server gets now: one of protocol.LogLevels, or protocol.LogOff.
func (f *Forwarder) Level() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.name(time.Now())
}

// name is the level of now; the caller holds mu.
func (f *Forwarder) name(now time.Time) string {
	switch s := f.asked.Setting; {
	case s.Until != nil && over(f.levelEnd, now):
		return s.After
	default:
		return s.Level
	}
}

func (f *Forwarder) level(now time.Time) (slog.Level, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	level, on := levels[f.name(now)]
	return level, on && !f.closed
}

// pause is how long lines are collected; the caller holds mu.
func (f *Forwarder) pause(now time.Time) time.Duration {
	if f.asked.Setting.Follow != nil && !over(f.followed, now) {
		return collectFollow
	}
	return collect
}

// take takes a line, if it is for this server, and reports whether the server wants lines of its level. It may
// be called by who holds any lock, and so does no more than to append to a file.
func (f *Forwarder) take(line logging.Line, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, on := levels[f.name(now)]
	if !on || f.closed || line.Level < from {
		return false
	}
	if line.Server != "" && line.Server != f.o.Store.Name() || line.Server == "" && line.Task == f.o.Except {
		return true
	}
	if f.batch == nil && !f.begin(now) {
		return true
	}
	if !f.limit.AllowN(now, 1) {
		f.dropped++
		return true
	}
	if err := f.batch.append(wire(line)); err != nil {
		f.dropped++
		f.complain(err)
	}
	if f.batch.full() {
		f.seal()
		f.timer.Reset(0)
	}
	return true
}

// begin begins a batch; false when that cannot be. The caller holds mu.
func (f *Forwarder) begin(now time.Time) bool {
	if len(f.waiting) >= maxWaiting {
		f.dropped++
		return false
	}
	b, err := newBatch(f.dir())
	if err != nil {
		f.dropped++
		f.complain(err)
		return false
	}
	f.batch, f.due = b, now.Add(f.pause(now))
	f.arm(now)
	return true
}

// arm sets the timer for the batch that is written to; the caller holds mu.
func (f *Forwarder) arm(now time.Time) {
	if len(f.waiting) == 0 {
		f.timer.Reset(max(f.due.Sub(now), 0))
	}
}

// count tells in the batch how many lines were dropped. The caller holds mu.
func (f *Forwarder) count() {
	dropped := f.dropped + f.o.Spool.TakeDroppedLines()
	f.dropped = 0
	if dropped == 0 {
		return
	}
	if err := f.batch.tell(dropped); err != nil {
		f.dropped = dropped
		f.complain(err)
	}
}

// seal ends the batch that is written to. The caller holds mu.
func (f *Forwarder) seal() {
	if err := f.batch.file.Close(); err != nil {
		f.complain(err)
	}
	f.waiting = append(f.waiting, f.batch.id)
	f.batch = nil
}

// complain says on this computer, once, what hinders; the caller holds mu.
func (f *Forwarder) complain(err error) {
	if f.problem != err.Error() {
		f.problem = err.Error()
		f.quiet.Warn("log lines are not forwarded; they are counted", logging.Err, err)
	}
}

// flush spools what is due.
func (f *Forwarder) flush() {
	f.flushing.Lock()
	defer f.flushing.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.batch != nil && (f.closed || !time.Now().Before(f.due)) {
		f.count()
		f.seal()
	}
	for len(f.waiting) > 0 {
		id := f.waiting[0]
		f.mu.Unlock()
		err := f.spool(id)
		f.mu.Lock()
		if err != nil {
			f.complain(err)
			if !f.closed {
				f.timer.Reset(tryAgain)
			}
			return
		}
		f.waiting = f.waiting[1:]
	}
	f.problem, f.waiting = "", nil
	if f.batch != nil {
		f.arm(time.Now())
	}
}

// Flush spools what was collected so far.
func (f *Forwarder) Flush() {
	f.mu.Lock()
	f.due = time.Time{}
	f.mu.Unlock()
	f.flush()
}

// Close spools what was collected and takes no more lines.
func (f *Forwarder) Close() {
	f.log.remove(f)
	f.mu.Lock()
	f.closed = true
	f.timer.Stop()
	f.mu.Unlock()
	f.flush()
}
