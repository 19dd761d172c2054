// Package verdict compares what really ran with what is told of it: the ledger to which the executed
// commands themselves wrote, the journals of the devices and the rows of the server. It knows what must
// hold however often and wherever everything was killed, and holds no state; Check is a pure function.
package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Evidence is all that is known after a run in which everything has come to its end.
type Evidence struct {
	Packages    map[string]Package // by id
	Runs        []Run
	Journals    []Journal
	Deployments []Deployment
}

// Package is what its author asked for.
type Package struct {
	Name      string
	Runs      bool // it has a command; else it places files
	Exit      int  // of the command, in the end
	Ends      End  // how a deployment ends that nothing interrupted
	RerunSafe bool // an interrupted attempt is tried again
	First     bool // of priority 0: nothing else runs until it has succeeded
}

// End is how a deployment is to end.
type End string

// The ends.
const (
	Succeeds End = "succeeded"
	Fails    End = "failed"
)

// Run is a line of the ledger.
type Run struct {
	Attempt string
	PID     int
	Time    time.Time
	Ended   bool // the command's last line, not its first
}

// Journal is one attempt's journal on a device.
type Journal struct {
	Device  string
	Attempt string
	Records []Record
}

// Record is a journalled report.
type Record struct {
	ID    string
	State string
	Time  time.Time
}

// Deployment is a deployment on the server.
type Deployment struct {
	ID       string
	Device   string
	Package  string
	State    string
	Reason   string
	Live     bool
	Attempts []Attempt
	Timeline []Entry
}

// Attempt is one attempt's row.
type Attempt struct {
	ID       string
	Number   int
	State    string
	ExitCode *int
}

// Entry is a row of a timeline.
type Entry struct {
	Seq     int
	Report  string // empty unless a device reported it
	Source  string
	Attempt int
	State   string
	Reason  string
	Message string
}

// Kind says which promise was broken.
type Kind string

// The kinds.
const (
	RanTwice     Kind = "ran twice"      // one attempt's command began more than once
	Unannounced  Kind = "unannounced"    // it began before that stood in the journal
	NeverBegun   Kind = "never begun"    // an attempt ended as if its command had begun
	ReportLost   Kind = "report lost"    // journalled on the device, not on the server
	ReportTwice  Kind = "report doubled" // counted more than once
	OutOfOrder   Kind = "out of order"   // a journal goes backwards
	Unfinished   Kind = "unfinished"     // a deployment did not come to its end
	WrongEnd     Kind = "wrong end"      // it came to another end than its package asks for
	TriedAgain   Kind = "tried again"    // after an interrupt, though the package does not allow it
	HeldBack     Kind = "held back"      // it ran while a package of priority 0 held it back
	WrongResult  Kind = "wrong result"   // the server shows another result than the command had
	UnknownTruth Kind = "unknown"        // the ledger holds what nobody knows of
)

// Violation is a broken promise, with what is needed to understand it.
type Violation struct {
	Kind Kind
	Text string
}

// String is for people.
func (v Violation) String() string { return string(v.Kind) + ": " + v.Text }

// Check returns every violation.
func Check(e Evidence) []Violation {
	c := newChecker(e)
	c.ledger()
	c.journals()
	c.priorities()
	for i := range e.Deployments {
		c.deployment(&e.Deployments[i])
	}
	return c.found
}

type checker struct {
	Evidence
	began    map[string][]Run // by attempt
	journal  map[string]*Journal
	attempts map[string]*Deployment
	reports  map[string]int // rows by report
	found    []Violation
}

func newChecker(e Evidence) *checker {
	c := &checker{
		Evidence: e, began: map[string][]Run{}, journal: map[string]*Journal{}, attempts: map[string]*Deployment{}, reports: map[string]int{},
	}
	for _, r := range e.Runs {
		if !r.Ended {
			c.began[r.Attempt] = append(c.began[r.Attempt], r)
		}
	}
	for i := range e.Journals {
		c.journal[e.Journals[i].Attempt] = &e.Journals[i]
	}
	for i := range e.Deployments {
		d := &e.Deployments[i]
		for _, a := range d.Attempts {
			c.attempts[a.ID] = d
		}
		for _, entry := range d.Timeline {
			if entry.Report != "" {
				c.reports[entry.Report]++
			}
		}
	}
	return c
}

