// Package trust keeps the server's keys and the chain of trust documents that devices follow.
//
// A new server makes a root key and a server key for itself, so that its first package works within a
// minute; the first trust document says that this server can sign. From then on every document is
// checked exactly as a device checks it before it is stored, and stored before it is handed out. Keys
// are written before the document that names them: a crash in between is repaired at the next start.
// Catalog signs and verifies through it, agentapi hands the chain to devices.
package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/store"
)

// Files of the key directory.
const (
	rootFile   = "root.pem"
	serverFile = "server.pem"
)

// Options are what a Service needs.
type Options struct {
	DB   *store.DB
	Keys string // directory of the private keys
	Log  *slog.Logger
	Now  func() time.Time // store.Now when nil
}

// Service holds the chain in memory; documents are few and small.
type Service struct {
	rows rows
	keys string
	log  *slog.Logger
	now  func() time.Time

	mu    sync.RWMutex
	chain []link // oldest first
	// The private keys; zero values on a server that has handed them over.
	root, server trust.PrivateKey
}

// link is one document of the chain.
type link struct {
	doc      *trust.Document
	envelope json.RawMessage
}

// New makes the Service; Start must follow.
func New(o Options) *Service {
	s := &Service{rows: rows{o.DB}, keys: o.Keys, log: o.Log, now: o.Now}
	if s.now == nil {
		s.now = store.Now
	}
	return s
}

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
	chain, err := readChain(envelopes)
	if err != nil {
		return err
	}
	root, err := loadIfThere(filepath.Join(s.keys, rootFile))
	if err != nil {
		return err
	}
	server, err := loadIfThere(filepath.Join(s.keys, serverFile))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chain, s.root, s.server = chain, root, server
	if server.ID() != "" && !s.canSign() {
		s.log.WarnContext(ctx, "the server's key is not in the trust document: packages must be signed by an author", "key", server.ID())
	}
	return nil
}

// begin makes the first trust document. Keys that an interrupted start left are used.
func (s *Service) begin(ctx context.Context) ([]string, error) {
	if err := os.MkdirAll(s.keys, 0o700); err != nil {
		return nil, fmt.Errorf("make key directory: %w", err)
	}
	root, err := loadOrMake(filepath.Join(s.keys, rootFile))
	if err != nil {
		return nil, err
	}
	server, err := loadOrMake(filepath.Join(s.keys, serverFile))
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

func loadOrMake(path string) (trust.PrivateKey, error) {
	k, err := loadIfThere(path)
	if err != nil || k.ID() != "" {
		return k, err
	}
	if k, err = trust.GenerateKey(); err != nil {
		return k, err
	}
	return k, trust.SaveKey(path, k)
}

// loadIfThere is the zero key without the file.
func loadIfThere(path string) (trust.PrivateKey, error) {
	k, err := trust.LoadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return trust.PrivateKey{}, nil
	}
	return k, err
}

// readChain verifies what the database holds: it may have been restored or edited.
func readChain(envelopes []string) ([]link, error) {
	var (
		chain []link
		doc   *trust.Document
	)
	for n, envelope := range envelopes {
		root := ""
		if doc == nil {
			first, err := trust.Roots([]byte(envelope))
			if err != nil {
				return nil, fmt.Errorf("read first trust document: %w", err)
			}
			root = first[0]
		}
		next, err := trust.VerifyChain(root, doc, [][]byte{[]byte(envelope)})
		if err != nil {
			return nil, fmt.Errorf("read trust document %d from the database: %w", n+1, err)
		}
		doc = next
		chain = append(chain, link{doc: doc, envelope: json.RawMessage(envelope)})
	}
	return chain, nil
}

// Current is the newest trust document. It must not be changed.
func (s *Service) Current() *trust.Document {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current()
}

func (s *Service) current() *trust.Document { return s.chain[len(s.chain)-1].doc }

// Version is that of the newest trust document.
func (s *Service) Version() int { return s.Current().Version }

// ChainSince lists the envelopes of all documents newer than the version, oldest first; 0 lists all.
func (s *Service) ChainSince(version int) []json.RawMessage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []json.RawMessage
	for _, l := range s.chain {
		if l.doc.Version > version {
			list = append(list, l.envelope)
		}
	}
	return list
}

