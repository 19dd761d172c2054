// Package instruction is the signed document that tells an agent what a package is and does.
//
// An Instruction is made once by an author's tool or the server from the same archive with the same
// code, signed as a DSSE envelope, and executed by agents exactly as the verified bytes say. Decode
// is strict: unknown, duplicate or case-variant keys and trailing data are refused, and a document
// that names a critical feature this build does not implement is refused whole.
package instruction

import "time"

// PayloadType is the DSSE payload type of an instruction. It is compared before anything is decoded.
const PayloadType = "application/vnd.muster.instruction.v1+json"

// Format is the version of the document that this package writes and reads.
const Format = 1

// Limits of a document; beyond them it is refused.
const (
	MaxBytes        = 4 << 20 // payload, in bytes
	MaxEnvelope     = 6 << 20 // DSSE envelope around it, in bytes
	MaxName         = 120     // characters
	MaxVersion      = 64      // characters
	MaxArgs         = 256
	MaxArg          = 8 << 10 // bytes of one argument
	MaxEnv          = 128
	MaxTimeLimit    = 24 * time.Hour
	DefaultLimit    = 10 * time.Minute
	DefaultExpiry   = 365 * 24 * time.Hour
	MaxArchive      = 64 << 30 // bytes
	MaxPriority     = 10
	DefaultPriority = 5
)

// Action is what happens with a package on the device.
type Action string

// The actions.
const (
	Launch  Action = "launch"  // unpack, run a file of the archive
	Execute Action = "execute" // run a command, in the unpacked archive if there is one
	Store   Action = "store"   // place the contents under a path
)

// Rerun says whether an attempt that was interrupted while its command ran may be tried again.
type Rerun string

// The rerun policies.
const (
	RerunNever Rerun = "never"
	RerunSafe  Rerun = "safe"
)

// Outcome is what an exit code means.
type Outcome string

// The outcomes.
const (
	OutcomeSuccess Outcome = "success"
	OutcomeReboot  Outcome = "reboot" // success, reboot needed
	OutcomeRetry   Outcome = "retry"  // try again later
	OutcomeFailure Outcome = "failure"
)

// Instruction is the document, format 1.
type Instruction struct {
	Format   int    `json:"format"`
	ID       string `json:"id"`      // package id, UUID
	Name     string `json:"name"`    // package name; serials grow per name
	Version  string `json:"version"` // of the package, free form
	Serial   uint64 `json:"serial"`  // milliseconds since the epoch at signing; never goes back per name
	Priority int    `json:"priority"`
	Action   Action `json:"action"`

	Archive *Archive `json:"archive,omitempty"`
	// Command is an argument vector. For launch the first element is a file inside the archive, with
	// forward slashes; for execute it is a program found on the system or given by path. Empty for store.
	Command []string `json:"command,omitempty"`
	// StorePath is the absolute directory on the device under which store places the contents.
	StorePath string `json:"store_path,omitempty"`

	TimeLimitSeconds int               `json:"time_limit_seconds"`
	Env              map[string]string `json:"env,omitempty"`
	ExitCodes        []ExitCode        `json:"exit_codes,omitempty"`
	Detect           *Detection        `json:"detect,omitempty"`
	Requires         *Requirements     `json:"requires,omitempty"`
	Retry            *Retry            `json:"retry,omitempty"`
	Rerun            Rerun             `json:"rerun,omitempty"` // empty is never
	NeedsCleanBoot   bool              `json:"needs_clean_boot,omitempty"`
	Private          bool              `json:"private,omitempty"` // fragments need the device's token, never shared

	// Carried for later agents; whoever sets one of these lists it in Critical, and this build refuses it.
	Reboot     string   `json:"reboot,omitempty"`
	Notice     string   `json:"notice,omitempty"`
	Supersedes []string `json:"supersedes,omitempty"`
	DependsOn  []string `json:"depends_on,omitempty"`

	// Critical names the fields an agent must implement to execute the document.
	Critical  []string  `json:"critical,omitempty"`
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Archive describes the archive and its fragments in order.
type Archive struct {
	Format    string     `json:"format"` // "zip" or "tar.gz"
	Size      int64      `json:"size"`   // bytes
	SHA256    string     `json:"sha256"` // lower-case hex
	Fragments []Fragment `json:"fragments"`
}

// Fragment is one piece of the archive, named by its digest.
type Fragment struct {
	SHA256 string `json:"sha256"`
	Length int64  `json:"length"`
}

// ExitCode maps one exit code.
type ExitCode struct {
	Code    int     `json:"code"`
	Outcome Outcome `json:"outcome"`
}

// Detection says how to tell that the package is installed. Exactly one of its fields is set.
type Detection struct {
	Software *SoftwareRule `json:"software,omitempty"`
	File     *FileRule     `json:"file,omitempty"`
	Command  []string      `json:"command,omitempty"` // exits 0 when installed
}

// SoftwareRule is true when the device lists software of this name, and version if given.
type SoftwareRule struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// FileRule is true when the file exists, with this digest if given.
type FileRule struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256,omitempty"`
}

// Requirements restrict where the package applies; elsewhere the deployment ends as not applicable.
type Requirements struct {
	OS             []string `json:"os,omitempty"`   // GOOS values
	Arch           []string `json:"arch,omitempty"` // GOARCH values
	MinDiskBytes   int64    `json:"min_disk_bytes,omitempty"`
	MinMemoryBytes int64    `json:"min_memory_bytes,omitempty"`
	MinAgent       string   `json:"min_agent,omitempty"` // agent version, semantic versioning
}

// Retry is how often an exit-code failure is tried again. A priority-0 package ignores Attempts: it
// is tried until it succeeds.
type Retry struct {
	Attempts     int `json:"attempts"`      // attempts in all, 1 to 100
	DelaySeconds int `json:"delay_seconds"` // before the second attempt; doubles, capped at an hour
}
