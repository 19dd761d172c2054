package launch

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

func slot(name, version string) *Slot { return &Slot{Name: name, Version: version} }

func trial(name, version string, change func(*Trial)) *Trial {
	t := &Trial{Slot: *slot(name, version), Task: "task", From: "1.0.0", Armed: true, ProbationMS: 60_000}
	if change != nil {
		change(t)
	}
	return t
}

// TestDecide is every kind of state that there may be on the disk, and which program starts from it.
func TestDecide(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state     State
		installed string
		damaged   string // slots whose program cannot be started
		proved    bool
		want      string // the version that runs; * when it is on trial
		end       protocol.UpdateOutcome
		reason    protocol.Reason
	}{
		"nothing was ever updated": {want: "1.0.0"},
		"a slot was chosen":        {state: State{Current: slot("a", "1.1.0")}, want: "1.1.0"},
		"the chosen one is damaged, there is one before": {
			state: State{Current: slot("b", "1.2.0"), Previous: slot("a", "1.1.0")}, damaged: "b", want: "1.1.0"},
		"both are damaged": {state: State{Current: slot("b", "1.2.0"), Previous: slot("a", "1.1.0")}, damaged: "ab", want: "1.0.0"},
		"a higher one was installed since": {
			state: State{Current: slot("b", "1.2.0"), Previous: slot("a", "1.1.0")}, installed: "1.3.0", want: "1.3.0"},
		"a lower one was installed since": {state: State{Current: slot("a", "1.1.0")}, installed: "0.9.0", want: "1.1.0"},
		"the same one was installed":      {state: State{Current: slot("a", "1.1.0")}, installed: "1.1.0", want: "1.1.0"},
		"a build by hand is installed":    {state: State{Current: slot("a", "1.1.0")}, installed: "dev", want: "1.1.0"},
		"a release over a pre-release":    {state: State{Current: slot("a", "1.1.0-rc.1")}, installed: "1.1.0", want: "1.1.0"},
		"a signed downgrade": {
			state: State{Current: &Slot{Name: "a", Version: "0.9.0", Over: "1.0.0"}}, want: "0.9.0"},
		"a signed downgrade, of another installed one": {
			state: State{Current: &Slot{Name: "a", Version: "0.9.0", Over: "1.0.0"}}, installed: "1.0.1", want: "1.0.1"},
		"staged, not armed": {
			state: State{Current: slot("a", "1.1.0"), Trial: trial("b", "1.2.0", func(t *Trial) { t.Armed = false })}, want: "1.1.0"},
		"to be tried":    {state: State{Trial: trial("a", "1.1.0", nil)}, want: "*1.1.0"},
		"tried once":     {state: State{Trial: trial("a", "1.1.0", func(t *Trial) { t.Attempts = 1 })}, want: "*1.1.0"},
		"tried twice":    {state: State{Trial: trial("a", "1.1.0", func(t *Trial) { t.Attempts = 2 })}, want: "*1.1.0"},
		"a lower one":    {state: State{Trial: trial("a", "0.9.0", func(t *Trial) { t.Over = "1.0.0" })}, want: "*0.9.0"},
		"proved":         {state: State{Trial: trial("a", "1.1.0", nil)}, proved: true, want: "1.1.0", end: "installed", reason: "done"},
		"proved at last": {state: State{Trial: trial("a", "1.1.0", func(t *Trial) { t.Attempts = 3 })}, proved: true, want: "1.1.0", end: "installed", reason: "done"},
		"proved in time": {state: State{Trial: trial("a", "1.1.0", func(t *Trial) { t.UsedMS = 60_000 })}, proved: true, want: "1.1.0", end: "installed", reason: "done"},
		"evidence for one that is not tried": {
			state: State{Trial: trial("a", "1.1.0", func(t *Trial) { t.Armed = false })}, proved: true, want: "1.0.0"},
		"tried three times": {
			state: State{Current: slot("a", "1.1.0"), Trial: trial("b", "1.2.0", func(t *Trial) { t.Attempts = 3 })},
			want:  "1.1.0", end: "rolled_back", reason: "crashed"},
		"its time is up": {
			state: State{Trial: trial("a", "1.1.0", func(t *Trial) { t.Attempts, t.UsedMS = 1, 60_000 })},
			want:  "1.0.0", end: "rolled_back", reason: "probation"},
		"damaged before it was tried": {
			state: State{Trial: trial("a", "1.1.0", nil)}, damaged: "a", want: "1.0.0", end: "kept", reason: "device_error"},
		"damaged after it was tried": {
			state:   State{Trial: trial("a", "1.1.0", func(t *Trial) { t.Attempts = 1 })},
			damaged: "a", want: "1.0.0", end: "rolled_back", reason: "device_error"},
		"a higher one was installed before it was tried": {
			state: State{Trial: trial("a", "1.1.0", nil)}, installed: "1.2.0", want: "1.2.0", end: "kept", reason: "older_version"},
		"a higher one was installed while it was tried": {
			state:     State{Trial: trial("a", "1.1.0", func(t *Trial) { t.Attempts = 1 })},
			installed: "1.2.0", want: "1.2.0", end: "rolled_back", reason: "older_version"},
		"proved, and damaged since": {
			state: State{Current: slot("a", "1.1.0"), Trial: trial("b", "1.2.0", nil)}, damaged: "b", proved: true, want: "1.1.0", end: "installed", reason: "done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := facts{installed: c.installed, proved: c.proved, usable: func(s Slot) error {
				for _, d := range c.damaged {
					if s.Name == string(d) {
						return errors.New("damaged")
					}
				}
				return nil
			}}
			if f.installed == "" {
				f.installed = "1.0.0"
			}
			s := c.state
			d := decide(s, f)
			if c.end != "" {
				require.NotNil(t, d.end)
				require.Equal(t, c.end, d.end.Outcome)
				require.Equal(t, c.reason, d.end.Reason)
				s = s.after(*d.end)
				require.Nil(t, s.Trial)
				f.proved = false
				d = decide(s, f)
			}
			require.Nil(t, d.end, "one ending at most")
			got := f.installed
			if d.slot != nil {
				got = d.slot.Version
			}
			if d.trial {
				got = "*" + got
			}
			require.Equal(t, c.want, got)
		})
	}
}
