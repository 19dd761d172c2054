package resident

import (
	"time"

	"github.com/muster/muster/agent/internal/local"
	"github.com/muster/muster/packages/buildinfo"
)

// publicStatus is what the listener tells anybody who asks: no id, no address and no name of a file.
type publicStatus struct {
	Version string               `json:"version"`
	Since   time.Time            `json:"since"`
	Servers []publicServerStatus `json:"servers"`
	// Fingerprint is of the certificate that the network is shown.
	Fingerprint string `json:"certificate_sha256,omitempty"`
}

type publicServerStatus struct {
	Name        string    `json:"name"`
	State       string    `json:"state"`
	Connected   bool      `json:"connected"`
	LastCheckIn time.Time `json:"last_check_in"`
	NextCheckIn time.Time `json:"next_check_in"`
}

// newListener makes the listener of this agent.
func (r *Resident) newListener() *local.Listener {
	return local.New(local.Options{
		DataDir: r.o.DataDir, Config: r.o.Config.Listener, Logger: r.log,
		DeviceIDs: r.deviceIDs, Wake: r.wake, Changed: r.statusChanged, Settled: r.settled,
		Status: func() any { return r.publicStatus() },
	})
}

func (r *Resident) publicStatus() publicStatus {
	s := publicStatus{Version: buildinfo.Version, Since: r.since, Servers: []publicServerStatus{}, Fingerprint: r.listener.State().Fingerprint}
	for _, u := range r.servers() {
		at := u.session.Status()
		s.Servers = append(s.Servers, publicServerStatus{
			Name: at.Server, State: at.DeviceState, Connected: at.Connected, LastCheckIn: at.LastCheckIn, NextCheckIn: at.NextCheckIn,
		})
	}
	return s
}

func (r *Resident) deviceIDs() []string {
	var ids []string
	for _, u := range r.servers() {
		ids = append(ids, u.session.Status().DeviceID)
	}
	return ids
}

// wake checks in now at the server that knows this device by the id.
func (r *Resident) wake(deviceID string) {
	for _, u := range r.servers() {
		if u.session.Status().DeviceID == deviceID {
			u.session.Wake()
		}
	}
}
