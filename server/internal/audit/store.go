package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/store"
)

// entries is the table audit_entries.
type entries struct{ db *store.DB }

func (Entry) TableName() string { return "audit_entries" }

func (s *entries) add(ctx context.Context, row Entry) error {
	if err := s.db.With(ctx).Create(&row).Error; err != nil {
		return fmt.Errorf("keep audit row: %w", err)
	}
	return nil
}

// list is newest first; ids are sorted by time.
func (s *entries) list(ctx context.Context, f filter, p api.PageParams) ([]Entry, error) {
	after, err := api.DecodeCursor(p.Cursor, 1)
	if err != nil {
		return nil, err
	}
	q := s.db.With(ctx).Order("id desc").Limit(p.Fetch()).Scopes(store.Contains(f.Text, "actor", "operation", "target"))
	if after != nil {
		q = q.Where("id < ?", after[0])
	}
	var rows []Entry
	if err := q.Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("list audit rows: %w", err)
	}
	return rows, nil
}

func (s *entries) deleteBefore(ctx context.Context, t time.Time) error {
	if err := s.db.With(ctx).Where("time < ?", t).Delete(&Entry{}).Error; err != nil {
		return fmt.Errorf("delete old audit rows: %w", err)
	}
	return nil
}
