package group

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/text"
)

type memberRow struct {
	GroupID  string `gorm:"primaryKey"`
	DeviceID string `gorm:"primaryKey"`
	Member   bool
	Due      int
	Version  int
	AddedBy  string
	AddedAt  time.Time
}

func (memberRow) TableName() string { return "group_members" }

// goneStates are those of devices that are in no group.
func goneStates() []string { return []string{protocol.DeviceRevoked, protocol.DeviceRemoved} }

// join makes devices members; those that are already stay as they are.
func join(tx *gorm.DB, groupID string, deviceIDs []string, by string, now time.Time) error {
	for part := range slices.Chunk(deviceIDs, batch) {
		var there []string
		err := tx.Model(&memberRow{}).Where("group_id = ? AND device_id IN ? AND member = ?", groupID, part, true).Pluck("device_id", &there).Error
		if err != nil {
			return fmt.Errorf("read members: %w", err)
		}
		var rows []memberRow
		for _, id := range part {
			if !slices.Contains(there, id) {
				rows = append(rows, memberRow{GroupID: groupID, DeviceID: id, Member: true, Due: dueAll, Version: 1, AddedBy: by, AddedAt: now})
			}
		}
		if len(rows) == 0 {
			continue
		}
		// A row of a device that has left, of which not all has heard yet, goes on.
		values := clause.AssignmentColumns([]string{"member", "due", "added_by", "added_at"})
		values = append(values, clause.Assignment{Column: clause.Column{Name: "version"}, Value: gorm.Expr("group_members.version + 1")})
		err = tx.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "group_id"}, {Name: "device_id"}}, DoUpdates: values}).Create(&rows).Error
		if err != nil {
			return fmt.Errorf("add members: %w", err)
		}
	}
	return nil
}

// left ends the membership of the rows that of narrows to.
func left(of *gorm.DB) error {
	err := of.Model(&memberRow{}).Where("member = ?", true).
		UpdateColumns(map[string]any{"member": false, "due": dueAll, "version": gorm.Expr("version + 1")}).Error
	if err != nil {
		return fmt.Errorf("end membership: %w", err)
	}
	return nil
}

// addTo makes devices members of a list.
func addTo(tx *gorm.DB, groupID string, deviceIDs []string, by string) error {
	for part := range slices.Chunk(deviceIDs, batch) {
		var known []struct{ ID, Hostname, State string }
		if err := tx.Table("devices").Select("id, hostname, state").Where("id IN ?", part).Find(&known).Error; err != nil {
			return fmt.Errorf("read devices: %w", err)
		}
		states := map[string]bool{}
		for _, d := range known {
			if states[d.ID] = true; slices.Contains(goneStates(), d.State) {
				return fault.New(fault.Conflict, "device %s (%s) is %s and joins no group", d.Hostname, d.ID, d.State)
			}
		}
		for _, id := range part {
			if !states[id] {
				return fault.New(fault.NotFound, "there is no device %q", id)
			}
		}
	}
	return join(tx, groupID, deviceIDs, by, store.Now())
}

func (s *groupStore) add(ctx context.Context, groupID string, deviceIDs []string, by string) error {
	return s.db.Tx(ctx, func(tx *gorm.DB) error {
		if _, err := lock(tx, groupID); err != nil {
			return err
		}
		return addTo(tx, groupID, deviceIDs, by)
	})
}

func (s *groupStore) leave(ctx context.Context, groupID string, deviceIDs []string) error {
	return s.db.Tx(ctx, func(tx *gorm.DB) error {
		if _, err := lock(tx, groupID); err != nil {
			return err
		}
		for part := range slices.Chunk(deviceIDs, batch) {
			if err := left(tx.Where("group_id = ? AND device_id IN ?", groupID, part)); err != nil {
				return err
			}
		}
		return nil
	})
}

// forget takes a device out of all groups and returns which those were.
func (s *groupStore) forget(ctx context.Context, deviceID string) (groups []string, err error) {
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		of := tx.Where("device_id = ?", deviceID).Session(&gorm.Session{})
		if err := of.Model(&memberRow{}).Pluck("group_id", &groups).Error; err != nil {
			return fmt.Errorf("read groups of device: %w", err)
		}
		if err := of.Delete(&memberRow{}).Error; err != nil {
			return fmt.Errorf("forget groups of device: %w", err)
		}
		return nil
	})
	return groups, err
}

// tidy makes good what a crash or a race left: rows of devices that are gone, and members of groups that are
// not there.
func (s *groupStore) tidy(ctx context.Context) error {
	err := s.db.With(ctx).Where("device_id IN (SELECT id FROM devices WHERE state IN ?)", goneStates()).Delete(&memberRow{}).Error
	if err != nil {
		return fmt.Errorf("forget members that are gone: %w", err)
	}
	return left(s.db.With(ctx).Where("NOT EXISTS (SELECT 1 FROM device_groups g WHERE g.id = group_members.group_id)"))
}

// searched are the devices that a search finds, of those that may be in a group.
func searched(tx *gorm.DB, search device.Search, now time.Time) *gorm.DB {
	return tx.Table("devices").Where("devices.state NOT IN ?", goneStates()).Scopes(search.Where(now))
}

