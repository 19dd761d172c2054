// Package session is the agent's side of one server: it checks in by HTTPS, keeps a WebSocket open to be
// told when to check in, and delivers the spool.
//
// The WebSocket is a convenience. It says "check in now" and carries reports and their acks; where it is
// refused, as by a proxy, everything goes by HTTPS alone, only later. Tasks are taken from check-ins and
// from nowhere else. The time of the next check-in, the trust documents and secrets are on disk before
// they count, and a report leaves the spool only when the server has acknowledged it, so a crash costs
// at most a repetition. The resident makes one session per server and runs it once.
package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/muster/muster/agent/internal/backoff"
	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/schedule"
)

// Times.
const (
	quietRetry   = time.Hour           // after a 401: the server does not know us, and may again one day
	firstRetry   = 2 * time.Second     // first bound of a back-off
	rotateAfter  = 30 * 24 * time.Hour // age at which a device changes its secret
	maxAsked     = 24 * 60 * 60        // seconds until the next check-in that a server may ask for
	lookAgain    = 5 * time.Minute     // longest sleep: timers stand still while a computer sleeps, clocks do not
	confirmTrust = time.Second         // from a newer trust document to the check-in that confirms it
)

// Host is what a session needs of the resident. Its functions are called from the session's goroutines.
type Host struct {
	Facts    func() protocol.Facts // for this server
	Attempts func() []string       // unfinished attempts of deployments on disk
	// Offer takes the tasks of an answered check-in; they replace the offer before. With an error the
	// trust documents that came with them are refused, and none of the tasks may be begun.
	Offer   func(tasks []protocol.Task, untrusted error)
	Offline func() // the server could not be reached since the start
	// Asked takes what an answered check-in asks for of the log, nil for nothing, and the server's time. It is
	// called before Offer; may be nil.
	Asked func(setting *protocol.LogSetting, at time.Time)
	// Answered says that a check-in was answered and its answer is on the disk. May be nil.
	Answered func()
	Changed  func() // something in Status changed
	Settled  func() // a burst of work is over
	// Footprint is what the agent has cost so far; the octets are those of tasks for this server. May be nil.
	Footprint func() protocol.Footprint
}

// Options make a Session.
type Options struct {
	Store    *identity.Store
	Schedule schedule.Schedule
	Jitter   time.Duration
	Spool    *spool.Spool
	Instance string // id of this start of the agent
	// PingEvery is how often an open WebSocket is asked for a sign of life; 50 s when zero.
	PingEvery time.Duration
	Host      Host
	Log       *slog.Logger
	// Quiet gets what is to be said of deliveries: were such a line forwarded, its delivery might make another
	// one. Log when nil.
	Quiet *slog.Logger
}

// Status is what a session tells people.
type Status struct {
	Server      string    `json:"server"`
	URL         string    `json:"url"`
	DeviceID    string    `json:"device_id"`
	DeviceState string    `json:"device_state"`
	Connected   bool      `json:"connected"`
	LastCheckIn time.Time `json:"last_check_in"`
	NextCheckIn time.Time `json:"next_check_in"`
	Undelivered int       `json:"undelivered_reports"`
	Lost        int64     `json:"lost_reports"` // given up because the spool was full, or damaged on the disk
	// SkewSeconds is this computer's clock minus the server's, when they are more than 5 minutes apart.
	SkewSeconds int64  `json:"clock_skew_seconds,omitempty"`
	Problem     string `json:"problem,omitempty"`
}

// Session speaks to one server.
type Session struct {
	o       Options
	log     *slog.Logger
	quiet   *slog.Logger
	client  *client.Client
	wake    chan struct{} // check in now
	rearm   chan struct{} // the time of the next check-in changed
	kick    chan struct{} // deliver now
	redial  chan struct{} // connect now
	checkIn sync.Mutex    // one check-in at a time
	deliver sync.Mutex    // one delivery at a time

	mu        sync.Mutex
	id        identity.Identity
	state     identity.State
	trust     int
	next      time.Time // of the next check-in
	notBefore time.Time // asked for by the server (Retry-After)
	problem   string
	socket    *socket
	waiting   *waiter
	decided   bool          // Offer or Offline was called since the start
	skew      time.Duration // our clock minus the server's; 0 while it is small
	retry     backoff.Backoff
}

