package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/store"
)

type groupStore struct{ db *store.DB }

type groupRow struct {
	ID          string `gorm:"primaryKey"`
	Name        string
	NameKey     string
	Description string
	Kind        string
	Search      string
	Generation  int
	LogLevel    string
	ReleaseID   string
	CreatedBy   string
	CreatedAt   time.Time
	UpdatedAt   time.Time

	due int // what its members have to be brought in line with after a change
}

func (groupRow) TableName() string { return "device_groups" }

type tokenGroupRow struct {
	TokenID string `gorm:"primaryKey"`
	GroupID string `gorm:"primaryKey"`
}

func (tokenGroupRow) TableName() string { return "enrollment_token_groups" }

func errTaken(name string) error {
	return fault.New(fault.Conflict, "there is a group %q already; take another name", name)
}

func (s *groupStore) create(ctx context.Context, row groupRow, deviceIDs []string, by string) error {
	err := s.db.Tx(ctx, func(tx *gorm.DB) error {
		var groups int64
		if err := tx.Model(&groupRow{}).Count(&groups).Error; err != nil {
			return fmt.Errorf("count groups: %w", err)
		}
		if groups >= Most {
			return fault.New(fault.Conflict, "there are %d groups, as many as may be; delete one that is not needed", groups)
		}
		if err := tx.Create(&row).Error; err != nil {
			return fmt.Errorf("insert group: %w", err)
		}
		return addTo(tx, row.ID, deviceIDs, by)
	})
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return errTaken(row.Name)
	}
	return err
}

// lock reads a group and keeps others from changing it until the transaction ends.
func lock(tx *gorm.DB, id string) (groupRow, error) {
	var row groupRow
	err := tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).Where("id = ?", id).Take(&row).Error
	return row, found(err, id)
}

func found(err error, id string) error {
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return fault.New(fault.NotFound, "there is no group %q", id)
	}
	if err != nil {
		return fmt.Errorf("read group: %w", err)
	}
	return nil
}

func (s *groupStore) alter(ctx context.Context, id string, change func(*groupRow) error) (groupRow, error) {
	var row groupRow
	err := s.db.Tx(ctx, func(tx *gorm.DB) (err error) {
		if row, err = lock(tx, id); err != nil {
			return err
		}
		if err := change(&row); err != nil {
			return err
		}
		row.UpdatedAt = store.Now()
		if err := tx.Select("*").Updates(&row).Error; err != nil {
			return fmt.Errorf("change group: %w", err)
		}
		if row.due == 0 {
			return nil
		}
		err = tx.Model(&memberRow{}).Where("group_id = ?", id).
			UpdateColumns(map[string]any{"due": gorm.Expr("due | ?", row.due), "version": gorm.Expr("version + 1")}).Error
		if err != nil {
			return fmt.Errorf("note what members have to follow: %w", err)
		}
		return nil
	})
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return row, errTaken(row.Name)
	}
	return row, err
}

func (s *groupStore) get(ctx context.Context, id string) (groupRow, error) {
	var row groupRow
	err := s.db.With(ctx).Where("id = ?", id).Take(&row).Error
	return row, found(err, id)
}

func (s *groupStore) list(ctx context.Context, f Filter) ([]groupRow, error) {
	tx := s.db.With(ctx).Scopes(store.Contains(f.Query, "name", "description")).Order("name, id").Limit(f.Limit)
	if f.Kind != "" {
		tx = tx.Where("kind = ?", f.Kind)
	}
	if f.After != nil {
		tx = tx.Where("(name > ? OR (name = ? AND id > ?))", f.After[0], f.After[0], f.After[1])
	}
	var rows []groupRow
	if err := tx.Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	return rows, nil
}

// searches are all saved searches.
func (s *groupStore) searches(ctx context.Context) ([]groupRow, error) {
	var rows []groupRow
	if err := s.db.With(ctx).Where("kind = ?", Saved).Order("id").Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("read saved searches: %w", err)
	}
	return rows, nil
}

// counts says how many members groups have.
func (s *groupStore) counts(ctx context.Context, ids []string) (map[string]int, error) {
	var found []struct {
		GroupID string
		Members int
	}
	err := s.db.With(ctx).Model(&memberRow{}).Select("group_id, COUNT(*) AS members").
		Where("group_id IN ? AND member = ?", ids, true).Group("group_id").Find(&found).Error
	if err != nil {
		return nil, fmt.Errorf("count members: %w", err)
	}
	out := map[string]int{}
	for _, f := range found {
		out[f.GroupID] = f.Members
	}
	return out, nil
}

// remove deletes a group. The rows of its members stay until all has heard that they have left.
func (s *groupStore) remove(ctx context.Context, id string, now time.Time) (name string, err error) {
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		row, err := lock(tx, id)
		if err != nil {
			return err
		}
		name = row.Name
		var tokens []string
		err = tx.Table("enrollment_tokens AS t").Joins("JOIN enrollment_token_groups g ON g.token_id = t.id").
			Where("g.group_id = ? AND t.revoked_at IS NULL AND t.expires_at > ? AND (t.max_uses = 0 OR t.uses < t.max_uses)", id, now).
			Order("t.id").Limit(1).Pluck("t.name", &tokens).Error
		if err != nil {
			return fmt.Errorf("find tokens of group: %w", err)
		}
		if len(tokens) > 0 {
			return fault.New(fault.Conflict, "the enrollment token %q lets devices join group %s; revoke it first", tokens[0], name)
		}
		if err := tx.Where("group_id = ?", id).Delete(&tokenGroupRow{}).Error; err != nil {
			return fmt.Errorf("forget tokens of group: %w", err)
		}
		if err := left(tx.Where("group_id = ?", id)); err != nil {
			return err
		}
		if err := tx.Where("id = ?", id).Delete(&groupRow{}).Error; err != nil {
			return fmt.Errorf("delete group: %w", err)
		}
		return nil
	})
	return name, err
}

// of lists the groups of a device.
func (s *groupStore) of(ctx context.Context, deviceID string) ([]device.GroupRef, error) {
	refs := []device.GroupRef{}
	err := s.db.With(ctx).Table("device_groups AS g").Select("g.id, g.name, g.kind").
		Joins("JOIN group_members m ON m.group_id = g.id").Where("m.device_id = ? AND m.member = ?", deviceID, true).
		Order("g.name, g.id").Find(&refs).Error
	if err != nil {
		return nil, fmt.Errorf("list groups of device: %w", err)
	}
	return refs, nil
}

// ofTokens lists the groups that enrollment tokens name.
func (s *groupStore) ofTokens(ctx context.Context, tokenIDs []string) (map[string][]device.GroupRef, error) {
	var rows []struct {
		TokenID string
		ID      string
		Name    string
		Kind    string
	}
	err := s.db.With(ctx).Table("enrollment_token_groups AS t").Select("t.token_id, g.id, g.name, g.kind").
		Joins("JOIN device_groups g ON g.id = t.group_id").Where("t.token_id IN ?", tokenIDs).Order("g.name, g.id").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("list groups of tokens: %w", err)
	}
	out := map[string][]device.GroupRef{}
	for _, r := range rows {
		out[r.TokenID] = append(out[r.TokenID], device.GroupRef{ID: r.ID, Name: r.Name, Kind: r.Kind})
	}
	return out, nil
}