// differences finds, among the devices that are named or all, up to a batch that the search finds and are no
// members, and up to a batch that are members and it does not find.
func (s *groupStore) differences(ctx context.Context, row groupRow, ids []string, now time.Time) (joined, left []string, err error) {
	search, err := row.saved()
	if err != nil {
		return nil, nil, err
	}
	db := s.db.With(ctx)
	hits := searched(db, search, now).
		Where("NOT EXISTS (SELECT 1 FROM group_members m WHERE m.group_id = ? AND m.device_id = devices.id AND m.member = ?)", row.ID, true)
	// The row of devices is named devices in both, as the search's conditions name it.
	lost := db.Table("group_members AS m").Where("m.group_id = ? AND m.member = ?", row.ID, true).
		Where("NOT EXISTS (?)", searched(s.db.With(ctx), search, now).Select("1").Where("devices.id = m.device_id"))
	if ids != nil {
		hits, lost = hits.Where("devices.id IN ?", ids), lost.Where("m.device_id IN ?", ids)
	}
	if err := hits.Order("devices.id").Limit(batch).Pluck("devices.id", &joined).Error; err != nil {
		return nil, nil, fmt.Errorf("find who joins group %s: %w", row.ID, err)
	}
	if err := lost.Order("m.device_id").Limit(batch).Pluck("m.device_id", &left).Error; err != nil {
		return nil, nil, fmt.Errorf("find who leaves group %s: %w", row.ID, err)
	}
	return joined, left, nil
}

// settle writes who joins and leaves a saved search, unless the search has changed.
func (s *groupStore) settle(ctx context.Context, row groupRow, joined, gone []string) (written bool, err error) {
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		written = false
		now, err := lock(tx, row.ID)
		if fault.Is(err, fault.NotFound) || err == nil && now.Generation != row.Generation {
			return nil
		}
		if err != nil {
			return err
		}
		written = true
		if err := join(tx, row.ID, joined, "saved search", store.Now()); err != nil {
			return err
		}
		if len(gone) == 0 {
			return nil
		}
		return left(tx.Where("group_id = ? AND device_id IN ?", row.ID, gone))
	})
	return written, err
}

// present narrows devices to those of a group; the row of a member is m, which a device that a search finds may
// lack.
func present(tx *gorm.DB, row groupRow, now time.Time) (*gorm.DB, error) {
	if row.Kind == Static {
		return tx.Table("devices").Joins("JOIN group_members m ON m.group_id = ? AND m.device_id = devices.id AND m.member = ?", row.ID, true), nil
	}
	search, err := row.saved()
	if err != nil {
		return nil, err
	}
	return searched(tx, search, now).
		Joins("LEFT JOIN group_members m ON m.group_id = ? AND m.device_id = devices.id AND m.member = ?", row.ID, true), nil
}

const memberColumns = "devices.id AS device_id, devices.hostname, devices.state, devices.os_name, devices.os_version, devices.agent_version, devices.last_seen_at"

func (s *groupStore) members(ctx context.Context, row groupRow, f MemberFilter, now time.Time) ([]Member, error) {
	tx, err := present(s.db.With(ctx), row, now)
	if err != nil {
		return nil, err
	}
	tx = tx.Select(memberColumns + ", m.added_at, COALESCE(m.added_by, '') AS added_by").Scopes(store.Contains(f.Query, "devices.hostname")).
		Order("devices.hostname, devices.id").Limit(f.Limit)
	if f.After != nil {
		tx = tx.Where("(devices.hostname > ? OR (devices.hostname = ? AND devices.id > ?))", f.After[0], f.After[0], f.After[1])
	}
	var list []Member
	if err := tx.Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	return list, nil
}

func (s *groupStore) memberIDs(ctx context.Context, row groupRow, now time.Time) ([]string, error) {
	tx, err := present(s.db.With(ctx), row, now)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	if err := tx.Order("devices.id").Pluck("devices.id", &ids).Error; err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	return ids, nil
}

func (s *groupStore) preview(ctx context.Context, search device.Search, limit int, now time.Time) (int, []Member, error) {
	var count int64
	if err := searched(s.db.With(ctx), search, now).Count(&count).Error; err != nil {
		return 0, nil, fmt.Errorf("count what a search finds: %w", err)
	}
	list := []Member{}
	err := searched(s.db.With(ctx), search, now).Select(memberColumns).Order("devices.hostname, devices.id").Limit(limit).Find(&list).Error
	if err != nil {
		return 0, nil, fmt.Errorf("list what a search finds: %w", err)
	}
	return int(count), list, nil
}

// Tokens lets enrollment tokens name groups, within the transactions of package device.
type Tokens struct{}

// NameByToken notes the static groups that a new enrollment token names.
func (Tokens) NameByToken(tx *gorm.DB, tokenID string, groupIDs []string) error {
	ids := slices.Compact(slices.Sorted(slices.Values(groupIDs)))
	rows := make([]tokenGroupRow, len(ids))
	for i, id := range ids {
		row, err := lock(tx, id)
		switch {
		case fault.Is(err, fault.NotFound):
			return fault.Field("body.group_ids", "there is no group %.60q", id)
		case err != nil:
			return err
		case row.Kind != Static:
			return fault.Field("body.group_ids", "group %s is a saved search, which finds its devices by itself; a token names lists", row.Name)
		}
		rows[i] = tokenGroupRow{TokenID: tokenID, GroupID: id}
	}
	if err := tx.Create(&rows).Error; err != nil {
		return fmt.Errorf("note groups of token: %w", err)
	}
	return nil
}

// JoinByToken makes a new device a member of the groups that its enrollment token names.
func (Tokens) JoinByToken(tx *gorm.DB, tokenID, tokenName, deviceID string, now time.Time) error {
	var groups []string
	if err := tx.Model(&tokenGroupRow{}).Where("token_id = ?", tokenID).Order("group_id").Pluck("group_id", &groups).Error; err != nil {
		return fmt.Errorf("read groups of token: %w", err)
	}
	for _, id := range groups {
		if err := join(tx, id, []string{deviceID}, text.Cut("enrollment token "+tokenName, 255), now); err != nil {
			return err
		}
	}
	return nil
}
