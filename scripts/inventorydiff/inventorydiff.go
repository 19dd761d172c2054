// Package inventorydiff compares what Muster's agent finds on a computer with what the agents of OCS
// Inventory and FusionInventory find there: programs, processors, memory, disks and network interfaces. It
// reads what the agents print, starts nothing and keeps nothing; scripts/e2e calls it.
package inventorydiff

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/muster/muster/packages/protocol"
)

// Inventory is what can be compared: for each kind of thing, what there is by its name, and how it is
// described.
type Inventory map[string]map[string]string

// Kinds of things that are compared, in this order.
const (
	KindSoftware  = "software"
	KindCPU       = "cpu"
	KindMemory    = "memory"
	KindDisk      = "disk"
	KindInterface = "interface"
)

var kinds = []string{KindSoftware, KindCPU, KindMemory, KindDisk, KindInterface}

func (inv Inventory) put(kind, name, value string) {
	if inv[kind] == nil {
		inv[kind] = map[string]string{}
	}
	inv[kind][name] = value
}

// Muster reads what `muster-agent inventory` prints.
func Muster(r io.Reader) (Inventory, error) {
	var printed struct {
		Sections []struct {
			Name string            `json:"name"`
			Rows []json.RawMessage `json:"rows"`
		} `json:"sections"`
	}
	if err := json.NewDecoder(r).Decode(&printed); err != nil {
		return nil, fmt.Errorf("read the inventory of Muster: %w", err)
	}
	inv := Inventory{}
	for _, section := range printed.Sections {
		for _, row := range section.Rows {
			if err := inv.muster(section.Name, row); err != nil {
				return nil, fmt.Errorf("read section %s of Muster's inventory: %w", section.Name, err)
			}
		}
	}
	return inv, nil
}

func (inv Inventory) muster(section string, row []byte) error {
	switch section {
	case protocol.SectionSoftware:
		var s protocol.Software
		if err := json.Unmarshal(row, &s); err != nil {
			return err
		}
		inv.put(KindSoftware, s.Name+" "+s.Arch, s.Version)
	case protocol.SectionCPUs:
		var c protocol.CPU
		if err := json.Unmarshal(row, &c); err != nil {
			return err
		}
		inv.put(KindCPU, fmt.Sprint("socket ", len(inv[KindCPU])), processor(c.Name, c.Cores, c.Threads))
	case protocol.SectionSystem:
		var s protocol.System
		if err := json.Unmarshal(row, &s); err != nil {
			return err
		}
		inv.put(KindMemory, "all", fmt.Sprintf("%d MiB", s.MemoryBytes>>20))
	case protocol.SectionStorage:
		var d protocol.Disk
		if err := json.Unmarshal(row, &d); err != nil {
			return err
		}
		inv.put(KindDisk, strings.TrimPrefix(d.Device, "/dev/"), fmt.Sprintf("%d MB", d.Bytes/1e6))
	case protocol.SectionInterfaces:
		var i protocol.Interface
		if err := json.Unmarshal(row, &i); err != nil {
			return err
		}
		addresses := make([]string, 0, len(i.Addresses))
		for _, a := range i.Addresses {
			address, _, _ := strings.Cut(a, "/")
			addresses = append(addresses, address)
		}
		inv.put(KindInterface, i.Name, describe(i.MAC, addresses))
	}
	return nil
}

// foreign is the document of both other agents.
type foreign struct {
	Content struct {
		Hardware struct {
			Memory string `xml:"MEMORY"`
		} `xml:"HARDWARE"`
		Software []struct {
			Name    string `xml:"NAME"`
			Version string `xml:"VERSION"`
			ArchOCS string `xml:"ARCHITECTURE"`
			Arch    string `xml:"ARCH"`
		} `xml:"SOFTWARES"`
		CPUs []struct {
			Type    string `xml:"TYPE"` // OCS
			Name    string `xml:"NAME"` // FusionInventory
			Cores   string `xml:"CORES"`
			Core    string `xml:"CORE"`
			Threads string `xml:"THREADS"`
			Thread  string `xml:"THREAD"`
		} `xml:"CPUS"`
		Storages []struct {
			Name string `xml:"NAME"`
			Size string `xml:"DISKSIZE"`
		} `xml:"STORAGES"`
		Networks []struct {
			Name     string `xml:"DESCRIPTION"`
			MAC      string `xml:"MACADDR"`
			Address  string `xml:"IPADDRESS"`
			Address6 string `xml:"IPADDRESS6"`
		} `xml:"NETWORKS"`
	} `xml:"CONTENT"`
}

