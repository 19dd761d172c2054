package verdict_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/scripts/chaos/verdict"
)

var (
	begin = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	zero  = 0
	seven = 7
)

// good is a deployment that ran once and was told once.
func good() verdict.Evidence {
	e := verdict.Evidence{
		Packages: map[string]verdict.Package{"p": {Name: "tool", Runs: true, Ends: verdict.Succeeds}},
		Runs: []verdict.Run{
			{Attempt: "a1", PID: 10, Time: begin.Add(3 * time.Second)},
			{Attempt: "a1", PID: 10, Time: begin.Add(4 * time.Second), Ended: true},
		},
		Journals: []verdict.Journal{{Device: "d", Attempt: "a1"}},
		Deployments: []verdict.Deployment{{
			ID: "x", Device: "d", Package: "p", State: "succeeded", Reason: "exit_code",
			Attempts: []verdict.Attempt{{ID: "a1", Number: 1, State: "succeeded", ExitCode: &zero}},
			Timeline: []verdict.Entry{{Seq: 1, Source: "admin", Attempt: 1, State: "assigned"}},
		}},
	}
	for n, state := range []string{"accepted", "started", "succeeded"} {
		reason := ""
		if state == "succeeded" {
			reason = "exit_code"
		}
		e.Journals[0].Records = append(e.Journals[0].Records, verdict.Record{ID: "r-" + state, State: state, Time: begin.Add(time.Duration(n+1) * time.Second)})
		e.Deployments[0].Timeline = append(e.Deployments[0].Timeline,
			verdict.Entry{Seq: n + 2, Source: "device", Attempt: 1, State: state, Reason: reason, Report: "r-" + state})
	}
	return e
}

// ends makes the only attempt end in another way.
func ends(e *verdict.Evidence, state, reason string) {
	j, d := e.Journals[0].Records, &e.Deployments[0]
	j[len(j)-1].State = state
	last := &d.Timeline[len(d.Timeline)-1]
	last.State, last.Reason = state, reason
	d.State, d.Reason, d.Attempts[0].State = state, reason, state
}

