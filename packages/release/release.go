// Package release is the signed document that tells an agent what another build of itself is.
//
// A Release names one version of the agent and, for each platform, the archive that holds its program. The
// author's tool makes and signs it, the server registers it after it has compared every word with its own
// cut of the uploads, and agents carry it out exactly as the verified bytes say. Only keys with the role
// release sign it, never the server. Decode is strict: unknown, duplicate or case-variant keys and trailing
// data are refused. The package keeps no state and touches no disk.
package release

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// PayloadType is the DSSE payload type of a release. It is compared before anything is decoded.
const PayloadType = "application/vnd.muster.release.v1+json"

// Format is the version of the document that this package writes and reads.
const Format = 1

// ArchiveFormat is how the program of a build is packed.
const ArchiveFormat = "tar.gz"

// Limits of a document; beyond them it is refused.
const (
	MaxBytes      = 1 << 20   // payload
	MaxEnvelope   = 3 << 19   // DSSE envelope around it, in bytes
	MaxProgram    = 256 << 20 // bytes of one program, and of the archive that holds it
	MaxBuilds     = 16
	MaxVersion    = 64 // bytes
	MaxNotes      = 4 << 10
	MaxDowngrades = 64
	DefaultExpiry = 365 * 24 * time.Hour
)

// Release is the document, format 1.
type Release struct {
	Format  int    `json:"format"`
	ID      string `json:"id"`      // UUID
	Version string `json:"version"` // semantic versioning 2, without a leading v
	// Builds has at most one for each platform.
	Builds []Build `json:"builds"`
	// DowngradeFrom lists higher versions that may go down to this one. An agent of any other higher version
	// refuses: this is the one allowance to go back, and it is signed.
	DowngradeFrom []string  `json:"downgrade_from,omitempty"`
	Notes         string    `json:"notes,omitempty"` // for people
	IssuedAt      time.Time `json:"issued_at"`
	ExpiresAt     time.Time `json:"expires_at"`
}

// Build is the program for one platform.
type Build struct {
	OS   string `json:"os"`   // GOOS
	Arch string `json:"arch"` // GOARCH
	// Archive is a tar.gz that holds exactly one regular file, named ProgramName(OS).
	Archive instruction.Archive `json:"archive"`
	// SHA256 and Size are the program's, as it lies in the archive.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes
}

// ProgramName is what the program is called on a system.
func ProgramName(goos string) string {
	if goos == "windows" {
		return "muster-agent.exe"
	}
	return "muster-agent"
}

// Stamp sets both times; validFor 0 is DefaultExpiry.
func (r *Release) Stamp(issued time.Time, validFor time.Duration) {
	if validFor == 0 {
		validFor = DefaultExpiry
	}
	r.IssuedAt = issued.UTC().Truncate(time.Second)
	r.ExpiresAt = r.IssuedAt.Add(validFor).Truncate(time.Second)
}

// Build finds the build for a platform.
func (r *Release) Build(goos, goarch string) (Build, bool) {
	i := slices.IndexFunc(r.Builds, func(b Build) bool { return b.OS == goos && b.Arch == goarch })
	if i < 0 {
		return Build{}, false
	}
	return r.Builds[i], true
}

// Platforms lists the platforms that there are builds for, as linux/amd64.
func (r *Release) Platforms() []string {
	list := make([]string, len(r.Builds))
	for i, b := range r.Builds {
		list[i] = b.OS + "/" + b.Arch
	}
	return list
}

// Follows reports whether an agent of the version may become this release: it is lower, or the release
// allows to go down from it.
func (r *Release) Follows(version string) bool {
	return Compare(version, r.Version) < 0 || r.Downgrades(version)
}

// Downgrades reports whether the release allows to go down to it from the version.
func (r *Release) Downgrades(version string) bool {
	return slices.ContainsFunc(r.DowngradeFrom, func(from string) bool { return Compare(from, version) == 0 })
}