// Foreign reads what `ocsinventory-agent --stdout` or `fusioninventory-agent --local -` prints.
func Foreign(r io.Reader) (Inventory, error) {
	var f foreign
	if err := xml.NewDecoder(r).Decode(&f); err != nil {
		return nil, fmt.Errorf("read the other agent's inventory: %w", err)
	}
	inv := Inventory{}
	for _, s := range f.Content.Software {
		arch := either(s.ArchOCS, s.Arch)
		name := strings.TrimSuffix(strings.TrimSpace(s.Name), ":"+arch) // as dpkg writes what may be there twice
		inv.put(KindSoftware, name+" "+arch, strings.TrimSpace(s.Version))
	}
	for i, c := range f.Content.CPUs {
		inv.put(KindCPU, fmt.Sprint("socket ", i), processor(either(c.Type, c.Name), number(either(c.Cores, c.Core)), number(either(c.Threads, c.Thread))))
	}
	if f.Content.Hardware.Memory != "" {
		inv.put(KindMemory, "all", f.Content.Hardware.Memory+" MiB")
	}
	for _, d := range f.Content.Storages {
		if d.Name != "" {
			inv.put(KindDisk, d.Name, fmt.Sprintf("%d MB", number(d.Size)))
		}
	}
	addresses, macs := map[string][]string{}, map[string]string{}
	for _, n := range f.Content.Networks { // one for each address
		macs[n.Name] = n.MAC
		addresses[n.Name] = append(addresses[n.Name], n.Address, n.Address6)
	}
	for name, mac := range macs {
		inv.put(KindInterface, name, describe(mac, addresses[name]))
	}
	return inv, nil
}

func either(a, b string) string {
	if a = strings.TrimSpace(a); a != "" {
		return a
	}
	return strings.TrimSpace(b)
}

func number(text string) int {
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.Abs(f) > 1e15 {
		return 0
	}
	return int(f)
}

func processor(name string, cores, threads int) string {
	return fmt.Sprintf("%s, %d cores, %d threads", strings.Join(strings.Fields(name), " "), cores, threads)
}

func describe(mac string, addresses []string) string {
	if mac == "00:00:00:00:00:00" { // how some write that there is none
		mac = ""
	}
	var kept []netip.Addr
	for _, a := range addresses {
		if address, err := netip.ParseAddr(a); err == nil {
			kept = append(kept, address)
		}
	}
	slices.SortFunc(kept, netip.Addr.Compare)
	return strings.TrimSpace(strings.ToLower(mac) + " " + strings.Trim(fmt.Sprint(slices.Compact(kept)), "[]"))
}

// Difference is one thing that two agents see differently. Ours or Theirs is empty where one has no such
// thing; Why is empty when the difference is not explained.
type Difference struct{ Kind, Name, Ours, Theirs, Why string }

// Compare lists the differences, by kind and name, each with the explanation that fits.
func Compare(ours, theirs Inventory) []Difference {
	var all []Difference
	for _, kind := range kinds {
		names := slices.Collect(maps.Keys(ours[kind]))
		names = slices.AppendSeq(names, maps.Keys(theirs[kind]))
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			ourValue, isOurs := ours[kind][name]
			theirValue, isTheirs := theirs[kind][name]
			if isOurs && isTheirs && ourValue == theirValue {
				continue
			}
			d := Difference{Kind: kind, Name: name, Ours: ourValue, Theirs: theirValue}
			if isOurs && d.Ours == "" {
				d.Ours = "there"
			}
			if isTheirs && d.Theirs == "" {
				d.Theirs = "there"
			}
			d.Why = explain(d)
			all = append(all, d)
		}
	}
	return all
}

// explain says why the agents differ, where that is known.
func explain(d Difference) string {
	switch {
	case d.Kind == KindInterface && d.Name == "lo" && d.Theirs == "":
		return "the other agent leaves the loopback interface out"
	case d.Kind == KindInterface && d.Ours != "" && d.Theirs != "" && addressesWithin(d.Theirs, d.Ours):
		return "the other agent keeps one IPv6 address of an interface"
	case d.Kind == KindDisk && d.Theirs == "0 MB" && d.Ours == "" && strings.HasPrefix(d.Name, "zram"):
		return "a place in memory for swap, not a disk"
	case d.Kind == KindDisk && d.Ours == "" && (strings.HasPrefix(d.Name, "loop") || strings.HasPrefix(d.Name, "ram")):
		return "a file or a piece of memory, not a disk"
	case d.Kind == KindSoftware && d.Theirs == "" && strings.HasSuffix(d.Name, " "):
		return "a package of a programming language, which the other agent does not look for"
	case d.Kind == KindCPU && d.Ours != "" && d.Theirs != "" && strings.Split(d.Ours, ",")[0] == strings.Split(d.Theirs, ",")[0]:
		return "the same processor; the other agent counts cores or threads of all sockets, or of none"
	}
	return ""
}

// addressesWithin reports whether all words of one description are among those of another.
func addressesWithin(part, whole string) bool {
	words := strings.Fields(whole)
	for word := range strings.FieldsSeq(part) {
		if !slices.Contains(words, word) {
			return false
		}
	}
	return true
}