func TestCheck(t *testing.T) {
	t.Parallel()
	second := func(e *verdict.Evidence, admin bool) {
		d := &e.Deployments[0]
		ends(e, "interrupted", "no_status")
		d.Attempts = append(d.Attempts, verdict.Attempt{ID: "a2", Number: 2, State: "assigned"})
		if admin {
			d.Timeline = append(d.Timeline, verdict.Entry{Seq: 9, Source: "admin", Attempt: 2, State: "assigned", Reason: "retry"})
		}
	}
	for name, c := range map[string]struct {
		change func(e *verdict.Evidence)
		want   []verdict.Kind
	}{
		"all is well":                      {func(*verdict.Evidence) {}, nil},
		"interrupted after its start":      {func(e *verdict.Evidence) { ends(e, "interrupted", "no_status") }, nil},
		"interrupted, run again by hand":   {func(e *verdict.Evidence) { second(e, true) }, nil},
		"interrupted, run again unasked":   {func(e *verdict.Evidence) { second(e, false) }, []verdict.Kind{verdict.TriedAgain}},
		"began twice":                      {func(e *verdict.Evidence) { e.Runs = append(e.Runs, e.Runs[0]) }, []verdict.Kind{verdict.RanTwice}},
		"ran for nobody":                   {func(e *verdict.Evidence) { e.Runs = append(e.Runs, verdict.Run{Attempt: "a9"}) }, []verdict.Kind{verdict.UnknownTruth}},
		"began before it was journalled":   {func(e *verdict.Evidence) { e.Runs[0].Time = begin }, []verdict.Kind{verdict.Unannounced}},
		"ran without a journal":            {func(e *verdict.Evidence) { e.Journals = nil }, []verdict.Kind{verdict.Unannounced}},
		"succeeded and never ran":          {func(e *verdict.Evidence) { e.Runs = nil }, []verdict.Kind{verdict.NeverBegun}},
		"already installed and never ran":  {func(e *verdict.Evidence) { e.Runs = nil; ends(e, "succeeded", "already_installed") }, nil},
		"another exit code":                {func(e *verdict.Evidence) { e.Deployments[0].Attempts[0].ExitCode = &seven }, []verdict.Kind{verdict.WrongResult}},
		"a deployment goes on for ever":    {func(e *verdict.Evidence) { e.Deployments[0].Live = true }, []verdict.Kind{verdict.Unfinished}},
		"failed, and should have not":      {func(e *verdict.Evidence) { ends(e, "failed", "exit_code") }, []verdict.Kind{verdict.WrongEnd}},
		"the journal goes backwards":       {func(e *verdict.Evidence) { slices.Reverse(e.Journals[0].Records[:2]) }, []verdict.Kind{verdict.OutOfOrder}},
		"a state is told under two ids":    {func(e *verdict.Evidence) { again(e, "other") }, []verdict.Kind{verdict.ReportTwice}},
		"a report is there without its id": {func(e *verdict.Evidence) { again(e, "") }, []verdict.Kind{verdict.ReportTwice, verdict.ReportTwice}},
		"while another held it back": {func(e *verdict.Evidence) {
			first(e, begin, begin.Add(time.Minute))
		}, []verdict.Kind{verdict.HeldBack}},
		"after another held it back":  {func(e *verdict.Evidence) { first(e, begin, begin.Add(time.Second)) }, nil},
		"before another held it back": {func(e *verdict.Evidence) { first(e, begin.Add(2*time.Second), begin.Add(time.Minute)) }, nil},
		"a report did not arrive": {func(e *verdict.Evidence) {
			e.Deployments[0].Timeline = slices.Delete(e.Deployments[0].Timeline, 1, 2)
		}, []verdict.Kind{verdict.ReportLost}},
		"interrupted and never started": {func(e *verdict.Evidence) {
			ends(e, "interrupted", "no_status")
			e.Runs = nil
			e.Journals[0].Records = slices.Delete(e.Journals[0].Records, 1, 2)
			e.Deployments[0].Timeline = slices.Delete(e.Deployments[0].Timeline, 2, 3)
		}, []verdict.Kind{verdict.NeverBegun}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := good()
			c.change(&e)
			var got []verdict.Kind
			for _, v := range verdict.Check(e) {
				got = append(got, v.Kind)
			}
			require.Equal(t, c.want, got, "%v", verdict.Check(e))
		})
	}
}

// again adds a second row for the state accepted.
func again(e *verdict.Evidence, report string) {
	e.Deployments[0].Timeline = append(e.Deployments[0].Timeline,
		verdict.Entry{Seq: 9, Source: "device", Attempt: 1, State: "accepted", Report: report})
}

// first adds a deployment of priority 0 on the same device.
func first(e *verdict.Evidence, accepted, succeeded time.Time) {
	e.Packages["q"] = verdict.Package{Name: "base", Runs: true, Ends: verdict.Succeeds, First: true}
	e.Journals = append(e.Journals, verdict.Journal{Device: "d", Attempt: "b1", Records: []verdict.Record{
		{ID: "q-accepted", State: "accepted", Time: accepted}, {ID: "q-succeeded", State: "succeeded", Time: succeeded},
	}})
	e.Deployments = append(e.Deployments, verdict.Deployment{
		ID: "y", Device: "d", Package: "q", State: "succeeded", Reason: "already_installed",
		Attempts: []verdict.Attempt{{ID: "b1", Number: 1, State: "succeeded"}},
		Timeline: []verdict.Entry{
			{Seq: 1, Source: "device", Attempt: 1, State: "accepted", Report: "q-accepted"},
			{Seq: 2, Source: "device", Attempt: 1, State: "succeeded", Reason: "already_installed", Report: "q-succeeded"},
		},
	})
}
