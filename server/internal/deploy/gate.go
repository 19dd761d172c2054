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
}

// held reports whether the deployment is shown as held back.
func (g gated) held() bool {
	return g.State == protocol.StateWaiting && g.Reason == protocol.ReasonHeldByPriority0
}

// gateChange says that a deployment is held back from now on, or for another package than before, or
// with an empty WaitsFor that nothing holds it back any more.
type gateChange struct {
	ID       string
	WaitsFor string
}

// blocker names what holds back the other packages of a device: its oldest live priority-0 deployment.
// It is empty when there is none. What is live is decided by settle: a priority-0 deployment stays so
// until it has succeeded, is not applicable, or was ended by somebody.
func blocker(live []gated) string {
	first := -1
	for i, g := range live {
		if g.Priority == 0 && (first < 0 || g.ID < live[first].ID) {
			first = i
		}
	}
	if first < 0 {
		return ""
	}
	return "priority-0 package " + live[first].Package
}

// gate compares all live deployments of one device with what they ought to show, in order of id.
// Running commands are not stopped, and who waits for a signature or for the approval of its device
// goes on waiting for that.
func gate(live []gated) []gateChange {
	waitsFor := blocker(live)
	var changes []gateChange
	for _, g := range live {
		if g.Priority == 0 {
			continue
		}
		switch {
		case waitsFor == "" && g.held():
			changes = append(changes, gateChange{ID: g.ID})
		case waitsFor != "" && !exempt(g) && (!g.held() || g.WaitsFor != waitsFor):
			changes = append(changes, gateChange{ID: g.ID, WaitsFor: waitsFor})
		}
	}
	slices.SortFunc(changes, func(a, b gateChange) int { return strings.Compare(a.ID, b.ID) })
	return changes
}

func exempt(g gated) bool {
	return g.State == protocol.StateStarted ||
		g.State == protocol.StateWaiting && (g.Reason == protocol.ReasonSignAgain || g.Reason == protocol.ReasonDevicePending)
}