// New loads the identity and makes the session. It does not connect.
func New(o Options) (*Session, error) {
	id, err := o.Store.Load()
	if err != nil {
		return nil, err
	}
	if !id.Enrolled() {
		return nil, fault.New(fault.Conflict, "the enrollment at %q was not finished: run enroll again", o.Store.Name())
	}
	doc, err := o.Store.LoadTrust(id.RootKeyID)
	if err != nil {
		return nil, err
	}
	s := &Session{
		o: o, log: o.Log.With(logging.Server, o.Store.Name()), id: id, state: o.Store.LoadState(), trust: doc.Version,
		wake: make(chan struct{}, 1), rearm: make(chan struct{}, 1), kick: make(chan struct{}, 1), redial: make(chan struct{}, 1),
	}
	s.quiet = s.log
	if o.Quiet != nil {
		s.quiet = o.Quiet.With(logging.Server, o.Store.Name())
	}
	now := time.Now()
	s.retry = backoff.Backoff{Base: firstRetry, Cap: s.interval(now)}
	s.next = s.state.NextCheckIn
	if latest := now.Add(s.interval(now) + o.Jitter); s.next.After(latest) {
		s.next = latest // the clock was set back meanwhile
	}
	s.next = dueAt(s.next, now)
	s.client, err = client.New(client.Options{
		URLs: id.URLs, CAPEM: id.CAPEM, DeviceID: id.DeviceID, Secret: id.Secret, NextSecret: id.NextSecret, OldSecret: id.OldSecret,
		Promote: s.promote,
	})
	return s, err
}

func (s *Session) interval(now time.Time) time.Duration { return s.o.Schedule.Interval(now) }

// Run keeps the session until ctx ends.
func (s *Session) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.connect(ctx) })
	wg.Go(func() { s.deliverAll(ctx) })
	wg.Go(func() { s.checkInAll(ctx) })
	wg.Wait() // not deferred: a panic must end the program, not wait for the other two
}

// Wake asks for a check-in now.
func (s *Session) Wake() { nudge(s.wake) }

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// checkInAll checks in when it is time or when woken, but not before the server wants it.
func (s *Session) checkInAll(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	woken := false
	for {
		s.mu.Lock()
		at := s.next
		if woken {
			at = time.Time{}
		}
		if s.notBefore.After(at) {
			at = s.notBefore
		}
		s.mu.Unlock()
		timer.Reset(min(max(untilClock(at, time.Now()), 0), lookAgain))
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			woken = true
		case <-s.rearm:
		case <-timer.C:
			if untilClock(at, time.Now()) > 0 {
				continue // only looked at the clock
			}
			woken = false
			_ = s.CheckIn(ctx) // logged and scheduled by CheckIn
		}
	}
}

// CheckIn asks the server what to do and hands the answer to the host. Whatever comes of it, the time of
// the next one is set. Errors are logged here, and returned for callers that wait for the answer.
func (s *Session) CheckIn(ctx context.Context) error {
	s.checkIn.Lock()
	defer s.checkIn.Unlock()
	s.rotate(ctx)
	req, sum := s.request()
	resp, err := s.client.Promote(ctx, req)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.failed(err)
		s.offline(err)
		return fmt.Errorf("check in: %w", err)
	}
	if s.o.Host.Asked != nil {
		s.o.Host.Asked(resp.Log, resp.ServerTime)
	}
	s.o.Host.Offer(resp.Tasks, s.answered(resp, sum))
	s.save() // after the offer: the work need not wait for the disk
	if s.o.Host.Answered != nil {
		s.o.Host.Answered()
	}
	s.o.Host.Changed()
	s.o.Host.Settled()
	return nil
}

