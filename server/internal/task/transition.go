package task

import "github.com/muster/muster/packages/protocol"

// position is where a task stands.
type position struct {
	State      protocol.State // as shown
	Reached    protocol.State // the furthest state that the device reported
	LastReport string         // id of the newest report that was applied
}

// step is what a report does. Every accepted report enters the timeline, whatever it does here.
type step struct {
	Reaches bool           // the task reaches the reported state
	Shows   bool           // the task shows State from now on
	State   protocol.State //
}

// advance applies one report of a device. Reports may come late, twice or in any order: a task never moves
// backwards, a finished one never moves at all, and one that the server ended keeps its state, though it is
// kept how it ended on the device.
func advance(p position, reportID string, reported protocol.State) step {
	if p.Reached.Final() {
		return step{}
	}
	shown := !p.State.Final()
	newer := reportID > p.LastReport // both are UUIDv7 of one device: ordered by when they were made
	switch {
	case reported == protocol.StateWaiting:
		return step{Shows: shown && newer, State: protocol.StateWaiting}
	case reported.Rank() > p.Reached.Rank():
		return step{Reaches: true, Shows: shown, State: reported}
	case !shown || !newer:
		return step{}
	case reported == p.Reached: // it has come further within the state, or goes on after waiting
		return step{Shows: true, State: reported}
	case p.State == protocol.StateWaiting && p.Reached.Rank() > 0:
		return step{Shows: true, State: p.Reached}
	default:
		return step{}
	}
}

// reports tells whether a device reports the state of a task.
func reports(s protocol.State) bool {
	switch s {
	case protocol.StateAccepted, protocol.StateStarted, protocol.StateWaiting, protocol.StateSucceeded, protocol.StateFailed,
		protocol.StateRefused, protocol.StateInterrupted, protocol.StateExpired, protocol.StateNotApplicable:
		return true
	default:
		return false
	}
}
