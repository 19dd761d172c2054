package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/event"
	"github.com/muster/muster/server/internal/software"
)

// most is how many changes of one section become events of their own. Of more, as after an upgrade of the
// whole system, one event of each kind tells.
const most = 50

// mostEvents is how many events are kept of a device that reports changes again and again.
const mostEvents = 5_000

// named completes events of a section and sums up too many.
func named(d Device, section string, events []event.Event) []event.Event {
	if len(events) > most {
		events = sumUp(events)
	}
	for i := range events {
		events[i].DeviceID, events[i].Hostname, events[i].Section = d.ID, d.Hostname, section
	}
	return events
}

func sumUp(events []event.Event) []event.Event {
	byKind := map[string][]string{}
	for _, e := range events {
		byKind[e.Kind] = append(byKind[e.Kind], e.Subject)
	}
	var out []event.Event
	for kind, subjects := range byKind {
		slices.Sort(subjects)
		what := strings.ReplaceAll(kind, "_", " ")
		out = append(out, event.Event{Kind: kind, Present: fmt.Sprint(len(subjects)), Message: fmt.Sprintf(
			"%s%s %d times, among others: %s.", strings.ToUpper(what[:1]), what[1:], len(subjects), strings.Join(subjects[:min(20, len(subjects))], ", "))})
	}
	slices.SortFunc(out, func(a, b event.Event) int { return cmp.Compare(a.Kind, b.Kind) })
	return out
}

func softwareEvents(changes []software.Change) []event.Event {
	events := make([]event.Event, len(changes))
	for i, c := range changes {
		e := event.Event{Subject: c.Name, Former: c.From, Present: c.To}
		switch c.Kind {
		case software.Added:
			e.Kind, e.Message = event.SoftwareAdded, fmt.Sprintf("%s %s was installed.", c.Name, c.To)
		case software.Removed:
			e.Kind, e.Message = event.SoftwareRemoved, fmt.Sprintf("%s %s was removed.", c.Name, c.From)
		default:
			e.Kind, e.Message = event.SoftwareUpdated, fmt.Sprintf("%s changed from %s to %s.", c.Name, c.From, c.To)
		}
		events[i] = e
	}
	return events
}

// part is what matters of a row when it is compared.
type part struct {
	key, name string
	text      string // all that makes it another part when it changes
}

// parts picks what is compared of rows; sections of which nothing is told have none.
func parts(values []any) map[string]part {
	out := map[string]part{}
	for _, v := range values {
		var p part
		switch r := v.(type) {
		case *protocol.CPU:
			p = about(r.Row, words(r.Name, r.Vendor, number(r.Cores, "cores"), number(r.Threads, "threads")))
		case *protocol.MemorySlot:
			if r.Bytes == 0 {
				continue // an empty slot
			}
			p = about(r.Row, words(size(r.Bytes), r.Type, r.Manufacturer, r.PartNumber, r.Serial))
		case *protocol.Disk:
			p = about(r.Row, words(r.Vendor, r.Model, size(r.Bytes), r.Serial))
		case *protocol.Interface:
			if r.Virtual || r.Type == "loopback" {
				continue // they come and go with programs
			}
			p = about(r.Row, words(r.Type, r.MAC, r.Driver))
		case *protocol.Controller:
			p = about(r.Row, words(r.Vendor, r.Name, r.VendorID+":"+r.ProductID, r.Serial))
		case *protocol.Monitor:
			p = about(r.Row, words(r.Manufacturer, r.Name, r.Serial))
		case *protocol.Battery:
			p = about(r.Row, words(r.Manufacturer, r.Name, r.Serial))
		case *protocol.BIOS:
			p = about(r.Row, words(r.Vendor, r.Version, r.Date, r.Manufacturer, r.Product, r.Serial, r.BoardProduct, r.BoardSerial, r.AssetTag))
		default:
			continue
		}
		out[p.key] = p
	}
	return out
}

func about(r protocol.Row, text string) part {
	return part{key: r.Key, name: cmp.Or(r.Name, r.Key), text: text}
}

// words joins what is not empty.
func words(list ...string) string {
	return strings.Join(slices.DeleteFunc(list, func(s string) bool { return s == "" }), " ")
}

func number(n int, unit string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n, " ", unit)
}

// size writes a size as people do.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.4g GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}

// compare tells what changed between two inventories of a section.
func compare(section string, before, now []any) []event.Event {
	if section == protocol.SectionSystem {
		return compareSystem(before, now)
	}
	old, present := parts(before), parts(now)
	var events []event.Event
	for key, p := range present {
		o, there := old[key]
		switch {
		case !there:
			events = append(events, event.Event{
				Kind: event.HardwareAdded, Subject: p.name, Present: p.text, Message: fmt.Sprintf("%s was added: %s.", p.name, p.text),
			})
		case o.text != p.text:
			events = append(events, event.Event{
				Kind: event.HardwareChanged, Subject: p.name, Former: o.text, Present: p.text,
				Message: fmt.Sprintf("%s changed from %s to %s.", p.name, o.text, p.text),
			})
		}
	}
	for key, o := range old {
		if _, there := present[key]; !there {
			events = append(events, event.Event{
				Kind: event.HardwareRemoved, Subject: o.name, Former: o.text, Message: fmt.Sprintf("%s was removed: %s.", o.name, o.text),
			})
		}
	}
	slices.SortFunc(events, func(a, b event.Event) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Kind, b.Kind))
	})
	return events
}

func compareSystem(before, now []any) []event.Event {
	if len(before) != 1 || len(now) != 1 {
		return nil
	}
	old, ok := before[0].(*protocol.System)
	present, also := now[0].(*protocol.System)
	if !ok || !also {
		return nil
	}
	var events []event.Event
	for _, c := range []struct{ kind, what, from, to string }{
		{event.SystemChanged, "host name", old.Name, present.Name},
		{event.SystemChanged, "operating system", words(old.OSName, old.OSVersion), words(present.OSName, present.OSVersion)},
		{event.SystemChanged, "kernel", old.Kernel, present.Kernel},
		{event.SystemChanged, "machine id", old.MachineID, present.MachineID},
		{event.AgentUpdated, "agent", old.AgentVersion, present.AgentVersion},
	} {
		if c.from != c.to {
			events = append(events, event.Event{
				Kind: c.kind, Subject: c.what, Former: c.from, Present: c.to,
				Message: fmt.Sprintf("The %s changed from %s to %s.", c.what, cmp.Or(c.from, "none"), cmp.Or(c.to, "none")),
			})
		}
	}
	return events
}
