// Package trust keeps the server's keys and the chain of trust documents that devices follow.
//
// A new server makes a root key and a server key for itself, so that its first package works within a
// minute; the first trust document says that this server can sign. From then on every document is
// checked exactly as a device checks it before it is stored, and stored before it is handed out. Keys
// are written before the document that names them, and deleted after the document that no longer does:
// a crash in between is repaired at the next start. Catalog signs and verifies through it, agentapi
// hands the chain to devices.
package trust

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/store"
)

// maxHistory bounds the documents that are kept though no device needs them any more, in bytes.
const maxHistory = 8 << 20

// Options are what a Service needs.
type Options struct {
	DB   *store.DB
	Keys string // directory of the private keys
	Log  *slog.Logger
	Now  func() time.Time // store.Now when nil
}

// Service holds the chain in memory; its size is bounded.
type Service struct {
	rows rows
	keys keyring
	log  *slog.Logger
	now  func() time.Time

	mu      sync.RWMutex
	history []trust.Link // all that the database has, oldest first
	chain   []trust.Link // what devices need of it
	added   map[string]time.Time

	watchers []func(context.Context)
}

// New makes the Service; Start must follow.
func New(o Options) *Service {
	s := &Service{rows: rows{o.DB}, keys: keyring{dir: o.Keys, log: o.Log}, log: o.Log, now: o.Now, added: map[string]time.Time{}}
	if s.now == nil {
		s.now = store.Now
	}
	return s
}

// Subscribe adds fn to those who are told, after the commit, that there is a newer document. It is for
// wiring, before the service is used.
func (s *Service) Subscribe(fn func(context.Context)) { s.watchers = append(s.watchers, fn) }

// Start loads keys and chain, and makes both on a new server.
func (s *Service) Start(ctx context.Context) error {
	envelopes, err := s.rows.all(ctx)
	if err != nil {
		return err
	}
	if len(envelopes) == 0 {
		if envelopes, err = s.begin(ctx); err != nil {
			return err
		}
	}
	links, err := follow(envelopes)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range links {
		s.take(l)
	}
	if err := s.keys.settle(ctx, s.history); err != nil {
		return err
	}
	if id := s.keys.server.ID(); id != "" && !s.canSign() {
		s.log.WarnContext(ctx, "the server's key is not in the trust document: packages must be signed by an author", "key", id)
	}
	return nil
}

// begin makes the first trust document. Keys that an interrupted start left are used.
func (s *Service) begin(ctx context.Context) ([]string, error) {
	root, server, err := s.keys.make()
	if err != nil {
		return nil, err
	}
	doc := &trust.Document{Format: trust.Format, Version: 1, IssuedAt: s.now().Truncate(time.Second), Keys: []trust.Key{
		root.Entry(trust.RoleRoot), server.Entry(trust.RoleServer),
	}}
	envelope, err := doc.Sign(root)
	if err != nil {
		return nil, fmt.Errorf("sign first trust document: %w", err)
	}
	err = s.rows.add(ctx, 1, string(envelope), s.now())
	if fault.Is(err, fault.Conflict) { // another server of the same database was faster
		return s.rows.all(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "made this server's keys and first trust document", "root", root.ID())
	return []string{string(envelope)}, nil
}

// follow verifies what the database holds: it may have been restored or edited.
func follow(envelopes []string) ([]trust.Link, error) {
	raw := make([][]byte, len(envelopes))
	for n, e := range envelopes {
		raw[n] = []byte(e)
	}
	roots, err := trust.Signers(raw[0])
	if err != nil {
		return nil, fmt.Errorf("read first trust document: %w", err)
	}
	links, err := trust.Follow(roots[0], nil, raw)
	if err != nil {
		return nil, fmt.Errorf("read trust documents from the database: %w", err)
	}
	return links, nil
}

// take adds a verified document to what is in memory.
func (s *Service) take(l trust.Link) {
	for _, k := range l.Document.Keys {
		if _, known := s.added[k.ID]; !known {
			s.added[k.ID] = l.Document.IssuedAt
		}
	}
	s.history = append(s.history, l)
	s.chain = trust.Prune(s.history)
}

// Current is the newest trust document. It must not be changed.
func (s *Service) Current() *trust.Document {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current()
}

func (s *Service) current() *trust.Document { return s.chain[len(s.chain)-1].Document }

// Version is that of the newest trust document.
func (s *Service) Version() int { return s.Current().Version }

// ChainSince lists the envelopes that lead from the document of the version to the newest, oldest
// first; 0 lists those that lead there from any document ever published.
func (s *Service) ChainSince(version int) []json.RawMessage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []json.RawMessage
	for _, l := range s.chain {
		if l.Document.Version > version {
			list = append(list, json.RawMessage(l.Envelope))
		}
	}
	return list
}

