package user

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
)

// TokenPrefix starts an API token; 64 hex digits follow.
const TokenPrefix = "mapi_"

// maxTokens bounds the API tokens of one user.
const maxTokens = 500

// usedEvery is how exactly the last use of a token is kept: a write per request would be too dear.
const usedEvery = time.Minute

// APIToken is a program's right to use the admin API as a user.
type APIToken struct {
	ID         string
	UserID     string
	Name       string
	Hash       string
	CreatedAt  time.Time
	LastUsedAt *time.Time
	ExpiresAt  *time.Time
}

// CreateToken makes an API token for a user; its text is returned this once. days is its lifetime, 0
// for ever.
func (s *Service) CreateToken(ctx context.Context, userID, name string, days int) (APIToken, string, error) {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return APIToken{}, "", fmt.Errorf("generate token: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return APIToken{}, "", fmt.Errorf("make token id: %w", err)
	}
	secret := hex.EncodeToString(b[:])
	t := APIToken{ID: id.String(), UserID: userID, Name: name, Hash: protocol.HashSecret(secret), CreatedAt: s.now()}
	if days > 0 {
		end := t.CreatedAt.AddDate(0, 0, days)
		t.ExpiresAt = &end
	}
	if err := s.store.createToken(ctx, t); err != nil {
		return APIToken{}, "", err
	}
	return t, TokenPrefix + secret, nil
}

// Tokens lists a user's API tokens, newest first.
func (s *Service) Tokens(ctx context.Context, userID string, p api.PageParams) ([]APIToken, error) {
	return s.store.tokens(ctx, userID, p)
}

// DeleteToken ends an API token of the user.
func (s *Service) DeleteToken(ctx context.Context, userID, id string) error {
	return s.store.deleteToken(ctx, userID, id)
}

// byToken is the actor of an Authorization header; nil when it names nobody.
func (s *Service) byToken(ctx context.Context, authorization string) (*Actor, error) {
	scheme, value, _ := strings.Cut(authorization, " ")
	secret, ok := strings.CutPrefix(strings.TrimSpace(value), TokenPrefix)
	if !strings.EqualFold(scheme, "Bearer") || !ok || !protocol.IsSHA256(secret) {
		return nil, nil
	}
	// Looking up a hash tells nothing by its time: the secret has 256 bits.
	t, u, err := s.store.tokenByHash(ctx, protocol.HashSecret(secret))
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	now := s.now()
	if t.ExpiresAt != nil && !now.Before(*t.ExpiresAt) {
		return nil, nil
	}
	if t.LastUsedAt == nil || now.Sub(*t.LastUsedAt) >= usedEvery {
		if err := s.store.tokenUsed(ctx, t.ID, now); err != nil {
			s.log.WarnContext(ctx, "the last use of an API token was not kept", "token", t.ID, "err", err)
		}
	}
	return &Actor{Kind: KindToken, UserID: u.ID, Name: u.Username}, nil
}
