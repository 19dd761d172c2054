package device

import (
	"slices"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/release"
)

// Search says which devices one looks for; what is not set looks for nothing. It is what the list of devices
// takes as a query and what a group keeps, as JSON, as its saved search. Text is compared whole and as it is
// written unless the field says otherwise.
type Search struct {
	Query          string    `json:"q,omitempty" query:"q" maxLength:"200" doc:"part of hostname, system, agent version or id"`
	State          string    `json:"state,omitempty" query:"state" enum:"pending,active,quarantined,revoked,removed"`
	OS             string    `json:"os,omitempty" query:"os" maxLength:"40" doc:"linux, windows, darwin"`
	OSName         string    `json:"os_name,omitempty" query:"os_name" maxLength:"200" doc:"part of the system's name, in whatever case"`
	OSVersion      string    `json:"os_version,omitempty" query:"os_version" maxLength:"120" doc:"12 is also 12.5, and not 120"`
	Arch           string    `json:"arch,omitempty" query:"arch" maxLength:"40" doc:"amd64, arm64"`
	AgentVersion   string    `json:"agent_version,omitempty" query:"agent_version" maxLength:"64"`
	AgentBelow     string    `json:"agent_below,omitempty" query:"agent_below" maxLength:"64" doc:"an agent older than this version"`
	EnrolledAfter  time.Time `json:"enrolled_after,omitzero" query:"enrolled_after" required:"false" doc:"not before this time"`
	EnrolledBefore time.Time `json:"enrolled_before,omitzero" query:"enrolled_before" required:"false"`
	SeenAfter      time.Time `json:"seen_after,omitzero" query:"seen_after" required:"false" doc:"last seen at this time or later"`
	SeenBefore     time.Time `json:"seen_before,omitzero" query:"seen_before" required:"false" doc:"not seen since this time"`
	UnseenDays     int       `json:"unseen_days,omitempty" query:"unseen_days" minimum:"0" maximum:"3650" doc:"not seen for so many days"`
	Manufacturer   string    `json:"manufacturer,omitempty" query:"manufacturer" maxLength:"120" doc:"part of it, in whatever case"`
	Product        string    `json:"product,omitempty" query:"product" maxLength:"120" doc:"part of it, in whatever case"`
	Virtualisation string    `json:"virtualisation,omitempty" query:"virtualisation" maxLength:"40" doc:"kvm, vmware, docker, …; none for a physical machine"`
	// Software is the name of a program that the device has; the next two narrow its version.
	Software        string `json:"software,omitempty" query:"software" maxLength:"255" doc:"has the program of this name"`
	SoftwareVersion string `json:"software_version,omitempty" query:"software_version" maxLength:"255" doc:"of software"`
	SoftwareBelow   string `json:"software_below,omitempty" query:"software_below" maxLength:"255" doc:"a version of software older than this one"`
}

// physical is the Virtualisation of devices that have none.
const physical = "none"

// Validate refuses what makes no sense; where says what the Search is part of, as "query." or "body.search.".
func (s Search) Validate(where string) error {
	if s.Software == "" && s.SoftwareVersion != "" {
		return fault.Field(where+"software_version", "says of which version, but software does not say of which program")
	}
	if s.Software == "" && s.SoftwareBelow != "" {
		return fault.Field(where+"software_below", "says below which version, but software does not say of which program")
	}
	if s.AgentBelow != "" && !release.IsVersion(s.AgentBelow) {
		return fault.Field(where+"agent_below", "%.40q is no version like 1.2.0", s.AgentBelow)
	}
	for _, b := range s.bounds() { // MySQL takes no other, and a saved search would fail for ever
		if year := b.at.UTC().Year(); !b.at.IsZero() && (year < 1 || year > 9999) {
			return fault.Field(where+b.name, "%s is not within the years 1 to 9999 of UTC", b.at.Format(time.RFC3339))
		}
	}
	return nil
}

// bound is a time that a Search compares a column with.
type bound struct {
	name      string // of the field
	condition string
	at        time.Time
}

func (s Search) bounds() []bound {
	return []bound{
		{"enrolled_after", "devices.enrolled_at >= ?", s.EnrolledAfter}, {"enrolled_before", "devices.enrolled_at < ?", s.EnrolledBefore},
		{"seen_after", "devices.last_seen_at >= ?", s.SeenAfter}, {"seen_before", "devices.last_seen_at < ?", s.SeenBefore},
	}
}

// ValidateSaved is Validate for the search of a group, whose members are never revoked or removed.
func (s Search) ValidateSaved(where string) error {
	if slices.Contains(goneStates(), s.State) {
		return fault.Field(where+"state", "devices that are %s are in no group", s.State)
	}
	return s.Validate(where)
}

// sees reports whether the search asks for what is gathered in memory for some seconds.
func (s Search) sees() bool {
	return !s.SeenAfter.IsZero() || !s.SeenBefore.IsZero() || s.UnseenDays > 0 || s.AgentBelow != "" || s.AgentVersion != ""
}
