package user

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm/clause"

	"github.com/muster/muster/server/internal/store"
)

// session is one row of the table sessions; its token is a hash.
type session struct {
	Token  string `gorm:"primaryKey"`
	Data   []byte
	Expiry time.Time
}

// sessionStore keeps sessions in the database, for scs.
type sessionStore struct {
	db  *store.DB
	now func() time.Time
}

func (s *sessionStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	var row session
	res := s.db.With(ctx).Where("token = ? AND expiry > ?", token, s.now()).Limit(1).Find(&row)
	if res.Error != nil {
		return nil, false, fmt.Errorf("read session: %w", res.Error)
	}
	return row.Data, res.RowsAffected == 1, nil
}

func (s *sessionStore) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	row := session{Token: token, Data: data, Expiry: expiry.UTC()}
	err := s.db.With(ctx).Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "token"}}, DoUpdates: clause.AssignmentColumns([]string{"data", "expiry"}),
	}).Create(&row).Error
	if err != nil {
		return fmt.Errorf("keep session: %w", err)
	}
	return nil
}

func (s *sessionStore) DeleteCtx(ctx context.Context, token string) error {
	if err := s.db.With(ctx).Where("token = ?", token).Delete(&session{}).Error; err != nil {
		return fmt.Errorf("delete session: %w", err)
	}
	return nil
}

// Find, Commit and Delete complete scs.Store; scs calls the methods with a context.
func (s *sessionStore) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

func (s *sessionStore) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

func (s *sessionStore) Delete(token string) error {
	return s.DeleteCtx(context.Background(), token)
}