// RootFingerprint is the id of the root key that new enrollment strings carry.
func (s *Service) RootFingerprint() string {
	for _, k := range s.Current().Keys {
		if k.Has(trust.RoleRoot) {
			return k.ID
		}
	}
	return "" // no valid document is without a root
}

// CanSign reports whether this server can sign packages by itself.
func (s *Service) CanSign() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.canSign()
}

func (s *Service) canSign() bool {
	doc := s.current()
	k, ok := doc.Key(s.server.ID())
	return ok && k.Has(trust.RoleServer) && doc.Threshold(trust.RoleServer) == 1
}

// SignInstruction signs with the server's key and returns the envelope and the ids of the keys.
func (s *Service) SignInstruction(i *instruction.Instruction) ([]byte, []string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.canSign() {
		return nil, nil, fault.New(fault.Conflict, "this server cannot sign: sign the package with an author's key (muster package sign)")
	}
	payload, err := i.Encode()
	if err != nil {
		return nil, nil, err
	}
	envelope, err := trust.SignEnvelope(instruction.PayloadType, payload, s.server)
	if err != nil {
		return nil, nil, err
	}
	// As a device would: a revoked package must not look signed.
	if _, _, err := s.current().VerifyInstruction(envelope); err != nil {
		return nil, nil, err
	}
	return envelope, []string{s.server.ID()}, nil
}

// VerifyInstruction checks an envelope as devices do.
func (s *Service) VerifyInstruction(envelope []byte) (*instruction.Instruction, []string, error) {
	return s.Current().VerifyInstruction(envelope)
}

// Publish takes a newer trust document that the present roots have signed.
func (s *Service) Publish(ctx context.Context, envelope []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.publish(ctx, envelope)
}

func (s *Service) publish(ctx context.Context, envelope []byte) error {
	before := s.current()
	next, err := trust.VerifyChain("", before, [][]byte{envelope})
	if err != nil {
		return err
	}
	if next == before {
		return fault.New(fault.Conflict, "the trust document is not newer than version %d", before.Version)
	}
	if err := s.rows.add(ctx, next.Version, string(envelope), s.now()); err != nil {
		return err
	}
	s.chain = append(s.chain, link{doc: next, envelope: json.RawMessage(envelope)})
	s.log.InfoContext(ctx, "published trust document", "version", next.Version)
	return nil
}

// Revoke publishes a document that revokes instructions, named by the SHA-256 of their payload or by
// package id. It needs the root key on this server.
func (s *Service) Revoke(ctx context.Context, names ...string) error {
	return s.amend(ctx, func(doc *trust.Document) error {
		doc.Revoked = slices.Clone(doc.Revoked)
		for _, n := range names {
			if !slices.Contains(doc.Revoked, n) {
				doc.Revoked = append(doc.Revoked, n)
			}
		}
		return nil
	})
}

// AddKey publishes a document that trusts one more key. It needs the root key on this server. A key that
// is trusted already is a conflict: its roles are not widened in passing.
func (s *Service) AddKey(ctx context.Context, k trust.Key) error {
	return s.amend(ctx, func(doc *trust.Document) error {
		if _, there := doc.Key(k.ID); there {
			return fault.New(fault.Conflict, "the key %s is in the trust document already", k.ID)
		}
		doc.Keys = append(slices.Clone(doc.Keys), k)
		return nil
	})
}

// amend publishes the next version of the document, signed with the root key on this server.
func (s *Service) amend(ctx context.Context, change func(*trust.Document) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	doc := *s.current()
	k, ok := doc.Key(s.root.ID())
	if !ok || !k.Has(trust.RoleRoot) || doc.Threshold(trust.RoleRoot) > 1 {
		return fault.New(fault.Conflict, "the root key is not on this server: sign the next trust document where it is kept")
	}
	doc.Version++
	doc.IssuedAt = s.now().Truncate(time.Second)
	if err := change(&doc); err != nil {
		return err
	}
	envelope, err := doc.Sign(s.root)
	if err != nil {
		return err
	}
	return s.publish(ctx, envelope)
}

// addedAt is when a key first appeared in the chain.
func (s *Service) addedAt(id string) time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, l := range s.chain {
		if _, ok := l.doc.Key(id); ok {
			return l.doc.IssuedAt
		}
	}
	return time.Time{}
}