func (c *checker) violation(kind Kind, attempt, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if attempt != "" {
		text += c.account(attempt)
	}
	c.found = append(c.found, Violation{kind, text})
}

// account is all that is known of an attempt.
func (c *checker) account(attempt string) string {
	var b strings.Builder
	for _, r := range c.Runs {
		if r.Attempt == attempt {
			fmt.Fprintf(&b, "\n  ledger: %s process %d ended=%v", r.Time.Format(time.StampMicro), r.PID, r.Ended)
		}
	}
	if j := c.journal[attempt]; j != nil {
		for _, r := range j.Records {
			fmt.Fprintf(&b, "\n  journal: %s %s %s", r.Time.Format(time.StampMicro), r.State, r.ID)
		}
	}
	if d := c.attempts[attempt]; d != nil {
		fmt.Fprintf(&b, "\n  deployment %s of %s on %s: %s %s live=%v", d.ID, c.Packages[d.Package].Name, d.Device, d.State, d.Reason, d.Live)
		for _, a := range d.Attempts {
			fmt.Fprintf(&b, "\n  attempt %d %s: %s", a.Number, a.ID, a.State)
		}
		for _, e := range d.Timeline {
			fmt.Fprintf(&b, "\n  timeline: %d %s #%d %s %s %s %s", e.Seq, e.Source, e.Attempt, e.State, e.Reason, e.Report, e.Message)
		}
	}
	return b.String()
}

// ledger looks at what ran.
func (c *checker) ledger() {
	for attempt, runs := range c.began {
		if len(runs) > 1 {
			c.violation(RanTwice, attempt, "attempt %s began %d times", attempt, len(runs))
		}
		if c.attempts[attempt] == nil {
			c.violation(UnknownTruth, attempt, "attempt %s ran, and the server has no such attempt", attempt)
			continue
		}
		j := c.journal[attempt]
		if j == nil {
			c.violation(Unannounced, attempt, "attempt %s ran, and no journal tells of it", attempt)
			continue
		}
		first := slices.MinFunc(runs, func(a, b Run) int { return a.Time.Compare(b.Time) })
		at := slices.IndexFunc(j.Records, func(r Record) bool { return r.State == "started" })
		if at < 0 || j.Records[at].Time.After(first.Time) {
			c.violation(Unannounced, attempt, "attempt %s ran before `started` was journalled", attempt)
		}
	}
}

// journals looks at what the devices wrote down.
func (c *checker) journals() {
	for _, j := range c.Journals {
		last := 0
		for _, r := range j.Records {
			if c.reports[r.ID] == 0 {
				c.violation(ReportLost, j.Attempt, "device %s journalled report %s (%s of attempt %s), and the server does not have it", j.Device, r.ID, r.State, j.Attempt)
			}
			if r.State == "waiting" {
				continue
			}
			if now := rank(r.State); now <= last {
				c.violation(OutOfOrder, j.Attempt, "the journal of attempt %s has %s after a later state", j.Attempt, r.State)
			} else {
				last = now
			}
		}
	}
}

// priorities looks for commands that were begun on a device that had accepted a package of priority 0 and
// had not succeeded with it.
func (c *checker) priorities() {
	for i := range c.Deployments {
		d := &c.Deployments[i]
		if !c.Packages[d.Package].First {
			continue
		}
		from, to := c.when(d, "accepted"), c.when(d, "succeeded")
		for attempt := range c.began {
			other := c.attempts[attempt]
			if other == nil || other.Device != d.Device || c.Packages[other.Package].First {
				continue
			}
			if at, ok := c.record(attempt, "started"); ok && at.After(from) && at.Before(to) {
				c.violation(HeldBack, attempt, "attempt %s was started between %s and %s, while %s held it back (deployment %s)",
					attempt, from.Format(time.StampMicro), to.Format(time.StampMicro), c.Packages[d.Package].Name, d.ID)
			}
		}
	}
}

