package software

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/versionkey"
)

// List is what a device has, ready to be written. Make it with Prepare.
type List struct{ entries []entry }

// Prepare finds or makes the titles and versions of programs, whose keys are unique and whose texts are
// clean. It commits by itself and before the list is written: two devices that bring the same title at the
// same time share one row without waiting for each other's whole list.
func (s *Service) Prepare(ctx context.Context, programs []protocol.Software, now time.Time) (List, error) {
	c := s.store
	list := List{entries: make([]entry, len(programs))}
	titles := make(map[string]titleRow, len(programs))
	titleOf := make([]string, len(programs))
	for i, p := range programs {
		id, purl := identity(p)
		titleOf[i] = id
		if _, known := titles[id]; !known {
			titles[id] = titleRow{
				Identity: id, Source: p.Source, PURL: purl, Name: p.Name, Publisher: p.Publisher, Summary: p.Summary, FirstSeenAt: now,
			}
		}
	}
	titleIDs, err := ensure(ctx, c.db, titles, func(r titleRow) (string, int64) { return r.Identity, r.ID })
	if err != nil {
		return list, fmt.Errorf("find titles of software: %w", err)
	}
	versions := make(map[string]versionRow, len(programs))
	versionOf := make([]string, len(programs))
	for i, p := range programs {
		id := digest(titleOf[i], p.Version)
		versionOf[i] = id
		versions[id] = versionRow{
			Identity: id, TitleID: titleIDs[titleOf[i]], Version: p.Version, VersionKey: versionkey.Of(p.Version), FirstSeenAt: now,
		}
	}
	versionIDs, err := ensure(ctx, c.db, versions, func(r versionRow) (string, int64) { return r.Identity, r.ID })
	if err != nil {
		return list, fmt.Errorf("find versions of software: %w", err)
	}
	for i, p := range programs {
		list.entries[i] = entry{
			key: p.Key, title: titleIDs[titleOf[i]], versionID: versionIDs[versionOf[i]], name: p.Name, version: p.Version,
			size: p.SizeBytes, installed: p.InstalledAt, arch: p.Arch, essential: p.Essential, defect: p.Condition,
		}
	}
	return list, nil
}

// ensure reads the ids of rows by their identity and makes those that are missing. Rows are made in the
// order of their identity, so that two who make the same ones do not wait for each other in a circle; who
// comes second finds them there.
func ensure[R any](ctx context.Context, db *store.DB, rows map[string]R, of func(R) (identity string, id int64)) (map[string]int64, error) {
	ids := make(map[string]int64, len(rows))
	read := func(identities []string) error {
		for part := range chunks(identities) {
			var found []R
			if err := db.With(ctx).Select("id", "identity").Where("identity IN ?", part).Find(&found).Error; err != nil {
				return err
			}
			for _, r := range found {
				identity, id := of(r)
				ids[identity] = id
			}
		}
		return nil
	}
	all := slices.Sorted(maps.Keys(rows))
	if err := read(all); err != nil {
		return nil, err
	}
	// Not ON DUPLICATE KEY UPDATE, which gorm would write for MySQL: when it meets a row that another has just
	// made, the next number goes on from that row's, meets a number that is taken, and takes that for the
	// duplicate. The row would be left out without an error.
	skip := clause.Expression(clause.OnConflict{DoNothing: true})
	if db.Dialect == store.MySQL {
		skip = clause.Insert{Modifier: "IGNORE"}
	}
	missing := slices.DeleteFunc(all, func(id string) bool { return ids[id] != 0 })
	for part := range chunks(missing) {
		made := make([]R, len(part))
		for i, id := range part {
			made[i] = rows[id]
		}
		err := db.Tx(ctx, func(tx *gorm.DB) error { // which tries again after a deadlock: others insert beside us
			return tx.Clauses(skip).Omit("id").Create(&made).Error
		})
		if err != nil {
			return nil, err
		}
	}
	if err := read(missing); err != nil {
		return nil, err
	}
	if len(ids) != len(rows) {
		return nil, fault.New(fault.Unavailable, "the software catalogue is being changed; try again later")
	}
	return ids, nil
}

// Lock keeps others from changing the device's list until the transaction ends.
func Lock(tx *gorm.DB, deviceID string) error {
	var id []string
	err := tx.Table("devices").Clauses(clause.Locking{Strength: "UPDATE"}).Where("id = ?", deviceID).Pluck("id", &id).Error
	if err != nil {
		return fmt.Errorf("lock device: %w", err)
	}
	if len(id) == 0 {
		return fault.New(fault.NotFound, "there is no device %.40q", deviceID)
	}
	return nil
}

// How says how Replace takes a list.
type How struct {
	// Baseline says that the device had none before: its history begins now, and no changes are returned.
	Baseline bool
	// Incomplete names the sources of which the list is not whole: what the device had of them stays, unless
	// the list has another version of it.
	Incomplete []string
}

