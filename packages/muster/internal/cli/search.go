package cli

import (
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/spf13/cobra"
)

// searchFlags say which devices are looked for, in lists and in saved searches.
type searchFlags struct {
	texts  map[string]*string // by what the server calls it
	unseen int
}

func (f *searchFlags) register(c *cobra.Command) {
	f.texts = map[string]*string{}
	for _, t := range []struct{ flag, name, usage string }{
		{"search", "q", "only hosts that contain `text`, in name, system, agent version or id"},
		{"state", "state", "only in this `state`: pending, active, quarantined, revoked or removed"},
		{"os", "os", "only `linux`, windows or darwin"},
		{"os-name", "os_name", "only systems whose name contains `text`"},
		{"os-version", "os_version", "only this `version` of the system; 12 is also 12.5"},
		{"arch", "arch", "only this architecture: `amd64`, arm64"},
		{"agent", "agent_version", "only agents of this `version`"},
		{"agent-below", "agent_below", "only agents older than `version`"},
		{"enrolled-after", "enrolled_after", "only devices that enrolled at this `time`, like 2026-12-01T22:00:00Z, or later"},
		{"enrolled-before", "enrolled_before", "only devices that enrolled before this `time`"},
		{"seen-after", "seen_after", "only devices last seen at this `time` or later"},
		{"seen-before", "seen_before", "only devices not seen since this `time`"},
		{"manufacturer", "manufacturer", "only computers whose manufacturer contains `text`"},
		{"product", "product", "only computers whose product contains `text`"},
		{"virtualisation", "virtualisation", "only `kvm`, vmware, docker, …; none for physical machines"},
		{"software", "software", "only devices that have the program of this `name`"},
		{"software-version", "software_version", "with --software: only this `version` of it"},
		{"software-below", "software_below", "with --software: only versions of it older than `version`"},
	} {
		f.texts[t.name] = c.Flags().String(t.flag, "", t.usage)
	}
	c.Flags().IntVar(&f.unseen, "unseen-days", 0, "only devices not seen for so many days")
}

// body is the search as a group keeps it.
func (f *searchFlags) body() map[string]any {
	out := map[string]any{}
	for name, value := range f.texts {
		if *value != "" {
			out[name] = *value
		}
	}
	if f.unseen != 0 {
		out["unseen_days"] = f.unseen
	}
	return out
}

// query is the search as the list of devices takes it.
func (f *searchFlags) query() url.Values {
	out := url.Values{}
	for name, value := range f.body() {
		out.Set(name, fmt.Sprint(value))
	}
	return out
}

// searchWords shows a saved search.
func searchWords(search map[string]any) string {
	if len(search) == 0 {
		return "every device"
	}
	words := ""
	for i, name := range slices.Sorted(maps.Keys(search)) {
		if i > 0 {
			words += ", "
		}
		words += name + " " + quoteArgs([]string{fmt.Sprint(search[name])})
	}
	return words
}
