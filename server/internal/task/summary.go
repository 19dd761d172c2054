package task

import (
	"fmt"

	"github.com/muster/muster/packages/protocol"
)

// summary says in one line, for people, where a task stands. outcome is what counted says of its items; it may
// be empty.
func summary(kind string, state protocol.State, reason protocol.Reason, outcome string) string {
	switch state {
	case protocol.StateAssigned:
		return "not yet picked up by the device"
	case protocol.StateAccepted:
		return "accepted by the device"
	case protocol.StateStarted:
		if outcome != "" {
			return "under way, " + outcome
		}
		return "under way"
	case protocol.StateSucceeded:
		return succeeded(kind, outcome)
	}
	text := phrases[reason]
	if outcome != "" && (text == "" || reason == protocol.ReasonItems) {
		text = outcome
	}
	if text == "" {
		text = string(reason)
	}
	if text == "" {
		return string(state)
	}
	return string(state) + ": " + text
}

func succeeded(kind, outcome string) string {
	switch {
	case kind == protocol.TaskInventory:
		return "succeeded: the inventory is here"
	case kind == protocol.TaskModule:
		return "succeeded: the module has run"
	case kind == protocol.TaskUpdate:
		return "succeeded: the agent runs the release"
	case kind == protocol.TaskRemove:
		return "succeeded: the agent has left"
	case outcome != "":
		return "succeeded: " + outcome
	default:
		return "succeeded"
	}
}

// counted says how many programs are gone.
func counted(items []protocol.TaskItem) string {
	removed, absent := 0, 0
	for _, i := range items {
		switch i.Status {
		case protocol.ItemRemoved:
			removed++
		case protocol.ItemNotInstalled:
			absent++
		}
	}
	text := fmt.Sprintf("%d of %d removed", removed, len(items))
	if absent > 0 {
		text += fmt.Sprintf(", %d not installed", absent)
	}
	return text
}

var phrases = map[protocol.Reason]string{
	protocol.ReasonItems:         "some could not be done",
	protocol.ReasonNotReported:   "names what the device has not reported",
	protocol.ReasonNotAllowed:    "the device's own configuration denies it",
	protocol.ReasonUnknownTask:   "the agent does not know this kind of task",
	protocol.ReasonMalformed:     "the agent finds the task malformed",
	protocol.ReasonDeviceError:   "fault of the device: disk, permission or the like",
	protocol.ReasonTimeLimit:     "time limit reached",
	protocol.ReasonCannotStart:   "could not be started",
	protocol.ReasonBusy:          "another change of the computer is running",
	protocol.ReasonRetryBackoff:  "the device tries again later",
	protocol.ReasonRestarted:     "the agent was restarted",
	protocol.ReasonNoStatus:      "the device cannot tell how it ended",
	protocol.ReasonExitCode:      "the exit code means failure",
	protocol.ReasonSignal:        "ended by a signal",
	protocol.ReasonMemory:        "over its memory limit",
	protocol.ReasonRows:          "what it wrote are no rows of its columns, or too many",
	protocol.ReasonParameters:    "the module does not take these parameters",
	protocol.ReasonNoModule:      "the device has no such module, or finds it not safe to run",
	protocol.ReasonByAdmin:       "ended by an administrator",
	protocol.ReasonDeviceRemoved: "the device was removed",
	protocol.ReasonRetired:       "the release was retired",

	protocol.ReasonOlderVersion: "the release is lower than the agent that runs, and does not allow that",
	protocol.ReasonProbation:    "the new agent did not check in within its time; the old one is back",
	protocol.ReasonCrashed:      "the new agent ended before it had checked in; the old one is back",
	protocol.ReasonSignature:    "the release has no valid signature of a trusted release key",
	protocol.ReasonRole:         "the release is signed by a key that does not sign releases",
	protocol.ReasonThreshold:    "too few release keys have signed the release",
	protocol.ReasonPayloadType:  "what is signed is no release",
	protocol.ReasonCritical:     "the release needs an agent that understands more",
	protocol.ReasonMismatch:     "what the server sent is not the release that the task names",
	protocol.ReasonRevoked:      "the release is revoked",
	protocol.ReasonDigest:       "what was fetched is not what is signed",
	protocol.ReasonArchive:      "the archive with the agent's program is hostile or damaged",
	protocol.ReasonTrust:        "the device has no acceptable trust document",
	protocol.ReasonSignAgain:    "the release has expired",
	protocol.ReasonDiskSpace:    "not enough free disk space",
	protocol.ReasonStalled:      "no bytes arrived; the device goes on later",
	protocol.ReasonRequirements: "the release has no build for this device",
}
