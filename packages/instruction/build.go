package instruction

import "time"

// Spec is what an author decides about a package. The author's tool and the server build the document
// from the same Spec and the same archive with the same code, so that one can check the other.
type Spec struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	Priority *int   `json:"priority,omitempty"` // nil is DefaultPriority; 0 is the most urgent
	Action   Action `json:"action"`

	Command          []string          `json:"command,omitempty"`
	StorePath        string            `json:"store_path,omitempty"`
	TimeLimitSeconds int               `json:"time_limit_seconds,omitempty"` // 0 is DefaultLimit
	Env              map[string]string `json:"env,omitempty"`
	ExitCodes        []ExitCode        `json:"exit_codes,omitempty"`
	Detect           *Detection        `json:"detect,omitempty"`
	Requires         *Requirements     `json:"requires,omitempty"`
	Retry            *Retry            `json:"retry,omitempty"`
	Rerun            Rerun             `json:"rerun,omitempty"`
	NeedsCleanBoot   bool              `json:"needs_clean_boot,omitempty"`
	Private          bool              `json:"private,omitempty"`
}

// Build makes the document of a Spec and its archive (nil without one), issued at the given time and
// valid for validFor (0 is DefaultExpiry). The result is valid, or the error lists all problems.
func Build(s Spec, archive *Archive, issued time.Time, validFor time.Duration) (*Instruction, error) {
	i := &Instruction{
		Format: Format, ID: s.ID, Name: s.Name, Version: s.Version, Priority: DefaultPriority, Action: s.Action,
		Archive: archive, Command: s.Command, StorePath: s.StorePath,
		TimeLimitSeconds: s.TimeLimitSeconds, Env: s.Env, ExitCodes: s.ExitCodes, Detect: s.Detect,
		Requires: s.Requires, Retry: s.Retry, Rerun: s.Rerun, NeedsCleanBoot: s.NeedsCleanBoot, Private: s.Private,
	}
	if s.Priority != nil {
		i.Priority = *s.Priority
	}
	if i.TimeLimitSeconds == 0 {
		i.TimeLimitSeconds = int(DefaultLimit / time.Second)
	}
	if i.Rerun == RerunNever {
		i.Rerun = ""
	}
	i.Stamp(issued, validFor)
	if err := i.Validate(); err != nil {
		return nil, err
	}
	return i, nil
}

// Stamp sets what every signing sets anew: the serial and both times. validFor 0 is DefaultExpiry.
func (i *Instruction) Stamp(issued time.Time, validFor time.Duration) {
	if validFor == 0 {
		validFor = DefaultExpiry
	}
	issued = issued.UTC()
	i.Serial = uint64(max(issued.UnixMilli(), 1)) // not negative
	i.IssuedAt = issued.Truncate(time.Second)
	i.ExpiresAt = i.IssuedAt.Add(validFor).Truncate(time.Second)
}
