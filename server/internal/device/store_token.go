package device

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

// Groups is what the package needs of the groups, within its own transactions.
type Groups interface {
	// NameByToken notes the static groups that a new enrollment token names; another is Invalid.
	NameByToken(tx *gorm.DB, tokenID string, groupIDs []string) error
	// JoinByToken makes a new device a member of the groups that its enrollment token names.
	JoinByToken(tx *gorm.DB, tokenID, tokenName, deviceID string, now time.Time) error
}

type tokenRow struct {
	ID            string `gorm:"primaryKey"`
	Name          string
	SecretSHA256  string `gorm:"column:secret_sha256"`
	Uses          int
	MaxUses       int
	NeedsApproval bool
	ExpiresAt     time.Time
	RevokedAt     *time.Time
	CreatedBy     string
	CreatedAt     time.Time
}

func (tokenRow) TableName() string { return "enrollment_tokens" }

func (r tokenRow) token() Token {
	return Token{
		ID: r.ID, Name: r.Name, Uses: r.Uses, MaxUses: r.MaxUses, NeedsApproval: r.NeedsApproval,
		ExpiresAt: r.ExpiresAt, RevokedAt: r.RevokedAt, CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt,
	}
}

// enroll finds the device of row's nonce, or uses the token once and inserts row, in one transaction.
func (s *deviceStore) enroll(ctx context.Context, row deviceRow, tokenHash string, now time.Time) (got deviceRow, made bool, err error) {
	attempt := func(tx *gorm.DB) error {
		made = false
		if found, err := byNonce(tx, row, &got); found || err != nil {
			return err
		}
		token, err := useToken(tx, tokenHash, now)
		if err != nil {
			// The last use may just have been this same enrollment, sent twice at once.
			if found, again := byNonce(tx, row, &got); found || again != nil {
				return again
			}
			return err
		}
		row.TokenID, row.State = token.ID, protocol.DeviceActive
		if token.NeedsApproval {
			row.State = protocol.DevicePending
		}
		if err := tx.Create(&row).Error; err != nil {
			return fmt.Errorf("insert device: %w", err)
		}
		if s.groups != nil {
			if err := s.groups.JoinByToken(tx, token.ID, token.Name, row.ID, now); err != nil {
				return err
			}
		}
		got, made = row, true
		return nil
	}
	err = s.db.Tx(ctx, attempt)
	if errors.Is(err, gorm.ErrDuplicatedKey) { // the same enrollment came twice at once; find the other's row
		err = s.db.Tx(ctx, attempt)
	}
	return got, made, err
}

// byNonce finds the device that an earlier try of the same enrollment made.
func byNonce(tx *gorm.DB, row deviceRow, got *deviceRow) (found bool, err error) {
	*got = deviceRow{}
	err = tx.Where("nonce = ?", row.Nonce).Take(got).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find device by nonce: %w", err)
	}
	return true, checkAgain(*got, row.SecretSHA256)
}

// checkAgain decides whether a repeated enrollment is the one that made the device.
func checkAgain(row deviceRow, secretHash string) error {
	same := subtle.ConstantTimeCompare([]byte(row.SecretSHA256), []byte(secretHash)) == 1 ||
		subtle.ConstantTimeCompare([]byte(row.NextSHA256), []byte(secretHash)) == 1
	if !same {
		return fault.New(fault.Forbidden, "this enrollment was already used with another secret; start a new one")
	}
	if gone(row.State) {
		return fault.New(fault.Forbidden, "this device has been %s; start a new enrollment", row.State)
	}
	return nil
}

// useToken counts one use in the same statement that checks the right to it.
func useToken(tx *gorm.DB, hash string, now time.Time) (tokenRow, error) {
	var token tokenRow
	res := tx.Model(&tokenRow{}).
		Where("secret_sha256 = ? AND revoked_at IS NULL AND expires_at > ? AND (max_uses = 0 OR uses < max_uses)", hash, now).
		UpdateColumn("uses", gorm.Expr("uses + 1"))
	if res.Error != nil {
		return token, fmt.Errorf("use enrollment token: %w", res.Error)
	}
	err := tx.Where("secret_sha256 = ?", hash).Take(&token).Error
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound):
		return token, fault.New(fault.Unauthenticated, "the enrollment token is not known here")
	case err != nil:
		return token, fmt.Errorf("read enrollment token: %w", err)
	case res.RowsAffected > 0:
		return token, nil
	case token.RevokedAt != nil:
		return token, fault.New(fault.Forbidden, "the enrollment token %q has been revoked", token.Name)
	case !token.ExpiresAt.After(now):
		return token, fault.New(fault.Forbidden, "the enrollment token %q expired on %s", token.Name, token.ExpiresAt.Format(time.RFC3339))
	default:
		return token, fault.New(fault.Forbidden, "the enrollment token %q is used up (%d of %d uses)", token.Name, token.Uses, token.MaxUses)
	}
}

func (s *deviceStore) createToken(ctx context.Context, t Token, hash string) error {
	row := tokenRow{
		ID: t.ID, Name: t.Name, SecretSHA256: hash, MaxUses: t.MaxUses, NeedsApproval: t.NeedsApproval,
		ExpiresAt: t.ExpiresAt, CreatedBy: t.CreatedBy, CreatedAt: t.CreatedAt,
	}
	return s.db.Tx(ctx, func(tx *gorm.DB) error {
		if err := tx.Create(&row).Error; err != nil {
			return fmt.Errorf("insert enrollment token: %w", err)
		}
		if s.groups == nil || len(t.GroupIDs) == 0 {
			return nil
		}
		return s.groups.NameByToken(tx, t.ID, t.GroupIDs)
	})
}

func (s *deviceStore) revokeToken(ctx context.Context, id string) error {
	res := s.db.With(ctx).Model(&tokenRow{}).Where("id = ?", id).
		UpdateColumn("revoked_at", gorm.Expr("COALESCE(revoked_at, ?)", store.Now()))
	if res.Error != nil {
		return fmt.Errorf("revoke enrollment token: %w", res.Error)
	}
	if res.RowsAffected == 0 {
		return fault.New(fault.NotFound, "there is no enrollment token %q", id)
	}
	return nil
}

// tokens lists the newest first; before is the id of the last one seen.
func (s *deviceStore) tokens(ctx context.Context, before string, limit int) ([]Token, error) {
	tx := s.db.With(ctx).Order("id DESC").Limit(limit)
	if before != "" {
		tx = tx.Where("id < ?", before)
	}
	var rows []tokenRow
	if err := tx.Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("list enrollment tokens: %w", err)
	}
	tokens := make([]Token, len(rows))
	for i, r := range rows {
		tokens[i] = r.token()
	}
	return tokens, nil
}
