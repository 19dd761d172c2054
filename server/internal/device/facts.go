package device

import (
	"strings"
	"time"
	"unicode"

	"github.com/muster/muster/packages/protocol"
)

// Bounds of what is kept of a device's facts.
const (
	maxListed = 64  // addresses, tasks
	maxShort  = 120 // characters
)

// cleanFacts bounds what a device claims, so that one device can neither fill the database nor draw
// over other lines of a terminal.
func cleanFacts(f protocol.Facts, now time.Time) protocol.Facts {
	f.Hostname = clean(f.Hostname, 255)
	if f.Hostname == "" {
		f.Hostname = "unnamed"
	}
	f.OS, f.Arch = clean(f.OS, 40), clean(f.Arch, 40)
	f.OSName, f.OSVersion = clean(f.OSName, 255), clean(f.OSVersion, maxShort)
	f.Kernel, f.CPU = clean(f.Kernel, 255), clean(f.CPU, 255)
	f.MachineID, f.BootID = clean(f.MachineID, 128), clean(f.BootID, 128)
	f.Timezone, f.AgentVersion = clean(f.Timezone, maxShort), clean(f.AgentVersion, 64)
	f.IPs, f.MACs, f.TasksAllowed = cleanList(f.IPs), cleanList(f.MACs), cleanList(f.TasksAllowed)
	f.Manufacturer, f.Product = clean(f.Manufacturer, maxShort), clean(f.Product, maxShort)
	f.ProductUUID, f.Serial, f.Virtualisation = clean(f.ProductUUID, 64), clean(f.Serial, maxShort), clean(f.Virtualisation, 40)
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

// clean drops control and format characters and cuts to n characters.
func clean(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if len(s) <= n {
		return s
	}
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n])
	}
	return s
}

func cleanList(list []string) []string {
	out := make([]string, 0, min(len(list), maxListed))
	for _, s := range list {
		if s = clean(s, maxShort); s != "" && len(out) < maxListed {
			out = append(out, s)
		}
	}
	return out
}
