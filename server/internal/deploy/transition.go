package deploy

import (
	"time"

	"github.com/muster/muster/packages/protocol"
)

// position is where an attempt, and the deployment that it belongs to, stand.
type position struct {
	State      protocol.State // of the deployment, as shown
	Reached    protocol.State // the furthest state of the attempt
	LastReport string         // id of the newest report applied to the attempt
	Current    bool           // the attempt is the deployment's current one
}

// step is what a report does. Every accepted report enters the timeline, whatever it does here.
type step struct {
	Reaches bool           // the attempt reaches the reported state
	Shows   bool           // the deployment shows State from now on
	State   protocol.State //
}

// advance applies one report of a device. Reports may come late, twice or in any order: an attempt
// never moves backwards, a finished one never moves at all, and a deployment that the server ended
// keeps its state.
func advance(p position, reportID string, reported protocol.State) step {
	if p.Reached.Final() {
		return step{}
	}
	shown := p.Current && !p.State.Final()
	newer := reportID > p.LastReport // both are UUIDv7 of one device: ordered by when they were made
	switch {
	case reported == protocol.StateWaiting:
		// Waiting does not move an attempt; an old one must not hide what came after it.
		return step{Shows: shown && newer, State: protocol.StateWaiting}
	case reported.Rank() > p.Reached.Rank():
		return step{Reaches: true, Shows: shown, State: reported}
	case shown && newer && p.State == protocol.StateWaiting && p.Reached.Rank() > 0:
		// It goes on after waiting, perhaps with work done again: show how far it had come.
		return step{Shows: true, State: p.Reached}
	default:
		return step{}
	}
}

// policy is what decides whether an attempt that ended without success is followed by another.
type policy struct {
	Priority      int
	RetryAttempts int           // attempts in all that the package asks for; 0 or 1 is one
	RetryDelay    time.Duration // before the second attempt; 0 takes the default
	RerunSafe     bool
	Failures      int // attempts that failed since somebody last started the deployment
}

// verdict is where a deployment goes when its current attempt has ended.
type verdict struct {
	State  protocol.State
	Reason protocol.Reason
	// Live: it may still go on, or blocks the device's other packages.
	Live bool
	// Again asks for a new attempt after Delay.
	Again bool
	Delay time.Duration
}

// settle decides what follows the end of a deployment's current attempt. random is in [0, 1).
func settle(p policy, state protocol.State, reason protocol.Reason, random float64) verdict {
	blocks := p.Priority == 0 // until it has succeeded, or somebody decides otherwise
	switch state {
	case protocol.StateExpired:
		return verdict{State: protocol.StateWaiting, Reason: protocol.ReasonSignAgain, Live: true}
	case protocol.StateFailed:
		if retries(p, reason) {
			return verdict{
				State: protocol.StateWaiting, Reason: protocol.ReasonRetryBackoff, Live: true,
				Again: true, Delay: backoff(p.Failures, p.RetryDelay, random),
			}
		}
		return verdict{State: state, Reason: reason, Live: blocks}
	case protocol.StateInterrupted:
		if p.RerunSafe && p.Failures+1 < rerunMost {
			return verdict{
				State: protocol.StateWaiting, Reason: protocol.ReasonRetryBackoff, Live: true,
				Again: true, Delay: backoff(p.Failures, p.RetryDelay, random),
			}
		}
		return verdict{State: state, Reason: reason, Live: blocks}
	case protocol.StateRefused:
		return verdict{State: state, Reason: reason, Live: blocks}
	default:
		return verdict{State: state, Reason: reason}
	}
}
