package device

import (
	"time"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/text"
)

// Bounds of what is kept of a device's facts.
const (
	maxListed = 64  // addresses, tasks
	maxShort  = 120 // characters
)

// cleanFacts bounds what a device claims, so that one device can neither fill the database nor draw
// over other lines of a terminal.
func cleanFacts(f protocol.Facts, now time.Time) protocol.Facts {
	f.Hostname = text.Clean(f.Hostname, 255)
	if f.Hostname == "" {
		f.Hostname = "unnamed"
	}
	f.OS, f.Arch = text.Clean(f.OS, 40), text.Clean(f.Arch, 40)
	f.OSName, f.OSVersion = text.Clean(f.OSName, 255), text.Clean(f.OSVersion, maxShort)
	f.Kernel, f.CPU = text.Clean(f.Kernel, 255), text.Clean(f.CPU, 255)
	f.MachineID, f.BootID = text.Clean(f.MachineID, 128), text.Clean(f.BootID, 128)
	f.Timezone, f.AgentVersion = text.Clean(f.Timezone, maxShort), text.Clean(f.AgentVersion, 64)
	f.IPs, f.MACs, f.TasksAllowed = cleanList(f.IPs), cleanList(f.MACs), cleanList(f.TasksAllowed)
	f.Manufacturer, f.Product = text.Clean(f.Manufacturer, maxShort), text.Clean(f.Product, maxShort)
	f.ProductUUID, f.Serial, f.Virtualisation = text.Clean(f.ProductUUID, 64), text.Clean(f.Serial, maxShort), text.Clean(f.Virtualisation, 40)
	if f.Modules != nil {
		f.Modules = cleanList(f.Modules)
	}
	f.Cores = max(0, f.Cores)
	f.MemoryBytes = max(0, f.MemoryBytes)
	f.BootedAt = cleanTime(f.BootedAt, now)
	f.ChangedAt = cleanTime(f.ChangedAt, now)
	return f
}

// cleanTime keeps a device's clock within what a database and JSON can hold; the future becomes now,
// so that a wrong clock does not make its facts the newest for ever.
func cleanTime(t, now time.Time) time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Year() < 2000 {
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if t.After(now) {
		return now
	}
	return t
}

func cleanList(list []string) []string {
	out := make([]string, 0, min(len(list), maxListed))
	for _, s := range list {
		if s = text.Clean(s, maxShort); s != "" && len(out) < maxListed {
			out = append(out, s)
		}
	}
	return out
}
