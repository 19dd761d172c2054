// Package software is the catalogue of programs: titles, their versions, which device has which, and what
// appeared, changed and disappeared.
//
// A title is a program of one source, as curl from dpkg; devices share titles and versions. What a device
// has is replaced as a whole, in one transaction with the history and the counts that follow from it, so
// after a crash either the old or the new list is there. Titles stay when no device has them any more, as
// long as the history names them. inventory calls it with what devices report; the admin API reads; tasks ask what a
// device has reported.
package software

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"time"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/store"
)

// Kinds of change.
const (
	Added   = "added"
	Removed = "removed"
	Updated = "updated"
)

// keepHistory is how long changes are kept, mostHistory how many of a device.
const (
	keepHistory = 2 * 365 * 24 * time.Hour
	mostHistory = 10_000
)

// keepUnnamed is how long a title or version stays, after it was first seen, that no device has and no change names.
const keepUnnamed = 24 * time.Hour

// cleanEvery is how often old changes, and what revoked and removed devices had, are looked for.
const cleanEvery = 6 * time.Hour

// Change is one thing that changed on a device.
type Change struct {
	ID       string // UUIDv7
	DeviceID string
	TitleID  int64
	Kind     string // Added, Removed, Updated
	Name     string
	From     string // version; empty when added
	To       string // version; empty when removed
	Arch     string
	Time     time.Time
	Hostname string // of the device at present; only of History
}

// Options are what New needs.
type Options struct {
	DB  *store.DB    // required
	Log *slog.Logger // required
	// KeepOfGone is how long the history of a device stays that is removed or revoked; 90 days when zero.
	KeepOfGone time.Duration
}

// Service is the feature. Make it with New and keep Run running.
type Service struct {
	store      *catalogue
	log        *slog.Logger
	keepOfGone time.Duration
}

// New makes the service.
func New(o Options) *Service {
	if o.KeepOfGone <= 0 {
		o.KeepOfGone = 90 * 24 * time.Hour
	}
	return &Service{store: &catalogue{o.DB}, log: o.Log, keepOfGone: o.KeepOfGone}
}

// DeviceChanged stops counting a device that is revoked or has left. Should the server die right now, or the
// database fail, Run does it later.
func (s *Service) DeviceChanged(ctx context.Context, c device.Change) {
	if c.State != protocol.DeviceRevoked && c.State != protocol.DeviceRemoved {
		return
	}
	if err := s.store.forget(ctx, c.DeviceID); err != nil {
		s.log.Warn("forget software of device", "device", c.DeviceID, "err", err)
	}
}

// Run removes changes that are older than they are kept, what revoked devices had, and what nobody has or
// had any more, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	ticker := time.NewTicker(cleanEvery)
	defer ticker.Stop()
	for {
		if err := s.Clean(ctx, store.Now()); err != nil && ctx.Err() == nil {
			s.log.Warn("clean the software catalogue", "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Clean does once what Run does. A revoked or removed device counts no longer: its list is removed without a word in
// the history, for nothing happened to its programs.
func (s *Service) Clean(ctx context.Context, now time.Time) error {
	if err := s.store.deleteHistoryBefore(ctx, now.Add(-keepHistory)); err != nil {
		return err
	}
	if err := s.store.deleteHistoryOfGone(ctx, now.Add(-s.keepOfGone)); err != nil {
		return err
	}
	gone, err := s.store.goneWithSoftware(ctx)
	if err != nil {
		return err
	}
	for _, id := range gone {
		if err := s.store.forget(ctx, id); err != nil {
			return err
		}
	}
	return s.store.deleteUnnamed(ctx, now.Add(-keepUnnamed))
}

// Reported says which of the keys the device has not reported in its newest list.
func (s *Service) Reported(ctx context.Context, deviceID string, keys []string) (missing []string, err error) {
	known, err := s.store.reported(ctx, deviceID, keys)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if !known[k] {
			missing = append(missing, k)
		}
	}
	return missing, nil
}

// identity names a title by its source, package URL without version, and name: who brings a known package URL
// under a name of its own does not name what others have.
func identity(p protocol.Software) (id, purl string) {
	purl = withoutVersion(p.Key)
	if !strings.HasPrefix(purl, "pkg:") {
		purl = p.Name // a key that is no package URL may name the version anywhere
	}
	return digest(p.Source, purl, p.Name), purl
}

// withoutVersion cuts version, qualifiers and subpath off a package URL.
func withoutVersion(purl string) string {
	purl, _, _ = strings.Cut(purl, "#")
	purl, _, _ = strings.Cut(purl, "?")
	if at := strings.LastIndexByte(purl, '@'); at > strings.LastIndexByte(purl, '/') {
		purl = purl[:at]
	}
	return purl
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}
