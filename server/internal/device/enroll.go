package device

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/text"
)

// Token admits new devices.
type Token struct {
	ID            string
	Name          string
	Uses          int
	MaxUses       int // 0: any number
	NeedsApproval bool
	ExpiresAt     time.Time
	RevokedAt     *time.Time
	CreatedBy     string
	CreatedAt     time.Time
	GroupIDs      []string // of which its devices become members; not filled by Tokens
}

// GroupRef names a group.
type GroupRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Kind string `json:"kind" enum:"static,search"`
}

// Enroll admits a device. The same nonce with the same secret gets the same device again, without a
// second use of the token. An unknown token is Unauthenticated, one that no longer admits Forbidden.
func (s *Service) Enroll(ctx context.Context, req protocol.EnrollRequest, remoteIP string) (Device, error) {
	if !protocol.IsSHA256(req.Nonce) {
		return Device{}, fault.Field("nonce", "must be 64 lower-case hex digits")
	}
	if !protocol.IsSHA256(req.SecretSHA256) {
		return Device{}, fault.Field("secret_sha256", "must be 64 lower-case hex digits")
	}
	if req.Token == "" || len(req.Token) > 200 {
		return Device{}, fault.New(fault.Unauthenticated, "the enrollment token is not known here")
	}
	now := store.Now()
	id, err := uuid.NewV7()
	if err != nil {
		return Device{}, fmt.Errorf("make device id: %w", err)
	}
	facts := cleanFacts(req.Facts, now)
	encoded, err := json.Marshal(facts)
	if err != nil {
		return Device{}, fmt.Errorf("encode facts: %w", err)
	}
	row := newRow(id.String(), facts, string(encoded), now)
	row.Nonce, row.SecretSHA256, row.EnrolledFrom = req.Nonce, req.SecretSHA256, text.Clean(remoteIP, 64)
	row, made, err := s.store.enroll(ctx, row, protocol.HashSecret(req.Token), now)
	if err != nil {
		return Device{}, err
	}
	if made {
		s.log.Info("device enrolled", "device", row.ID, "hostname", row.Hostname, "state", row.State)
		s.live.Notify(hub.Event{Type: "enrollment_token", ID: row.TokenID})
		s.live.Notify(hub.Event{Type: "device", ID: row.ID, DeviceID: row.ID})
		s.observed(row.ID)
	}
	return row.device(), nil
}

// CreateToken makes a token and returns its secret, which cannot be had again. A group that it names and that
// there is not, or that is no static one, is Invalid.
func (s *Service) CreateToken(ctx context.Context, t Token) (made Token, secret string, err error) {
	now := store.Now()
	id, err := uuid.NewV7()
	if err != nil {
		return Token{}, "", fmt.Errorf("make token id: %w", err)
	}
	if !t.ExpiresAt.After(now) {
		return Token{}, "", fault.Field("expires_in_hours", "the token would have expired already")
	}
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return Token{}, "", fmt.Errorf("make token: %w", err)
	}
	secret = hex.EncodeToString(random[:])
	t.ID, t.CreatedAt, t.ExpiresAt = id.String(), now, t.ExpiresAt.UTC().Truncate(time.Millisecond)
	t.Uses, t.RevokedAt = 0, nil
	if err := s.store.createToken(ctx, t, protocol.HashSecret(secret)); err != nil {
		return Token{}, "", err
	}
	s.live.Notify(hub.Event{Type: "enrollment_token", ID: t.ID})
	return t, secret, nil
}

// RevokeToken ends a token; devices that it admitted stay.
func (s *Service) RevokeToken(ctx context.Context, id string) error {
	if err := s.store.revokeToken(ctx, id); err != nil {
		return err
	}
	s.live.Notify(hub.Event{Type: "enrollment_token", ID: id})
	return nil
}
