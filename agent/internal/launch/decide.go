package launch

import (
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
)

// facts are what is judged by beside the state.
type facts struct {
	installed string // version of the launcher, which is the installed program
	// usable says why the slot's program cannot be started; nil when it can.
	usable func(Slot) error
	proved bool // there is evidence for the trial
}

// decision is what is to be done next: either the trial ends, and it is decided anew, or a program is started.
type decision struct {
	end   *Outcome
	slot  *Slot // nil is the installed program
	trial bool  // the slot is on trial
}

// decide is the whole judgement. It looks at nothing but its arguments. Whatever the state is, it ends in a
// program that is usable, after at most one ending.
func decide(s State, f facts) decision {
	if s.Trial != nil && s.Trial.Armed {
		if end := judge(s.Trial, f); end != nil {
			return decision{end: end}
		}
		return decision{slot: &s.Trial.Slot, trial: true}
	}
	for _, slot := range []*Slot{s.Current, s.Previous} {
		if slot != nil && !superseded(*slot, f.installed) && f.usable(*slot) == nil {
			return decision{slot: slot}
		}
	}
	return decision{}
}

// judge says how the trial has ended; nil when it goes on.
func judge(t *Trial, f facts) *Outcome {
	switch {
	case f.proved:
		return t.outcome(protocol.UpdateInstalled, protocol.ReasonDone, "agent %s runs in place of %s", t.Version, t.From)
	case superseded(t.Slot, f.installed):
		return t.outcome(t.Untried(), protocol.ReasonOlderVersion, "agent %s was installed meanwhile", f.installed)
	case t.Attempts >= MaxAttempts:
		return t.outcome(protocol.UpdateRolledBack, protocol.ReasonCrashed,
			"agent %s was started %d times and ended each time before it had checked in", t.Version, t.Attempts)
	case t.left() <= 0:
		return t.outcome(protocol.UpdateRolledBack, protocol.ReasonProbation,
			"agent %s did not check in within %d seconds", t.Version, t.ProbationMS/1000)
	}
	if err := f.usable(t.Slot); err != nil {
		return t.outcome(t.Untried(), protocol.ReasonDeviceError, "agent %s cannot be started: %v", t.Version, err)
	}
	return nil
}

// superseded reports whether the installed program goes before the slot's.
func superseded(s Slot, installed string) bool {
	return release.Compare(installed, s.Version) > 0 && s.Over != installed
}
