package trust

import (
	"context"
	"fmt"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// Publish takes a newer trust document that the present roots and its own have signed. Private keys of
// this server that it no longer names are deleted.
func (s *Service) Publish(ctx context.Context, envelope []byte) error {
	return s.change(ctx, func() ([]byte, error) { return envelope, nil })
}

// Cosign adds the signature of the root key on this server to the next trust document, which its other
// roots have signed already, and publishes it. It must be the next version: what was made from an older
// document would undo what happened since.
func (s *Service) Cosign(ctx context.Context, envelope []byte) error {
	return s.change(ctx, func() ([]byte, error) {
		if !s.hasRoot() {
			return nil, errNoRoot()
		}
		before := s.current()
		doc, _, err := trust.Read(envelope, before)
		if err != nil {
			return nil, err
		}
		if doc.Version != before.Version+1 {
			return nil, fault.New(fault.Conflict, "the document has version %d, but version %d is in force: make it again from that one", doc.Version, before.Version)
		}
		return trust.Cosign(trust.PayloadType, envelope, s.keys.root)
	})
}

// Revoke publishes a document that revokes instructions, named by the SHA-256 of their payload or by
// package id. It needs the root key on this server. What is revoked already changes nothing.
func (s *Service) Revoke(ctx context.Context, names ...string) error {
	if doc := s.Current(); doc.IsRevokedAll(names...) {
		return nil
	}
	return s.amend(ctx, trust.Change{Revoke: names})
}

// AddKey publishes a document that trusts one more key. It needs the root key on this server. A key that
// is trusted already is a conflict: its roles are not widened in passing.
func (s *Service) AddKey(ctx context.Context, k trust.Key) error {
	return s.amend(ctx, trust.Change{Add: []trust.Key{k}})
}

// RemoveKey publishes a document without a key. It needs the root key on this server, which does not
// remove itself: see Rotate, and the take-over.
func (s *Service) RemoveKey(ctx context.Context, id string) error {
	if k, ok := s.Current().Key(id); ok && k.Has(trust.RoleRoot) {
		return fault.New(fault.Conflict, "the key %s is a root key: replace it (muster trust rotate-root) or take over (muster trust take-over)", id)
	}
	return s.amend(ctx, trust.Change{Remove: []string{id}})
}

// Rotate replaces the root key on this server, and its server key if the document names it, by new ones.
// Devices follow; whoever has the old ones can sign nothing for a device that has followed.
func (s *Service) Rotate(ctx context.Context) error {
	return s.change(ctx, func() ([]byte, error) {
		if !s.hasRoot() {
			return nil, errNoRoot()
		}
		before := s.current()
		root, server, err := s.keys.makeNext(s.canSign())
		if err != nil {
			return nil, err
		}
		c := trust.Change{Remove: []string{s.keys.root.ID()}, Add: []trust.Key{root.Entry(trust.RoleRoot)}}
		if s.canSign() {
			c.Remove = append(c.Remove, s.keys.server.ID())
			c.Add = append(c.Add, server.Entry(trust.RoleServer))
		}
		next, err := before.Next(c, s.now())
		if err != nil {
			return nil, err
		}
		return next.Sign(s.keys.root, root)
	})
}

// amend publishes the next version of the document, signed with the root key on this server.
func (s *Service) amend(ctx context.Context, c trust.Change) error {
	return s.change(ctx, func() ([]byte, error) {
		if !s.hasRoot() || s.current().Threshold(trust.RoleRoot) > 1 {
			return nil, errNoRoot()
		}
		next, err := s.current().Next(c, s.now())
		if err != nil {
			return nil, err
		}
		return next.Sign(s.keys.root)
	})
}

func errNoRoot() error {
	return fault.New(fault.Conflict, "the root key is not on this server: sign the next trust document where it is kept (muster trust … --root FILE)")
}

// change publishes what make returns, one change at a time, and tells those who want to know.
func (s *Service) change(ctx context.Context, next func() ([]byte, error)) error {
	// A published document's keys are deleted also when the request ends early.
	ctx = context.WithoutCancel(ctx)
	published, err := s.publish(ctx, next)
	if published {
		for _, fn := range s.watchers {
			fn(ctx)
		}
	}
	return err
}

// publish verifies, persists and uses the next document, in this order. published may be true beside an
// error: the document is in force then, but something after it failed.
func (s *Service) publish(ctx context.Context, next func() ([]byte, error)) (published bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	envelope, err := next()
	if err != nil {
		return false, err
	}
	before := s.current()
	links, err := trust.Follow("", before, [][]byte{envelope})
	if err != nil {
		return false, err
	}
	if len(links) == 0 {
		return false, fault.New(fault.Conflict, "the trust document is not newer than version %d", before.Version)
	}
	l := links[0]
	chain := trust.Prune(append(s.history[:len(s.history):len(s.history)], l))
	if size := trust.Size(chain); size > trust.MaxChain || len(chain) > protocol.MaxDocuments {
		return false, fault.New(fault.TooLarge, "devices would need %d trust documents of %d bytes, %d of %d are allowed: the root changed too often, or while very much was revoked",
			len(chain), size, protocol.MaxDocuments, trust.MaxChain)
	}
	if err := s.rows.add(ctx, l.Document.Version, string(envelope), s.now()); err != nil {
		return false, err
	}
	s.take(l)
	s.log.InfoContext(ctx, "published trust document", "version", l.Document.Version)
	s.forget(ctx)
	if err := s.keys.settle(ctx, s.history); err != nil {
		return true, fmt.Errorf("trust document %d is published, but not all private keys that it ends are deleted: %w", l.Document.Version, err)
	}
	return true, nil
}
