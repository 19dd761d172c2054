// Package schedule says when something is due next: a cron expression with five fields ("*/15 * * * *"),
// a descriptor ("@hourly") or an interval ("@every 15m").
//
// It wraps the parser of robfig/cron, which panics on some inputs, silently rounds intervals up and
// accepts times that never come. Parse refuses all of these, so a Schedule that exists always has a
// next time. It keeps nothing on disk; any program may call it with text that a person typed.
package schedule

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/muster/muster/packages/fault"
)

// Limits of a schedule.
const (
	MinInterval = 10 * time.Second // between two times of any schedule
	maxText     = 256              // bytes
)

// probes is how many consecutive times are compared with MinInterval. Cron expressions cannot go below
// a minute; the check is for intervals and for whatever a later parser may accept.
const probes = 3

// Schedule is a parsed schedule. The zero value is not usable: it comes from Parse.
type Schedule struct {
	text string
	spec cron.Schedule
}

// Parse reads a schedule. Every error is a fault of code invalid that says what to write instead.
func Parse(text string) (s Schedule, err error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > maxText {
		return s, fault.New(fault.Invalid, "a schedule is a cron expression as \"*/15 * * * *\" or an interval as \"@every 15m\", at most %d bytes long", maxText)
	}
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		return s, fault.New(fault.Invalid, "schedule %q names a time zone: leave it out, schedules use the local time of the computer", text)
	}
	defer func() {
		if recover() != nil { // the parser is known to panic on malformed input
			s, err = Schedule{}, fault.New(fault.Invalid, "schedule %q cannot be read", text)
		}
	}()
	if every, ok := strings.CutPrefix(text, "@every "); ok {
		d, perr := time.ParseDuration(strings.TrimSpace(every))
		if perr != nil {
			return s, fault.New(fault.Invalid, "schedule %q: %q is not a length of time; write one as 90s, 15m or 2h", text, every)
		}
		if d < MinInterval {
			return s, fault.New(fault.Invalid, "schedule %q is too often: the shortest interval is %s", text, MinInterval)
		}
	}
	spec, perr := cron.ParseStandard(text)
	if perr != nil {
		return s, fault.New(fault.Invalid, "schedule %q cannot be read: %v", text, perr)
	}
	s = Schedule{text: text, spec: spec}
	return s, s.check(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
}

// check refuses schedules without a next time or with times too close together.
func (s Schedule) check(from time.Time) error {
	last := time.Time{}
	for range probes {
		next := s.spec.Next(from)
		if next.IsZero() {
			return fault.New(fault.Invalid, "schedule %q never comes: no such date exists", s.text)
		}
		if !last.IsZero() && next.Sub(last) < MinInterval {
			return fault.New(fault.Invalid, "schedule %q is too often: the shortest interval is %s", s.text, MinInterval)
		}
		last, from = next, next
	}
	return nil
}

// String is the text the schedule was read from.
func (s Schedule) String() string { return s.text }

// Next is the first time after t.
func (s Schedule) Next(t time.Time) time.Time { return s.spec.Next(t) }

// NextJittered is Next plus a random part of jitter, so that many computers with the same schedule do
// not come at the same moment.
func (s Schedule) NextJittered(t time.Time, jitter time.Duration) time.Time {
	next := s.Next(t)
	if jitter > 0 {
		next = next.Add(rand.N(jitter))
	}
	return next
}

// Interval is the distance between the next two times after t.
func (s Schedule) Interval(t time.Time) time.Duration {
	next := s.Next(t)
	return s.Next(next).Sub(next)
}