// Replace makes the list what the device has, in the caller's transaction, after Lock.
func Replace(tx *gorm.DB, deviceID string, list List, how How, now time.Time) ([]Change, error) {
	old, err := present(tx, deviceID)
	if err != nil {
		return nil, err
	}
	list.entries = stay(old, list.entries, how.Incomplete)
	d := diff(old, list.entries)
	if err := write(tx, deviceID, d, now); err != nil {
		return nil, err
	}
	if how.Baseline {
		return nil, nil
	}
	rows := make([]historyRow, len(d.changes))
	for i := range d.changes {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("make id of a change: %w", err)
		}
		c := &d.changes[i]
		c.ID, c.DeviceID, c.Time = id.String(), deviceID, now
		rows[i] = historyRow{
			ID: c.ID, DeviceID: deviceID, TitleID: c.TitleID, Kind: c.Kind, FromVersion: c.From, ToVersion: c.To, Arch: c.Arch, Time: now,
		}
	}
	if len(rows) > 0 {
		if err := tx.CreateInBatches(rows, chunk).Error; err != nil {
			return nil, fmt.Errorf("keep changes of software: %w", err)
		}
		if err := trim(tx, deviceID); err != nil {
			return nil, err
		}
	}
	return d.changes, nil
}

// trim keeps the newest changes of a device: one that invents programs does not fill the database.
func trim(tx *gorm.DB, deviceID string) error {
	var oldest []string
	err := tx.Model(&historyRow{}).Where("device_id = ?", deviceID).Order("id DESC").Offset(mostHistory).Limit(1).Pluck("id", &oldest).Error
	if err == nil && len(oldest) > 0 {
		err = tx.Where("device_id = ? AND id <= ?", deviceID, oldest[0]).Delete(&historyRow{}).Error
	}
	if err != nil {
		return fmt.Errorf("trim changes of software: %w", err)
	}
	return nil
}

// Forget removes what the device has, without a word in the history, in the caller's transaction after Lock.
func Forget(tx *gorm.DB, deviceID string) error {
	old, err := present(tx, deviceID)
	if err != nil {
		return err
	}
	return write(tx, deviceID, diff(old, nil), time.Time{})
}

// present reads what the device has.
func present(tx *gorm.DB, deviceID string) ([]entry, error) {
	var found []struct {
		Row     installedRow `gorm:"embedded"`
		Name    string
		Source  string
		Version string
	}
	err := tx.Table("device_software AS s").Select("s.*, t.name, t.source, v.version").
		Joins("JOIN software_titles t ON t.id = s.title_id").Joins("JOIN software_versions v ON v.id = s.version_id").
		Where("s.device_id = ?", deviceID).Order("s.software_key").Find(&found).Error
	if err != nil {
		return nil, fmt.Errorf("read software of device: %w", err)
	}
	out := make([]entry, len(found))
	for i, f := range found {
		out[i] = entry{
			key: f.Row.SoftwareKey, title: f.Row.TitleID, versionID: f.Row.VersionID, name: f.Name, source: f.Source, version: f.Version, size: f.Row.SizeBytes,
			installed: f.Row.InstalledAt, arch: f.Row.Arch, essential: f.Row.Essential, defect: f.Row.Defect,
		}
	}
	return out, nil
}

func write(tx *gorm.DB, deviceID string, d difference, now time.Time) error {
	for part := range chunks(d.remove) {
		if err := tx.Where("device_id = ? AND software_key IN ?", deviceID, part).Delete(&installedRow{}).Error; err != nil {
			return fmt.Errorf("remove software of device: %w", err)
		}
	}
	for part := range chunks(d.insert) {
		rows := make([]installedRow, len(part))
		for i, e := range part {
			rows[i] = e.row(deviceID, now)
		}
		if err := tx.Create(&rows).Error; err != nil {
			return fmt.Errorf("add software of device: %w", err)
		}
	}
	// Whole lists change at once, as when the server reads a field that it did not read before.
	for part := range chunks(d.update) {
		rows := make([]installedRow, len(part))
		for i, e := range part {
			rows[i] = e.row(deviceID, now)
		}
		err := tx.Clauses(clause.OnConflict{
			Columns:   []clause.Column{{Name: "device_id"}, {Name: "software_key"}},
			DoUpdates: clause.AssignmentColumns([]string{"title_id", "version_id", "size_bytes", "installed_at", "arch", "essential", "defect"}),
		}).Create(&rows).Error
		if err != nil {
			return fmt.Errorf("change software of device: %w", err)
		}
	}
	// Last, for these rows are everybody's: others wait for them until the commit.
	if err := recount(tx, "software_titles", d.titles); err != nil {
		return err
	}
	return recount(tx, "software_versions", d.versions)
}

func (e entry) row(deviceID string, now time.Time) installedRow {
	return installedRow{
		DeviceID: deviceID, SoftwareKey: e.key, TitleID: e.title, VersionID: e.versionID, SizeBytes: e.size,
		InstalledAt: e.installed, Arch: e.arch, Essential: e.essential, Defect: e.defect, FirstSeenAt: now,
	}
}

// recount adds to the counts of devices, in the order of ids: two who change the same rows do not wait for
// each other in a circle.
func recount(tx *gorm.DB, table string, by map[int64]int) error {
	ids := slices.SortedFunc(maps.Keys(by), func(a, b int64) int { return cmp.Or(cmp.Compare(by[a], by[b]), cmp.Compare(a, b)) })
	for len(ids) > 0 {
		step, n := by[ids[0]], 1
		for n < len(ids) && n < chunk && by[ids[n]] == step {
			n++
		}
		res := tx.Table(table).Where("id IN ?", ids[:n]).UpdateColumn("devices", gorm.Expr("devices + ?", step))
		if res.Error != nil {
			return fmt.Errorf("count devices of %s: %w", table, res.Error)
		}
		if res.RowsAffected != int64(n) { // Clean has removed one since Prepare found it
			return fault.New(fault.Unavailable, "the software catalogue is being cleaned; try again later")
		}
		ids = ids[n:]
	}
	return nil
}
