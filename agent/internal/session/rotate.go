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
	// A secret of the future was made by a clock that has been set back since.
	if age := time.Since(id.SecretAt); id.NextSecret != "" || (age >= 0 && age < rotateAfter) {
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
	switch secret {
	case id.NextSecret:
		id.OldSecret, id.SecretAt = id.Secret, time.Now().UTC()
	case id.OldSecret:
		id.OldSecret, id.SecretAt = "", time.Now().UTC()
	}
	id.Secret, id.NextSecret = secret, ""
	if err := s.persist(id); err != nil {
		return err
	}
	s.client.SetOld(id.OldSecret)
	return nil
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