// when is the first time at which the device journalled a state of a deployment; zero if it never did.
func (c *checker) when(d *Deployment, state string) (first time.Time) {
	for _, a := range d.Attempts {
		if at, ok := c.record(a.ID, state); ok && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func (c *checker) record(attempt, state string) (time.Time, bool) {
	if j := c.journal[attempt]; j != nil {
		for _, r := range j.Records {
			if r.State == state {
				return r.Time, true
			}
		}
	}
	return time.Time{}, false
}

func rank(state string) int {
	order := []string{"accepted", "fetching", "fetched", "unpacked", "started"}
	if n := slices.Index(order, state); n >= 0 {
		return n + 1
	}
	return len(order) + 1
}

// deployment looks at what the server tells.
func (c *checker) deployment(d *Deployment) {
	current := slices.MaxFunc(d.Attempts, func(a, b Attempt) int { return cmp.Compare(a.Number, b.Number) }).ID
	c.timeline(d, current)
	for _, a := range d.Attempts {
		c.attempt(d, a)
	}
	pkg := c.Packages[d.Package]
	switch {
	case d.Live:
		c.violation(Unfinished, current, "deployment %s is still %s", d.ID, d.State)
	case d.State == string(pkg.Ends):
	case d.State == "interrupted" && pkg.Runs:
	default:
		c.violation(WrongEnd, current, "deployment %s of %s ended as %s (%s), not %s", d.ID, pkg.Name, d.State, d.Reason, pkg.Ends)
	}
}

// timeline counts what a device reported: each report once, each state of an attempt once.
func (c *checker) timeline(d *Deployment, current string) {
	type key struct {
		attempt int
		state   string
	}
	seen := map[key]bool{}
	for _, e := range d.Timeline {
		if e.Source != "device" {
			continue
		}
		if e.Report == "" || c.reports[e.Report] > 1 {
			c.violation(ReportTwice, current, "deployment %s: row %d (%s) of the timeline is report %q, which counts %d times", d.ID, e.Seq, e.State, e.Report, c.reports[e.Report])
		}
		k := key{e.Attempt, e.State}
		if e.State != "waiting" && seen[k] {
			c.violation(ReportTwice, current, "deployment %s: the device reported %s of attempt %d twice", d.ID, e.State, e.Attempt)
		}
		seen[k] = true
	}
}

// attempt compares the end of an attempt with what ran.
func (c *checker) attempt(d *Deployment, a Attempt) {
	pkg := c.Packages[d.Package]
	entry := func(state string) *Entry {
		for i, e := range d.Timeline {
			if e.Source == "device" && e.Attempt == a.Number && e.State == state {
				return &d.Timeline[i]
			}
		}
		return nil
	}
	ended := entry(a.State)
	switch {
	case a.State == "interrupted":
		if entry("started") == nil {
			c.violation(NeverBegun, a.ID, "attempt %s is interrupted, and was never started", a.ID)
		}
		next := slices.IndexFunc(d.Attempts, func(b Attempt) bool { return b.Number == a.Number+1 })
		asked := slices.ContainsFunc(d.Timeline, func(e Entry) bool { return e.Source == "admin" && e.Attempt == a.Number+1 })
		if next >= 0 && !pkg.RerunSafe && !asked {
			c.violation(TriedAgain, a.ID, "attempt %s was interrupted and followed by another, which its package %s does not allow", a.ID, pkg.Name)
		}
	case pkg.Runs && ended != nil && (ended.Reason == "exit_code" || ended.Reason == "reboot_needed"):
		if len(c.began[a.ID]) == 0 {
			c.violation(NeverBegun, a.ID, "attempt %s is %s, and its command never began", a.ID, a.State)
		}
	}
	if a.State == "succeeded" && ended != nil && ended.Reason == "exit_code" && pkg.Runs && a.ExitCode != nil && *a.ExitCode != pkg.Exit {
		c.violation(WrongResult, a.ID, "attempt %s shows exit code %d, the command's is %d", a.ID, *a.ExitCode, pkg.Exit)
	}
}