// request is what the device says at a check-in, and the digest of its facts.
func (s *Session) request() (protocol.CheckInRequest, string) {
	f := s.o.Host.Facts()
	s.mu.Lock()
	f.ClockSkewSeconds = int64(s.skew / time.Second)
	s.mu.Unlock()
	sum := factsDigest(f)
	req := protocol.CheckInRequest{
		Protocol: protocol.Version, AgentVersion: f.AgentVersion, InstanceID: s.o.Instance, BootID: f.BootID,
		MachineID: f.MachineID, Time: time.Now().UTC(), Attempts: s.o.Host.Attempts(),
	}
	if s.o.Host.Footprint != nil {
		f := s.Footprint()
		req.Footprint = &f
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	req.TrustVersion, req.Connected = s.trust, s.socket != nil
	if sum != s.state.FactsSHA256 {
		f.ChangedAt = req.Time
		req.Facts = &f
	}
	return req, sum
}

// Footprint is what the agent has cost, with the octets exchanged with this server.
func (s *Session) Footprint() protocol.Footprint {
	f := s.o.Host.Footprint()
	sent, received := s.client.Octets()
	f.SentBytes, f.ReceivedBytes = f.SentBytes+sent, f.ReceivedBytes+received
	return f
}

// factsDigest ignores the boot time, which some kernels compute anew from a moving clock; the boot id
// tells a restart.
func factsDigest(f protocol.Facts) string {
	f.ChangedAt = time.Time{}
	if f.BootID != "" {
		f.BootedAt = time.Time{}
	}
	b, err := json.Marshal(f)
	if err != nil { // plain text and numbers always marshal
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// answered takes over what the server says, and when to come again. The caller persists it. The error
// is that of refused trust documents: they are asked for again soon, for what they say may be urgent.
func (s *Session) answered(resp protocol.CheckInResponse, factsSum string) error {
	newer, untrusted := s.acceptTrust(resp.Trust)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != "" && untrusted == nil {
		s.log.Info("the server answers again")
	}
	s.problem, s.notBefore = "", time.Time{}
	s.compare(now, resp.ServerTime)
	s.next = dueAt(s.o.Schedule.NextJittered(now, s.o.Jitter), now)
	if pause := min(resp.NextSeconds, maxAsked); pause > 0 {
		s.earlier(now.Add(time.Duration(pause) * time.Second))
	}
	if untrusted != nil {
		s.problem = untrusted.Error()
		s.earlier(now.Add(s.retry.Next()))
	} else {
		s.retry.Reset()
	}
	if !slices.Contains(deviceStates, resp.State) {
		resp.State = "unknown" // shown and kept, but never acted upon
	}
	if newer {
		s.earlier(now.Add(confirmTrust)) // people wait for it: see who has followed a take-over
	}
	if s.state.DeviceState != resp.State {
		s.log.Info("device state", "state", resp.State)
		if s.state.DeviceState != "" { // what the server refused from this device before, it may take now
			nudge(s.kick)
			nudge(s.redial)
		}
	}
	s.log.Debug("checked in", "tasks", len(resp.Tasks), "next", s.next.Format(time.RFC3339))
	s.state = identity.State{
		NextCheckIn: s.next.UTC(), LastCheckIn: now.UTC(), FactsSHA256: factsSum, DeviceState: resp.State, Offered: works(resp.Tasks),
	}
	s.decided = true
	nudge(s.rearm)
	return untrusted
}

// deviceStates are those that a server may say.
var deviceStates = []string{
	protocol.DevicePending, protocol.DeviceActive, protocol.DeviceQuarantined, protocol.DeviceRevoked,
}

// earlier moves the next check-in forward; the caller holds mu.
func (s *Session) earlier(at time.Time) {
	if at.Before(s.next) {
		s.next = at
	}
}

// uuidLength is that of every id that may become a path.
const uuidLength = 36

// works are the ids of the attempts, and of the tasks of other kinds, that the tasks name.
func works(tasks []protocol.Task) []string {
	var ids []string
	for _, t := range tasks {
		if len(t.Work()) == uuidLength { // else it is never begun, and may be of any length
			ids = append(ids, t.Work())
		}
	}
	return ids
}

// failed sets the time of the next try: with back-off up to the check-in interval, or as the server asks.
func (s *Session) failed(err error) {
	now := time.Now()
	defer s.save()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem == "" {
		s.log.Warn("check in", logging.Err, err)
	} else {
		s.log.Debug("check in", logging.Err, err)
	}
	s.problem = err.Error()
	pause := s.retry.Next()
	if fault.Is(err, fault.Unauthenticated) {
		pause = max(quietRetry, s.interval(now)) + pause
		s.state.DeviceState, s.state.Offered = identity.StateRefused, nil
	}
	if asked := client.RetryAfter(err); asked > 0 {
		pause = asked + pause // jittered, so that not all come back at that second
		s.notBefore = now.Add(pause)
	}
	s.next = now.Add(pause)
	s.state.NextCheckIn = s.next.UTC()
	nudge(s.rearm)
	s.o.Host.Changed()
}

// save persists the state; the caller holds checkIn. A full disk costs an early check-in after a restart.
func (s *Session) save() {
	s.mu.Lock()
	state := s.state
	s.mu.Unlock()
	if err := s.o.Store.SaveState(state); err != nil {
		s.log.Warn("persist the session's state", logging.Err, err)
	}
}

// offline tells the host, once, that there is no answer to wait for. A server that does not know or want
// this device is no server that is away: nothing goes on in its name, and nothing more is begun.
func (s *Session) offline(why error) {
	switch {
	case fault.Is(why, fault.Unauthenticated):
		s.mu.Lock()
		s.decided = true
		s.mu.Unlock()
		s.o.Host.Offer(nil, nil)
		return
	case fault.Is(why, fault.Forbidden):
		return
	}
	s.mu.Lock()
	first := !s.decided
	s.decided = true
	s.mu.Unlock()
	if first {
		s.o.Host.Offline()
	}
}

// Status is how the session stands.
func (s *Session) Status() Status {
	loss := s.o.Spool.Loss()
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{
		Server: s.o.Store.Name(), URL: s.client.URL(), DeviceID: s.id.DeviceID, DeviceState: s.state.DeviceState,
		Connected: s.socket != nil, LastCheckIn: s.state.LastCheckIn, NextCheckIn: s.next.UTC(),
		Undelivered: s.o.Spool.Len(), Lost: loss.Dropped + loss.Damaged, Problem: s.problem, SkewSeconds: int64(s.skew / time.Second),
	}
}
