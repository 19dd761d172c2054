package deploy

import "github.com/muster/muster/packages/protocol"

// action is what somebody other than the device does to a deployment. To give its package to its device once
// more is none: it makes another deployment when this one is not live, else nothing.
type action string

// The actions.
const (
	actCancel   action = "cancel"   // an admin ends the deployment
	actUnassign action = "unassign" // an admin takes its assignment back
	actRetire   action = "retire"   // its package is retired
	actRevoke   action = "revoke"   // its device is revoked or removed
	actRetry    action = "retry"    // an admin wants another attempt
	actSign     action = "sign"     // its package has a new signature
)

// standing is how a deployment stands when somebody acts on it.
type standing struct {
	State  protocol.State
	Reason protocol.Reason
	Live   bool // it may still go on, or blocks others
	// Begun: the command of the current attempt has started, and its end is not known.
	Begun bool
}

// move is what an action does to a deployment.
type move string

// The moves.
const (
	moveNone    move = "none"    // nothing: the action does not concern it
	moveRefuse  move = "refuse"  // the action is a Conflict
	moveEnd     move = "end"     // it ends; a command that runs is not stopped, and its result enters the timeline
	moveRestart move = "restart" // another attempt begins
	moveAdopt   move = "adopt"   // it takes over the new signature, and goes on
)

// decide says what an action does to a deployment that stands so.
func decide(a action, s standing) move {
	switch a {
	case actCancel:
		if !s.Live {
			return moveRefuse // it is over already
		}
		return moveEnd
	case actUnassign, actRetire, actRevoke:
		if !s.Live {
			return moveNone
		}
		return moveEnd
	case actRetry:
		return retryMove(s)
	case actSign:
		return signMove(s)
	default:
		return moveRefuse
	}
}

// retryMove: what is over or waits may begin anew, unless a command may be running.
func retryMove(s standing) move {
	switch {
	case s.State == protocol.StateUnassigned:
		return moveRefuse // its assignment would end it again
	case s.State.Final():
		return moveRestart
	case s.State == protocol.StateWaiting && !s.Begun:
		return moveRestart
	default:
		return moveRefuse
	}
}

// signMove: what waits for a signature, or was refused and blocks others, begins anew with the new one.
func signMove(s standing) move {
	switch {
	case !s.Live:
		return moveNone
	case s.State == protocol.StateRefused:
		return moveRestart
	case s.State == protocol.StateWaiting && s.Reason == protocol.ReasonSignAgain:
		return moveRestart
	default:
		return moveAdopt
	}
}