// RootFingerprint is the id of the root key that new enrollment strings carry.
func (s *Service) RootFingerprint() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return trust.Start(s.chain)
}

// CanSign reports whether this server can sign packages by itself.
func (s *Service) CanSign() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.canSign()
}

func (s *Service) canSign() bool {
	doc := s.current()
	k, ok := doc.Key(s.keys.server.ID())
	return ok && k.Has(trust.RoleServer) && doc.Threshold(trust.RoleServer) == 1
}

// HasRoot reports whether this server can sign trust documents, alone or beside others.
func (s *Service) HasRoot() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.hasRoot()
}

func (s *Service) hasRoot() bool {
	k, ok := s.current().Key(s.keys.root.ID())
	return ok && k.Has(trust.RoleRoot)
}

// SignInstruction signs with the server's key and returns the envelope and the ids of the keys.
func (s *Service) SignInstruction(i *instruction.Instruction) ([]byte, []string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.canSign() {
		return nil, nil, fault.New(fault.Conflict, "this server cannot sign: sign the package with an author's key (muster package sign --key FILE)")
	}
	payload, err := i.Encode()
	if err != nil {
		return nil, nil, err
	}
	envelope, err := trust.SignEnvelope(instruction.PayloadType, payload, s.keys.server)
	if err != nil {
		return nil, nil, err
	}
	// As a device would: a revoked package must not look signed.
	if _, _, err := s.current().VerifyInstruction(envelope); err != nil {
		return nil, nil, err
	}
	return envelope, []string{s.keys.server.ID()}, nil
}

// VerifyInstruction checks an envelope as devices do.
func (s *Service) VerifyInstruction(envelope []byte) (*instruction.Instruction, []string, error) {
	return s.Current().VerifyInstruction(envelope)
}

// PartlySigned reads what authors have signed, and how many of them must.
func (s *Service) PartlySigned(envelope []byte) (*instruction.Instruction, []string, int, error) {
	doc := s.Current()
	i, ids, err := doc.PartlySigned(envelope)
	return i, ids, doc.Threshold(trust.RoleAuthor), err
}

// Judge says why devices would refuse what these keys signed; empty when they would not.
func (s *Service) Judge(ids []string, names ...string) protocol.Reason {
	return s.Current().Judge(ids, names...)
}

// VerifyRelease checks the envelope of a release as devices do.
func (s *Service) VerifyRelease(envelope []byte) (*release.Release, []string, error) {
	return s.Current().VerifyRelease(envelope)
}

// JudgeRelease says why devices would refuse a release that these keys signed; empty when they would not.
func (s *Service) JudgeRelease(ids []string, names ...string) protocol.Reason {
	return s.Current().JudgeRelease(ids, names...)
}

// addedAt is when a key first appeared, as far back as documents are kept.
func (s *Service) addedAt(id string) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.added[id]
}

// forget drops the oldest documents that no device needs, once all together are too large.
func (s *Service) forget(ctx context.Context) {
	needed := map[int]bool{}
	for _, l := range s.chain {
		needed[l.Document.Version] = true
	}
	var gone []int
	left := trust.Size(s.history) - trust.Size(s.chain)
	s.history = slices.DeleteFunc(s.history, func(l trust.Link) bool {
		if left <= maxHistory || needed[l.Document.Version] {
			return false
		}
		left -= len(l.Envelope)
		gone = append(gone, l.Document.Version)
		return true
	})
	if len(gone) == 0 {
		return
	}
	if err := s.rows.remove(ctx, gone); err != nil {
		s.log.WarnContext(ctx, "forget trust documents that no device needs", "err", err) // the next start reads them again
	}
}
