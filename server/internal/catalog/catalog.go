// Package catalog holds the packages: draft, active, retired.
//
// A package is what its author decided (instruction.Spec) and the fragments of its archive; the
// instruction is built from both whenever it is asked for, by the code that the author's tool uses, and
// exists as bytes only once it is signed. Signing is done by the server's key, or by an author whose
// instruction must not differ from the server's own. Every change of state is one transaction; after it
// the subscribers are told, and since a crash may come in between they also look for themselves at
// start. The admin API calls it, and deploy through its Package method.
package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/store"
)

// State is where a package stands.
type State string

// The states.
const (
	Draft   State = "draft"   // may be signed, activated, deleted
	Active  State = "active"  // may be assigned
	Retired State = "retired" // is offered to nobody any more; its name and version are free again
)

// Package is one package.
type Package struct {
	ID    string
	State State
	Spec  instruction.Spec // as the author decided, without the id

	ArchiveFormat    string // empty without an archive
	ArchiveSize      int64
	ArchiveSHA256    string
	ArchiveFragments int

	Serial            uint64   // 0 until signed
	InstructionDigest string   // SHA-256 of the signed envelope; empty until signed
	SignedBy          []string // key ids
	IssuedAt          *time.Time
	ExpiresAt         *time.Time

	CreatedBy   string
	CreatedAt   time.Time
	ActivatedAt *time.Time
	RetiredAt   *time.Time
}

// Signed reports whether there is a signed instruction.
func (p Package) Signed() bool { return p.InstructionDigest != "" }

// Priority is the package's priority, 0 to 10.
func (p Package) Priority() int {
	if p.Spec.Priority == nil {
		return instruction.DefaultPriority
	}
	return *p.Spec.Priority
}

// Kinds of Event.
const (
	EventActivated = "activated"
	EventSigned    = "signed" // also again
	EventRetired   = "retired"
)

// Event tells that a package changed; the change is committed.
type Event struct {
	ID   string
	Kind string
}

// Trust is what the catalog needs of the server's trust.
type Trust interface {
	SignInstruction(i *instruction.Instruction) (envelope []byte, keyIDs []string, err error)
	VerifyInstruction(envelope []byte) (*instruction.Instruction, []string, error)
	// PartlySigned reads what authors have signed, enough of them or not yet; needed is how many must.
	PartlySigned(envelope []byte) (i *instruction.Instruction, keyIDs []string, needed int, err error)
	// Judge says why devices would refuse what these keys signed; empty when they would not.
	Judge(keyIDs []string, names ...string) protocol.Reason
}

// Blobs is what the catalog needs of the blobs.
type Blobs interface {
	Keep(ctx context.Context, data []byte) (sha256 string, err error)
	Store() blob.Store
}

// DeploymentCounts are the deployments of a package.
type DeploymentCounts struct {
	Total     int `json:"total"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Open      int `json:"open"`
}

// Counter counts deployments by package; packages without any may be left out.
type Counter func(ctx context.Context, packageIDs []string) (map[string]DeploymentCounts, error)

// Options are what a Service needs. Actor and Notify may be nil.
type Options struct {
	DB     *store.DB
	Blobs  Blobs
	Trust  Trust
	Log    *slog.Logger
	Now    func() time.Time // store.Now when nil
	Actor  func(context.Context) string
	Notify func(packageID string) // tells browsers
}

// Service is the catalog.
type Service struct {
	rows   rows
	blobs  Blobs
	trust  Trust
	log    *slog.Logger
	now    func() time.Time
	actor  func(context.Context) string
	notify func(string)

	collect sync.Mutex // one signature is added to what others signed at a time

	mu          sync.RWMutex
	counter     Counter
	subscribers []func(context.Context, Event)
}

// New makes the Service.
func New(o Options) *Service {
	s := &Service{rows: rows{o.DB}, blobs: o.Blobs, trust: o.Trust, log: o.Log, now: o.Now, actor: o.Actor, notify: o.Notify}
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

// Subscribe has fn called after each committed change, one after the other, in the request's own
// goroutine.
func (s *Service) Subscribe(fn func(context.Context, Event)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers = append(s.subscribers, fn)
}

// CountWith sets where the counts of deployments come from; without it they are zero. It is for wiring:
// deploy is made after the catalog.
func (s *Service) CountWith(c Counter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counter = c
}

func (s *Service) deployments(ctx context.Context, ids []string) (map[string]DeploymentCounts, error) {
	s.mu.RLock()
	c := s.counter
	s.mu.RUnlock()
	if c == nil || len(ids) == 0 {
		return nil, nil
	}
	return c(ctx, ids)
}

// changed tells subscribers (of an event with a kind) and browsers. The change is committed, so a
// request that ends early does not keep them from hearing of it.
func (s *Service) changed(ctx context.Context, id, kind string) {
	s.mu.RLock()
	list := s.subscribers
	s.mu.RUnlock()
	if kind != "" {
		for _, fn := range list {
			fn(context.WithoutCancel(ctx), Event{ID: id, Kind: kind})
		}
	}
	s.notify(id)
}

// Package reads one package; a fault of code not_found without it.
func (s *Service) Package(ctx context.Context, id string) (Package, error) {
	row, err := s.rows.find(ctx, id)
	if err != nil {
		return Package{}, err
	}
	return row.toPackage()
}

// toPackage is the row as the rest of the program sees it.
//
//fuzz:none the server wrote the row itself
func (r *packageRow) toPackage() (Package, error) {
	p := Package{
		ID: r.ID, State: State(r.State), ArchiveFormat: r.ArchiveFormat, ArchiveSize: r.ArchiveSize,
		ArchiveSHA256: r.ArchiveSHA256, ArchiveFragments: r.ArchiveFragments, Serial: uint64(max(r.Serial, 0)), // not negative
		InstructionDigest: r.InstructionDigest, SignedBy: strings.Fields(r.SignedBy), IssuedAt: r.IssuedAt, ExpiresAt: r.ExpiresAt,
		CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, ActivatedAt: r.ActivatedAt, RetiredAt: r.RetiredAt,
	}
	if err := json.Unmarshal([]byte(r.Spec), &p.Spec); err != nil {
		return Package{}, fmt.Errorf("read package %s: %w", r.ID, err)
	}
	return p, nil
}

// errState says why a package's state does not allow something.
func errState(r *packageRow, what string) error {
	return fault.New(fault.Conflict, "%s %s is %s: %s", r.Name, r.Version, r.State, what)
}