// Expired reports whether an update to the release may no longer begin at the given time.
func (r *Release) Expired(now time.Time) bool { return !now.Before(r.ExpiresAt) }

// Validate returns all problems of the document joined, each a fault with the field's name, or nil.
func (r *Release) Validate() error {
	var list []error
	add := func(field, format string, args ...any) { list = append(list, fault.Field(field, format, args...)) }
	if r.Format != Format {
		add("format", "the format is %d, it must be %d", r.Format, Format)
	}
	if id, err := uuid.Parse(r.ID); err != nil || id.String() != r.ID {
		add("id", "the id %.40q is not a lower-case UUID", r.ID)
	}
	if !ValidVersion(r.Version) {
		add("version", "%.80q is not a version such as 1.4.0 or 1.4.0-rc.1", r.Version)
	}
	if len(r.DowngradeFrom) > MaxDowngrades {
		add("downgrade_from", "%d versions are more than %d", len(r.DowngradeFrom), MaxDowngrades)
	}
	for n, from := range r.DowngradeFrom {
		field := fmt.Sprintf("downgrade_from[%d]", n)
		switch {
		case !ValidVersion(from):
			add(field, "%.80q is not a version such as 1.4.0", from)
		case Compare(from, r.Version) <= 0:
			add(field, "%s is not above %.80s: it needs no allowance", from, r.Version)
		case slices.Contains(r.DowngradeFrom[:n], from):
			add(field, "%s is there twice", from)
		}
	}
	if len(r.Notes) > MaxNotes || !utf8.ValidString(r.Notes) || strings.ContainsFunc(r.Notes, unshown) {
		add("notes", "the notes are longer than %d bytes, or hold a character that cannot be shown", MaxNotes)
	}
	if r.IssuedAt.IsZero() {
		add("issued_at", "the issue time is missing")
	}
	if !r.ExpiresAt.After(r.IssuedAt) {
		add("expires_at", "the expiry time is not after the issue time")
	}
	if r.ExpiresAt.Year() > 9999 || r.IssuedAt.Year() < 1970 {
		add("expires_at", "the times are out of range")
	}
	if len(r.Builds) == 0 || len(r.Builds) > MaxBuilds {
		add("builds", "%d builds are not between 1 and %d", len(r.Builds), MaxBuilds)
		return errors.Join(list...)
	}
	platforms := r.Platforms()
	for n, b := range r.Builds {
		field := fmt.Sprintf("builds[%d]", n)
		list = append(list, b.check(field))
		if slices.Contains(platforms[:n], platforms[n]) {
			add(field, "there are two builds for %.80s", platforms[n])
		}
	}
	return errors.Join(list...)
}

func (b *Build) check(field string) error {
	var list []error
	add := func(sub, format string, args ...any) {
		list = append(list, fault.Field(field+"."+sub, format, args...))
	}
	if !isPlatform(b.OS) {
		add("os", "%.40q is not a name such as linux", b.OS)
	}
	if !isPlatform(b.Arch) {
		add("arch", "%.40q is not a name such as amd64", b.Arch)
	}
	if b.Size < 1 || b.Size > MaxProgram {
		add("size", "the program's size of %d bytes is not between 1 and %d", b.Size, MaxProgram)
	}
	if !protocol.IsSHA256(b.SHA256) {
		add("sha256", "%.80q is not a SHA-256 digest in lower-case hex", b.SHA256)
	}
	if b.Archive.Format != ArchiveFormat {
		add("archive.format", "the format is %.20q, it must be %s", b.Archive.Format, ArchiveFormat)
	}
	if b.Archive.Size > MaxProgram {
		add("archive.size", "the size of %d bytes is above %d", b.Archive.Size, MaxProgram)
	}
	return errors.Join(append(list, b.Archive.Validate(field+".archive"))...)
}

// isPlatform holds for what Go calls systems and architectures.
func isPlatform(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// unshown reports what has no place in a text for people.
func unshown(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }
