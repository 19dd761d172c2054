package deploy

import (
	"slices"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// gated is a live deployment as the gate sees it.
type gated struct {
	ID       string
	Priority int
	Package  string // name and version
	State    protocol.State
	Reason   protocol.Reason
	WaitsFor string
	// Scheduled: its first attempt is for later. Until then a priority-0 package holds nothing back.
	Scheduled bool
}

// hold is why a deployment may not run now; the zero hold lets it run.
type hold struct {
	Reason   protocol.Reason
	WaitsFor string
}

// shown is the hold that the deployment shows.
func (g gated) shown() hold {
	if g.State != protocol.StateWaiting {
		return hold{}
	}
	switch g.Reason {
	case protocol.ReasonHeldByPriority0, protocol.ReasonDevicePending, protocol.ReasonDeviceQuarantined:
		return hold{g.Reason, g.WaitsFor}
	default:
		return hold{}
	}
}

// gateChange says that a deployment is held back from now on, or by something else than before, or with a
// zero Hold that nothing holds it back any more.
type gateChange struct {
	ID   string
	Hold hold
	Was  protocol.Reason // the hold that it showed; empty when none
}

// bar is why a device in this state is given no packages at all; empty when it is.
func bar(deviceState string) protocol.Reason {
	switch deviceState {
	case protocol.DevicePending:
		return protocol.ReasonDevicePending
	case protocol.DeviceQuarantined:
		return protocol.ReasonDeviceQuarantined
	default:
		return ""
	}
}

// blocker names what holds back the other packages of a device: its oldest live priority-0 deployment whose
// time has come. It is empty when there is none. What is live is decided by settle: a priority-0 deployment
// stays so until it has succeeded, is not applicable, or was ended by somebody.
func blocker(live []gated) string {
	first := -1
	for i, g := range live {
		if g.Priority == 0 && !g.Scheduled && (first < 0 || g.ID < live[first].ID) {
			first = i
		}
	}
	if first < 0 {
		return ""
	}
	return "priority-0 package " + live[first].Package
}

// gate compares all live deployments of one device with what they ought to show, in order of id. barred is
// the device's bar. Running commands are not stopped, and who waits for a signature goes on waiting for
// that.
func gate(live []gated, barred protocol.Reason) []gateChange {
	waitsFor := blocker(live)
	var changes []gateChange
	for _, g := range live {
		var want hold
		switch {
		case g.State.Final(): // blocks others, and says itself why
			continue
		case barred != "":
			want = hold{Reason: barred}
		case g.Priority != 0 && waitsFor != "":
			want = hold{protocol.ReasonHeldByPriority0, waitsFor}
		}
		shown := g.shown()
		if want == shown || want != (hold{}) && exempt(g) {
			continue
		}
		changes = append(changes, gateChange{ID: g.ID, Hold: want, Was: shown.Reason})
	}
	slices.SortFunc(changes, func(a, b gateChange) int { return strings.Compare(a.ID, b.ID) })
	return changes
}

func exempt(g gated) bool {
	return g.State == protocol.StateStarted || g.State == protocol.StateWaiting && g.Reason == protocol.ReasonSignAgain
}
