package user

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/store"
)

// users is the tables users and api_tokens.
type users struct{ db *store.DB }

func (APIToken) TableName() string { return "api_tokens" }

func (s *users) count(ctx context.Context) (n int64, err error) {
	if err := s.db.With(ctx).Model(&User{}).Count(&n).Error; err != nil {
		return 0, fmt.Errorf("count users: %w", err)
	}
	return n, nil
}

func (s *users) create(ctx context.Context, u User) error {
	err := s.db.With(ctx).Create(&u).Error
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return fault.New(fault.Conflict, "there is a user %q already", u.Username)
	}
	if err != nil {
		return fmt.Errorf("create user: %w", err)
	}
	return nil
}

func (s *users) byName(ctx context.Context, name string) (User, error) {
	return s.one(ctx, "username = ?", name)
}

func (s *users) byID(ctx context.Context, id string) (User, error) {
	return s.one(ctx, "id = ?", id)
}

func (s *users) one(ctx context.Context, where, value string) (User, error) {
	var u User
	res := s.db.With(ctx).Where(where, value).Limit(1).Find(&u)
	if res.Error != nil {
		return User{}, fmt.Errorf("read user: %w", res.Error)
	}
	if res.RowsAffected == 0 {
		return User{}, fault.New(fault.NotFound, "there is no user %q", value)
	}
	return u, nil
}

// setPassword also ends the sessions begun before now.
func (s *users) setPassword(ctx context.Context, id, hash string, now time.Time) error {
	err := s.db.With(ctx).Model(&User{}).Where("id = ?", id).
		Updates(map[string]any{"password_hash": hash, "sessions_from": now, "updated_at": now}).Error
	if err != nil {
		return fmt.Errorf("keep password: %w", err)
	}
	return nil
}

func (s *users) createToken(ctx context.Context, t APIToken) error {
	return s.db.Tx(ctx, func(tx *gorm.DB) error {
		var n int64
		if err := tx.Model(&APIToken{}).Where("user_id = ?", t.UserID).Count(&n).Error; err != nil {
			return fmt.Errorf("count API tokens: %w", err)
		}
		if n >= maxTokens {
			return fault.New(fault.Conflict, "there are %d API tokens already; delete those no longer used", n)
		}
		if err := tx.Create(&t).Error; err != nil {
			return fmt.Errorf("keep API token: %w", err)
		}
		return nil
	})
}

func (s *users) tokens(ctx context.Context, userID string, p api.PageParams) ([]APIToken, error) {
	after, err := api.DecodeCursor(p.Cursor, 1)
	if err != nil {
		return nil, err
	}
	q := s.db.With(ctx).Where("user_id = ?", userID).Order("id desc").Limit(p.Fetch())
	if after != nil {
		q = q.Where("id < ?", after[0])
	}
	var all []APIToken
	if err := q.Find(&all).Error; err != nil {
		return nil, fmt.Errorf("list API tokens: %w", err)
	}
	return all, nil
}

func (s *users) deleteToken(ctx context.Context, userID, id string) error {
	res := s.db.With(ctx).Where("id = ? AND user_id = ?", id, userID).Delete(&APIToken{})
	if res.Error != nil {
		return fmt.Errorf("delete API token: %w", res.Error)
	}
	if res.RowsAffected == 0 {
		return fault.New(fault.NotFound, "there is no API token %q", id)
	}
	return nil
}

func (s *users) tokenByHash(ctx context.Context, hash string) (APIToken, User, error) {
	var t APIToken
	res := s.db.With(ctx).Where("hash = ?", hash).Limit(1).Find(&t)
	if res.Error != nil {
		return t, User{}, fmt.Errorf("read API token: %w", res.Error)
	}
	if res.RowsAffected == 0 {
		return t, User{}, fault.New(fault.NotFound, "there is no such API token")
	}
	u, err := s.byID(ctx, t.UserID)
	return t, u, err
}

func (s *users) tokenUsed(ctx context.Context, id string, now time.Time) error {
	return s.db.With(ctx).Model(&APIToken{}).Where("id = ?", id).UpdateColumn("last_used_at", now).Error
}

// keepExpired is how long an expired API token is still listed.
const keepExpired = 30 * 24 * time.Hour

func (s *users) cleanup(ctx context.Context, now time.Time) error {
	if err := s.db.With(ctx).Where("expiry < ?", now).Delete(&session{}).Error; err != nil {
		return fmt.Errorf("delete ended sessions: %w", err)
	}
	if err := s.db.With(ctx).Where("expires_at < ?", now.Add(-keepExpired)).Delete(&APIToken{}).Error; err != nil {
		return fmt.Errorf("delete expired API tokens: %w", err)
	}
	return nil
}
