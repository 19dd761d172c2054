//go:build !linux

package inventory

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/muster/muster/agent/internal/facts"
	"github.com/muster/muster/packages/protocol"
)

// findSystem describes the computer by what its facts say, on systems without files to read it from.
func findSystem(context.Context, *host) ([]protocol.System, error) {
	f := facts.Read(nil)
	s := protocol.System{
		Row: protocol.Row{Key: "system", Name: f.Hostname}, OS: f.OS, OSName: f.OSName, OSVersion: f.OSVersion, Kernel: f.Kernel,
		Arch: f.Arch, MachineID: f.MachineID, Timezone: f.Timezone, Virtualisation: f.Virtualisation,
		MemoryBytes: f.MemoryBytes, AgentVersion: f.AgentVersion,
	}
	if !f.BootedAt.IsZero() {
		at := f.BootedAt.UTC().Truncate(time.Minute)
		s.BootedAt = &at
	}
	return []protocol.System{s}, nil
}

// findInterfaces lists the network interfaces that package net knows.
func findInterfaces(_ context.Context, h *host) ([]protocol.Interface, error) {
	all, err := h.addresses()
	if err != nil {
		return nil, err
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	found := []protocol.Interface{}
	for _, one := range interfaces {
		i := protocol.Interface{
			Row: protocol.Row{Key: one.Name, Name: one.Name}, MAC: one.HardwareAddr.String(), Type: "other",
			Up: one.Flags&net.FlagUp != 0 && one.Flags&net.FlagRunning != 0, MTU: max(one.MTU, 0), Addresses: []string{},
		}
		switch {
		case one.Flags&net.FlagLoopback != 0:
			i.Type, i.Virtual = "loopback", true
		case one.Flags&net.FlagPointToPoint != 0:
			i.Type, i.Virtual = "tunnel", true
		case i.MAC != "":
			i.Type = "ethernet"
		}
		for _, a := range all[one.Name] {
			i.Addresses = append(i.Addresses, a.String())
		}
		slices.Sort(i.Addresses)
		found = append(found, i)
	}
	return found, nil
}
