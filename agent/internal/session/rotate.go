package session

import (
	"context"
	"fmt"
	"time"

	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/packages/logging"
)

// rotate begins a change of the secret when it is due: the next one is on disk before the server hears
// of it. The check-in that follows uses it, and its success retires the old one.
func (s *Session) rotate(ctx context.Context) {
	s.mu.Lock()
	id := s.id
	s.mu.Unlock()
	if id.NextSecret != "" || time.Since(id.SecretAt) < rotateAfter {
		return
	}
	id.NextSecret = identity.Secret()
	if err := s.persist(id); err != nil {
		s.log.Warn("begin to change the secret", logging.Err, err)
		return
	}
	if err := s.client.Rotate(ctx, id.NextSecret); err != nil {
		s.log.Info("the secret was not changed this time", logging.Err, err)
	}
}

// promote persists which secret the server accepted; the other one is forgotten.
func (s *Session) promote(secret string) error {
	s.mu.Lock()
	id := s.id
	s.mu.Unlock()
	if id.Secret != secret {
		id.SecretAt = time.Now().UTC()
	}
	id.Secret, id.NextSecret = secret, ""
	return s.persist(id)
}

func (s *Session) persist(id identity.Identity) error {
	if err := s.o.Store.Save(id); err != nil {
		return fmt.Errorf("persist the identity: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = id
	return nil
}
