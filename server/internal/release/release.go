// Package release keeps the releases of the agent and starts updates to them.
//
// A release is a document that its author signed with keys of the role release (packages/release); the server
// signs none. It is registered when its signature counts by the newest trust document and every build is,
// fragment by fragment and byte by byte of the program, what the server's own cut of the uploads says. From
// then on nothing of it changes but that it may be retired. Document and references to fragments are written
// in one transaction: after a crash a release is there whole or not at all, and what a crash left undone of a
// retirement Run makes good. An update is a task (package task), which the device carries out after it has
// verified the document itself. The admin API calls the package, agentapi hands envelopes to devices, and
// group asks it to bring those who join to a release.
package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/task"
)

// State is where a release stands.
type State string

// The states.
const (
	Active  State = "active"  // devices may become it
	Retired State = "retired" // is offered to nobody any more; its version is free again
)

// Release is a registered release.
type Release struct {
	Document release.Release // as it is signed
	State    State
	Envelope string   // SHA-256 of the signed envelope's bytes
	SignedBy []string // key ids
	// Refusal says why devices would refuse it today; empty when they would not.
	Refusal   protocol.Reason
	CreatedBy string
	CreatedAt time.Time
	RetiredAt *time.Time
}

// Trust is what the package needs of the server's trust.
type Trust interface {
	VerifyRelease(envelope []byte) (*release.Release, []string, error)
	// JudgeRelease says why devices would refuse what these keys signed; empty when they would not.
	JudgeRelease(keyIDs []string, names ...string) protocol.Reason
}

// Blobs is what the package needs of the blobs.
type Blobs interface {
	Keep(ctx context.Context, data []byte) (sha256 string, err error)
	Store() blob.Store
	Upload(ctx context.Context, id string) (blob.Upload, error)
}

// Tasks is what the package needs of the tasks.
type Tasks interface {
	Update(ctx context.Context, req task.UpdateRequest) (task.Updates, error)
	EndUpdates(ctx context.Context, releaseID, by string) error
	List(ctx context.Context, f task.Filter) ([]task.Task, error)
}

// Groups is what the package needs of the groups of devices.
type Groups interface {
	// Members lists the ids of the devices in a group; a fault of code not_found without such a group.
	Members(ctx context.Context, groupID string) ([]string, error)
}

// Options are what a Service needs. Actor and Notify may be nil.
type Options struct {
	DB     *store.DB
	Blobs  Blobs
	Trust  Trust
	Tasks  Tasks
	Log    *slog.Logger
	Now    func() time.Time // store.Now when nil
	Actor  func(context.Context) string
	Notify func(releaseID string) // tells browsers
}

// Service is the feature. Make it with New and run Run once.
type Service struct {
	rows   rows
	blobs  Blobs
	trust  Trust
	tasks  Tasks
	log    *slog.Logger
	now    func() time.Time
	actor  func(context.Context) string
	notify func(string)

	mu     sync.RWMutex
	groups Groups
}

// New makes the Service.
func New(o Options) *Service {
	s := &Service{
		rows: rows{o.DB}, blobs: o.Blobs, trust: o.Trust, tasks: o.Tasks, log: o.Log, now: o.Now, actor: o.Actor, notify: o.Notify,
	}
	if s.now == nil {
		s.now = store.Now
	}
	if s.actor == nil {
		s.actor = func(context.Context) string { return "" }
	}
	if s.notify == nil {
		s.notify = func(string) {}
	}
	return s
}

// GroupsFrom sets where the members of groups come from. It is for wiring: groups are made after releases.
func (s *Service) GroupsFrom(g Groups) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = g
}

// Release reads one release; a fault of code not_found without it.
func (s *Service) Release(ctx context.Context, id string) (Release, error) {
	row, err := s.rows.find(ctx, id)
	if err != nil {
		return Release{}, err
	}
	return s.view(row)
}

// Query narrows a list of releases.
type Query struct {
	Search string // in the version, whatever the case
	State  State  // empty for all
	After  string // id of the last release seen; empty for the first page
	Limit  int
}

// List lists releases, the newest first.
func (s *Service) List(ctx context.Context, q Query) ([]Release, error) {
	found, err := s.rows.list(ctx, q)
	if err != nil {
		return nil, err
	}
	list := make([]Release, len(found))
	for i := range found {
		if list[i], err = s.view(&found[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Signed is the signed envelope of a release, by the SHA-256 of its bytes, for devices. That of a retired
// release is not found: nobody is to become it any more.
func (s *Service) Signed(ctx context.Context, digest string) ([]byte, error) {
	if err := s.rows.offered(ctx, digest); err != nil {
		return nil, err
	}
	return s.envelope(ctx, digest)
}

// FragmentShared reports whether the fragment is one of an active release: anybody may fetch it then.
func (s *Service) FragmentShared(ctx context.Context, digest string) (bool, error) {
	return s.rows.fragmentShared(ctx, digest)
}

// Retire takes a release back: nobody is offered it any more, open updates to it end, and its builds are
// freed. A device that has begun one is not stopped.
func (s *Service) Retire(ctx context.Context, id string) (Release, error) {
	row, err := s.rows.retire(ctx, id, s.now())
	if err != nil {
		return Release{}, err
	}
	if err := s.tasks.EndUpdates(context.WithoutCancel(ctx), row.ID, s.actor(ctx)); err != nil {
		return Release{}, err
	}
	s.log.InfoContext(ctx, "release retired", "release", row.ID, "version", row.Version)
	s.notify(row.ID)
	return s.view(row)
}

// Run ends the updates to releases that were retired right before a crash. It is called once.
func (s *Service) Run(ctx context.Context) {
	ids, err := s.rows.retired(ctx)
	for _, id := range ids {
		if err == nil {
			err = s.tasks.EndUpdates(ctx, id, "the server")
		}
	}
	if err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "end updates to retired releases", "err", err)
	}
}

// view is the row as the rest of the program sees it.
func (s *Service) view(r *releaseRow) (Release, error) {
	doc, err := release.Decode([]byte(r.Document))
	if err != nil {
		return Release{}, fmt.Errorf("read release %s: %w", r.ID, err)
	}
	keys, payload := strings.Fields(r.SignedBy), sha256.Sum256([]byte(r.Document))
	return Release{
		Document: *doc, State: State(r.State), Envelope: r.Envelope, SignedBy: keys,
		Refusal:   s.trust.JudgeRelease(keys, r.ID, hex.EncodeToString(payload[:])),
		CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, RetiredAt: r.RetiredAt,
	}, nil
}

// Usable is the version of a release to which updates may begin: NotFound without it, a Conflict when devices would
// refuse it today.
func (s *Service) Usable(ctx context.Context, id string) (version string, err error) {
	r, err := s.Release(ctx, id)
	if err != nil {
		return "", err
	}
	return r.Document.Version, r.usable(s.now())
}

// usable refuses to begin updates to a release that devices would refuse today.
func (r Release) usable(now time.Time) error {
	d := r.Document
	switch {
	case r.State != Active:
		return fault.New(fault.Conflict, "release %s is %s: choose another one", d.Version, r.State)
	case d.Expired(now):
		return fault.New(fault.Conflict, "release %s expired at %s: make and sign it again", d.Version, d.ExpiresAt.Format(time.RFC3339))
	case r.Refusal != "":
		return fault.New(fault.Conflict, "devices would refuse release %s today (%s): make and sign it again", d.Version, r.Refusal)
	}
	return nil
}
