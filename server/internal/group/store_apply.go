package group

import (
	"context"
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

// due reads the next rows of which something has to be brought in line. Those that have joined wait until their
// device may be given work.
func (s *groupStore) due(ctx context.Context, after memberRow) ([]memberRow, error) {
	var rows []memberRow
	err := s.db.With(ctx).Table("group_members AS m").Select("m.*").Joins("JOIN devices d ON d.id = m.device_id").
		Where("m.due > 0 AND (m.member = ? OR d.state = ?)", false, protocol.DeviceActive).
		Where("(m.group_id > ? OR (m.group_id = ? AND m.device_id > ?))", after.GroupID, after.GroupID, after.DeviceID).
		Order("m.group_id, m.device_id").Limit(batch).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read what is due: %w", err)
	}
	return rows, nil
}

// done notes what was brought in line, but for the bits that stay of a group. A row that changed meanwhile stays
// as it is. Those of devices that have left go when nothing is due any more.
func (s *groupStore) done(ctx context.Context, rows []memberRow, stay map[string]int) error {
	type kind struct {
		group   string
		version int
		due     int
	}
	var order []kind
	alike := map[kind][]string{}
	for _, r := range rows {
		k := kind{r.GroupID, r.Version, 0}
		if r.Member {
			k.due = r.Due & stay[r.GroupID]
		}
		if alike[k] == nil {
			order = append(order, k)
		}
		alike[k] = append(alike[k], r.DeviceID)
	}
	err := s.db.Tx(ctx, func(tx *gorm.DB) error {
		for _, k := range order {
			of := tx.Model(&memberRow{}).Where("group_id = ? AND device_id IN ? AND version = ?", k.group, alike[k], k.version)
			if err := of.UpdateColumn("due", k.due).Error; err != nil {
				return err
			}
			err := tx.Where("group_id = ? AND device_id IN ? AND version = ? AND member = ? AND due = 0", k.group, alike[k], k.version, false).
				Delete(&memberRow{}).Error
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note what is done: %w", err)
	}
	return nil
}

// setLevels gives devices the most talkative log level of their groups, and returns those that have another one
// than before.
func (s *groupStore) setLevels(ctx context.Context, ids []string) (changed []string, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		changed = nil
		var devices []struct{ ID, LogGroupLevel string }
		err := tx.Table("devices").Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).Select("id, log_group_level").
			Where("id IN ?", ids).Order("id").Find(&devices).Error
		if err != nil {
			return fmt.Errorf("read log levels: %w", err)
		}
		var wanted []struct{ DeviceID, LogLevel string }
		err = tx.Table("group_members AS m").Distinct("m.device_id, g.log_level").Joins("JOIN device_groups g ON g.id = m.group_id").
			Where("m.device_id IN ? AND m.member = ? AND g.log_level <> ''", ids, true).Find(&wanted).Error
		if err != nil {
			return fmt.Errorf("read log levels of groups: %w", err)
		}
		levels := map[string]string{}
		for _, w := range wanted {
			levels[w.DeviceID] = talkative(levels[w.DeviceID], w.LogLevel)
		}
		become := map[string][]string{}
		for _, d := range devices {
			if level := levels[d.ID]; level != d.LogGroupLevel {
				become[level] = append(become[level], d.ID)
				changed = append(changed, d.ID)
			}
		}
		for _, level := range append(slices.Clone(protocol.LogLevels), "") {
			if len(become[level]) == 0 {
				continue
			}
			err := tx.Table("devices").Where("id IN ?", become[level]).
				UpdateColumns(map[string]any{"log_group_level": level, "updated_at": store.Now()}).Error
			if err != nil {
				return fmt.Errorf("write log levels: %w", err)
			}
		}
		return nil
	})
	return changed, err
}

// withRelease are the groups whose members become a release.
func (s *groupStore) withRelease(ctx context.Context) ([]groupRow, error) {
	var rows []groupRow
	if err := s.db.With(ctx).Where("release_id <> ''").Order("id").Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("read groups with a release: %w", err)
	}
	return rows, nil
}

// remind marks the members whose agents are older than the version of the key.
func (s *groupStore) remind(ctx context.Context, groupID, versionKey string) error {
	err := s.db.Tx(ctx, func(tx *gorm.DB) error {
		return tx.Model(&memberRow{}).Where("group_id = ? AND member = ?", groupID, true).
			Where("device_id IN (SELECT id FROM devices WHERE state = ? AND agent_version_key < ?)", protocol.DeviceActive, versionKey).
			UpdateColumns(map[string]any{"due": gorm.Expr("due | ?", dueRelease), "version": gorm.Expr("version + 1")}).Error
	})
	if err != nil {
		return fmt.Errorf("mark members with older agents: %w", err)
	}
	return nil
}
