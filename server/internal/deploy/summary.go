package deploy

import (
	"fmt"
	"strings"
	"time"

	"github.com/muster/muster/packages/protocol"
)

// result is what a summary is made of.
type result struct {
	State    protocol.State
	Reason   protocol.Reason
	ExitCode *int
	Signal   string
	WaitsFor string
	NextAt   *time.Time
	Attempt  int
}

// summary says in one line, for people, where a deployment stands.
func summary(r result) string {
	text := detail(r)
	switch r.State {
	case protocol.StateSucceeded:
		return succeeded(r)
	case protocol.StateFailed:
		return "failed (" + text + ")"
	default:
		if _, whole := sentences[r.State]; whole {
			return text
		}
		words := strings.ReplaceAll(string(r.State), "_", " ")
		if text == "" {
			return words
		}
		return words + ": " + text
	}
}

// detail is the summary without the state, for where the state stands beside it.
func detail(r result) string {
	switch r.State {
	case protocol.StateSucceeded:
		text := outcome(r)
		if r.Reason == protocol.ReasonRebootNeeded {
			text = join(text, "reboot needed")
		}
		return text
	case protocol.StateFailed:
		return failure(r)
	case protocol.StateWaiting:
		return waiting(r)
	case protocol.StateRefused:
		return phrase(refusals, r.Reason)
	case protocol.StateCancelled:
		return phrase(endings, r.Reason)
	default:
		if text, ok := sentences[r.State]; ok {
			return text
		}
		return details[r.State]
	}
}

// sentences name their state themselves.
var sentences = map[protocol.State]string{
	protocol.StateAccepted: "accepted by the device",
	protocol.StateFetching: "fetching the archive",
	protocol.StateFetched:  "archive fetched and verified",
	protocol.StateUnpacked: "archive unpacked",
	protocol.StateStarted:  "command started",
}

var details = map[protocol.State]string{
	protocol.StateAssigned:      "not yet picked up by the device",
	protocol.StateUnassigned:    "the assignment was taken back",
	protocol.StateExpired:       "the package must be signed again",
	protocol.StateInterrupted:   "the device cannot tell how the command ended",
	protocol.StateNotApplicable: "the device does not meet the package's requirements",
}

func succeeded(r result) string {
	text := "succeeded"
	if o := outcome(r); o != "" {
		text += " (" + o + ")"
	}
	if r.Reason == protocol.ReasonRebootNeeded {
		text += ", reboot needed"
	}
	return text
}

// outcome is how a deployment succeeded.
func outcome(r result) string {
	switch {
	case r.Reason == protocol.ReasonAlreadyInstalled:
		return "already installed"
	case r.ExitCode != nil:
		return fmt.Sprintf("exit code %d", *r.ExitCode)
	case r.Reason == protocol.ReasonStored:
		return "contents stored"
	default:
		return ""
	}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

func failure(r result) string {
	switch {
	case r.Reason == protocol.ReasonTimeLimit:
		return "time limit reached"
	case r.Reason == protocol.ReasonSignal && r.Signal != "":
		return "ended by signal " + r.Signal
	case r.Reason == protocol.ReasonRetryLater && r.ExitCode != nil:
		return fmt.Sprintf("exit code %d, which asks to try later", *r.ExitCode)
	case r.Reason == protocol.ReasonNotDetected:
		return "ran, but is not detected as installed"
	case r.Reason == protocol.ReasonExitCode && r.ExitCode != nil:
		return fmt.Sprintf("exit code %d", *r.ExitCode)
	default:
		return phrase(failures, r.Reason)
	}
}

func waiting(r result) string {
	switch r.Reason {
	case protocol.ReasonHeldByPriority0:
		if r.WaitsFor == "" {
			return "a priority-0 package has not succeeded"
		}
		return r.WaitsFor + " has not succeeded"
	case protocol.ReasonRetryBackoff:
		text := fmt.Sprintf("attempt %d", r.Attempt)
		if r.NextAt != nil {
			text += " not before " + r.NextAt.UTC().Format("2006-01-02 15:04:05 MST")
		}
		if r.ExitCode != nil {
			text += fmt.Sprintf(", after exit code %d", *r.ExitCode)
		}
		return text
	case protocol.ReasonReleased:
		if r.NextAt != nil && r.NextAt.After(time.Now()) {
			return "nothing else holds it back; not before " + r.NextAt.UTC().Format("2006-01-02 15:04:05 MST")
		}
		return phrase(waits, r.Reason)
	default:
		return phrase(waits, r.Reason)
	}
}

func phrase(of map[protocol.Reason]string, reason protocol.Reason) string {
	if text, ok := of[reason]; ok {
		return text
	}
	if reason == "" {
		return "no reason given"
	}
	return string(reason)
}

var failures = map[protocol.Reason]string{
	protocol.ReasonSignal:      "ended by a signal",
	protocol.ReasonCannotStart: "the command could not be started",
	protocol.ReasonDeviceError: "fault of the device: disk, permission or the like",
	protocol.ReasonStorePath:   "the path is not safe to write under",
	protocol.ReasonExitCode:    "exit code not reported",
	protocol.ReasonRetryLater:  "asks to try later",
}

var waits = map[protocol.Reason]string{
	protocol.ReasonSignAgain:     "the package has expired and must be signed again",
	protocol.ReasonDiskSpace:     "not enough free disk space",
	protocol.ReasonStalled:       "the download stalled; it goes on later",
	protocol.ReasonBusy:          "another change of the computer is running",
	protocol.ReasonCleanBoot:     "the computer must restart first",
	protocol.ReasonNotActive:     "the package is not active",
	protocol.ReasonDevicePending: "the device waits for approval",

	protocol.ReasonDeviceQuarantined: "the device is quarantined until an administrator decides",

	protocol.ReasonRestarted: "the agent was restarted",
	protocol.ReasonTrust:     "the device refuses the trust document that the server sends",
	protocol.ReasonReleased:  "nothing holds it back any more; not yet picked up",
	protocol.ReasonRetry:     "started again; not yet picked up",
}

var refusals = map[protocol.Reason]string{
	protocol.ReasonSignature:   "no valid signature of a trusted key",
	protocol.ReasonRole:        "signed by a key that may not sign packages",
	protocol.ReasonThreshold:   "too few valid signatures",
	protocol.ReasonPayloadType: "signed as another kind of document",
	protocol.ReasonMalformed:   "the signed document is malformed",
	protocol.ReasonCritical:    "needs a feature that the agent does not know",
	protocol.ReasonSerial:      "older than one already accepted of this name",
	protocol.ReasonMismatch:    "the signed document is of another package",
	protocol.ReasonRevoked:     "revoked by the trust document",
	protocol.ReasonDigest:      "the archive is not the one that was signed",
	protocol.ReasonArchive:     "the archive is damaged or not safe to unpack",
	protocol.ReasonNotAllowed:  "the device's own configuration denies it",
	protocol.ReasonUnknownTask: "the agent does not know this kind of task",
	protocol.ReasonTrust:       "the device has no acceptable trust document",
}

var endings = map[protocol.Reason]string{
	protocol.ReasonByAdmin: "ended by an administrator",
	protocol.ReasonRetired: "the package was retired",

	protocol.ReasonDeviceRemoved: "the device was removed",
}
