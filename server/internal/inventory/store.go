package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/event"
	"github.com/muster/muster/server/internal/software"
	"github.com/muster/muster/server/internal/store"
)

// sections is the table inventory_sections.
type sections struct{ db *store.DB }

type sectionRow struct {
	DeviceID    string `gorm:"primaryKey"`
	Section     string `gorm:"primaryKey"`
	SHA256      string `gorm:"column:sha256"`
	Cleaning    int
	Content     []byte
	RowCount    int
	Problem     string
	Remark      string
	NamedAt     time.Time
	CollectedAt *time.Time
	ReceivedAt  *time.Time
	// Columns are those of the kept rows, NamedColumns those of the newest inventory; JSON, of modules only.
	Columns      string
	NamedColumns string
}

func (sectionRow) TableName() string { return "inventory_sections" }

func (r sectionRow) section() Section {
	problem := r.Problem
	if problem != "" && r.Remark != "" {
		problem += " "
	}
	return Section{
		Name: r.Section, Rows: r.RowCount, Problem: problem + r.Remark,
		CollectedAt: r.CollectedAt, ReceivedAt: r.ReceivedAt, NamedAt: r.NamedAt, Columns: decodeColumns(r.Columns),
	}
}

// has reports whether the rows of the digest are there, cleaned as they are cleaned now and by the columns
// that were named last.
func (r sectionRow) has(sha256 string) bool {
	return r.SHA256 == sha256 && r.Cleaning == cleaning && r.Columns == r.NamedColumns
}

// of is a device's section.
func of(tx *gorm.DB, deviceID, section string) *gorm.DB {
	return tx.Model(&sectionRow{}).Where("device_id = ? AND section = ?", deviceID, section)
}

// head notes what an inventory names and finds out which rows are wanted.
func (s *sections) head(ctx context.Context, d Device, head protocol.InventoryHead, now time.Time) (want []string, made []event.Event, err error) {
	at := collected(head.CollectedAt, now)
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		want, made = nil, nil
		if err := software.Lock(tx, d.ID); err != nil {
			return err
		}
		var known []sectionRow
		if err := tx.Omit("content").Where("device_id = ?", d.ID).Find(&known).Error; err != nil {
			return fmt.Errorf("read inventory: %w", err)
		}
		byName := map[string]sectionRow{}
		for _, r := range known {
			byName[r.Section] = r
		}
		for _, h := range head.Sections {
			row, there := byName[h.Name]
			if h.SHA256 != "" {
				row.NamedColumns = encodeColumns(h)
			}
			if h.SHA256 != "" && !row.has(h.SHA256) {
				want = append(want, h.Name)
			}
			if err := name(tx, d.ID, h, row, there, at, now); err != nil {
				return err
			}
			delete(byName, h.Name)
		}
		if err := drop(tx, d.ID, byName, len(head.Sections), now); err != nil {
			return err
		}
		own := func(name string) bool { _, ok := protocol.SectionModule(name); return !ok }
		if slices.ContainsFunc(known, func(r sectionRow) bool { return own(r.Section) }) ||
			!slices.ContainsFunc(head.Sections, func(h protocol.SectionHead) bool { return own(h.Name) }) {
			return nil
		}
		made, err = event.Add(tx, now, []event.Event{{
			DeviceID: d.ID, Hostname: d.Hostname, Kind: event.FirstInventory,
			Message: "The device sent its first inventory. Changes are told from now on.",
		}})
		return err
	})
	return want, made, err
}

// name notes that an inventory has the section.
func name(tx *gorm.DB, deviceID string, h protocol.SectionHead, row sectionRow, there bool, at, now time.Time) error {
	if !there {
		row = sectionRow{DeviceID: deviceID, Section: h.Name, Content: []byte{}, Problem: h.Problem, NamedAt: now, NamedColumns: row.NamedColumns}
		if err := tx.Create(&row).Error; err != nil {
			return fmt.Errorf("keep section %s: %w", h.Name, err)
		}
		return nil
	}
	values := map[string]any{"problem": h.Problem, "named_at": now, "named_columns": row.NamedColumns}
	if h.SHA256 != "" && row.has(h.SHA256) {
		values["collected_at"] = at
	}
	if err := of(tx, deviceID, h.Name).UpdateColumns(values).Error; err != nil {
		return fmt.Errorf("keep section %s: %w", h.Name, err)
	}
	return nil
}

// drop removes the sections, not in the present inventory, that have not been named for long, and the oldest
// ones when there are too many.
func drop(tx *gorm.DB, deviceID string, others map[string]sectionRow, named int, now time.Time) error {
	byAge := make([]sectionRow, 0, len(others))
	for _, r := range others {
		byAge = append(byAge, r)
	}
	slices.SortFunc(byAge, func(a, b sectionRow) int {
		return cmp.Or(a.NamedAt.Compare(b.NamedAt), cmp.Compare(a.Section, b.Section))
	})
	for i, r := range byAge {
		if named+len(byAge)-i <= protocol.MaxSections && now.Sub(r.NamedAt) < forgetAfter {
			return nil
		}
		if err := of(tx, deviceID, r.Section).Delete(&sectionRow{}).Error; err != nil {
			return fmt.Errorf("remove section %s: %w", r.Section, err)
		}
		if r.Section == protocol.SectionSoftware {
			if err := software.Forget(tx, deviceID); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepModules removes the sections of modules that the device has no more.
func (s *sections) keepModules(ctx context.Context, deviceID string, modules []string) (removed int64, err error) {
	kept := make([]string, len(modules))
	for i, name := range modules {
		kept[i] = protocol.ModuleSection(name)
	}
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		if err := software.Lock(tx, deviceID); err != nil {
			return err
		}
		var names []string
		if err := tx.Model(&sectionRow{}).Where("device_id = ?", deviceID).Pluck("section", &names).Error; err != nil {
			return fmt.Errorf("read inventory: %w", err)
		}
		gone := slices.DeleteFunc(names, func(name string) bool {
			_, ok := protocol.SectionModule(name)
			return !ok || slices.Contains(kept, name)
		})
		if len(gone) == 0 {
			return nil
		}
		res := tx.Where("device_id = ? AND section IN ?", deviceID, gone).Delete(&sectionRow{})
		if res.Error != nil {
			return fmt.Errorf("remove sections of modules: %w", res.Error)
		}
		removed = res.RowsAffected
		return nil
	})
	return removed, err
}

// confirm reports whether the rows are there already, and by which columns they are to be read.
func (s *sections) confirm(ctx context.Context, deviceID string, u Upload) (known bool, columns []protocol.Column, err error) {
	row, err := take(s.db.With(ctx).Omit("content"), deviceID, u.Section)
	if err != nil {
		return false, nil, err
	}
	return row.has(u.SHA256), decodeColumns(row.NamedColumns), nil
}

func take(tx *gorm.DB, deviceID, section string) (sectionRow, error) {
	var row sectionRow
	err := tx.Where("device_id = ? AND section = ?", deviceID, section).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, fault.New(fault.Conflict, "no inventory of this device has named a section %.40q; send the head of an inventory first", section)
	}
	if err != nil {
		return row, fmt.Errorf("read section: %w", err)
	}
	return row, nil
}

// incoming is a section that is to be written.
type incoming struct {
	device   Device
	upload   Upload
	rows     rows
	columns  []protocol.Column // of a module's section
	software software.List     // of the section of that name
	now      time.Time
	low      int // percent
}

// put writes a section and all that follows from it.
func (s *sections) put(ctx context.Context, in incoming) (made []event.Event, err error) {
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		made = nil
		if err := software.Lock(tx, in.device.ID); err != nil {
			return err
		}
		old, err := take(tx, in.device.ID, in.upload.Section)
		if err != nil || old.has(in.upload.SHA256) {
			return err
		}
		columns := encodeColumns(protocol.SectionHead{Name: in.upload.Section, Columns: in.columns})
		if columns != old.NamedColumns {
			return fault.New(fault.Conflict, "another inventory has named other columns of section %s meanwhile; send the head again", in.upload.Section)
		}
		if err := fits(tx, in); err != nil {
			return err
		}
		events, err := follow(tx, in, old)
		if err != nil {
			return err
		}
		if made, err = event.Add(tx, in.now, events); err != nil {
			return err
		}
		if len(made) > 0 {
			if err := event.Bound(tx, in.device.ID, mostEvents); err != nil {
				return err
			}
		}
		state := cleaning
		if len(in.upload.Incomplete) > 0 {
			state = notWhole
		}
		err = of(tx, in.device.ID, in.upload.Section).UpdateColumns(map[string]any{
			"sha256": in.upload.SHA256, "cleaning": state, "content": in.rows.content, "row_count": in.rows.count,
			"remark": in.rows.remark(), "collected_at": in.upload.CollectedAt, "received_at": in.now, "columns": columns,
		}).Error
		if err != nil {
			return fmt.Errorf("keep section %s: %w", in.upload.Section, err)
		}
		return nil
	})
	return made, err
}

// fits makes sure that a device does not fill the database with sections of whatever names.
func fits(tx *gorm.DB, in incoming) error {
	var others int
	err := tx.Model(&sectionRow{}).Where("device_id = ? AND section <> ?", in.device.ID, in.upload.Section).
		Select("COALESCE(SUM(LENGTH(content)), 0)").Scan(&others).Error
	if err != nil {
		return fmt.Errorf("measure inventory: %w", err)
	}
	if others+len(in.rows.content) > maxKept {
		return fault.New(fault.TooLarge, "with section %s the inventory of this device has over %d bytes, packed", in.upload.Section, maxKept)
	}
	return nil
}

// follow writes what follows from new rows beside them, and returns what there is to tell.
func follow(tx *gorm.DB, in incoming, old sectionRow) ([]event.Event, error) {
	baseline := old.SHA256 == ""
	section := in.upload.Section
	switch {
	case section == protocol.SectionSoftware:
		changes, err := software.Replace(tx, in.device.ID, in.software, software.How{Baseline: baseline, Incomplete: in.upload.Incomplete}, in.now)
		return named(in.device, section, softwareEvents(changes)), err
	case section == protocol.SectionFilesystems:
		events, err := watchDisks(tx, in)
		return named(in.device, section, events), err
	case baseline || types[section] == nil:
		return nil, nil
	}
	before, err := typed(section, old.Content)
	if err != nil {
		return nil, err
	}
	return named(in.device, section, compare(section, before, in.rows.values)), nil
}

// watchDisks compares how full file systems are with what was told last.
func watchDisks(tx *gorm.DB, in incoming) ([]event.Event, error) {
	low, err := event.Conditions(tx, in.device.ID, event.DiskLow)
	if err != nil {
		return nil, err
	}
	w := watch(low, in.rows.values, in.low)
	for _, subject := range w.begin {
		if err := event.Begin(tx, in.now, in.device.ID, event.DiskLow, subject); err != nil {
			return nil, err
		}
	}
	for _, subject := range w.end {
		if err := event.End(tx, in.device.ID, event.DiskLow, subject); err != nil {
			return nil, err
		}
	}
	return w.events, nil
}

// list returns a device's sections by name, with the rows of those that are shown at once.
func (s *sections) list(ctx context.Context, deviceID string) ([]sectionRow, error) {
	if err := s.device(ctx, deviceID); err != nil {
		return nil, err
	}
	var found []sectionRow
	if err := s.db.With(ctx).Omit("content").Where("device_id = ?", deviceID).Order("section").Find(&found).Error; err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	for i, r := range found {
		if r.Section != protocol.SectionSystem && r.Section != protocol.SectionBIOS {
			continue
		}
		full, err := take(s.db.With(ctx), deviceID, r.Section)
		if err != nil {
			return nil, err
		}
		found[i] = full
	}
	return found, nil
}

// get returns a section with its rows.
func (s *sections) get(ctx context.Context, deviceID, section string) (sectionRow, error) {
	if err := s.device(ctx, deviceID); err != nil {
		return sectionRow{}, err
	}
	row, err := take(s.db.With(ctx), deviceID, section)
	if fault.Is(err, fault.Conflict) {
		return row, fault.New(fault.NotFound, "the inventory of device %s has no section %.40q", deviceID, section)
	}
	return row, err
}

func (s *sections) device(ctx context.Context, id string) error {
	var n int64
	if err := s.db.With(ctx).Table("devices").Where("id = ?", id).Count(&n).Error; err != nil {
		return fmt.Errorf("read device: %w", err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "there is no device %.40q", id)
	}
	return nil
}

// deleteOfGone removes the sections of devices that were removed or revoked before t, one at a time: each may
// have megabytes.
func (s *sections) deleteOfGone(ctx context.Context, t time.Time) error {
	for {
		var found []sectionRow
		err := s.db.With(ctx).Model(&sectionRow{}).Select("inventory_sections.device_id", "inventory_sections.section").
			Joins("JOIN devices ON devices.id = inventory_sections.device_id").
			Where("devices.state IN ? AND devices.updated_at < ?", []string{protocol.DeviceRevoked, protocol.DeviceRemoved}, t).
			Limit(deletedAtOnce).Find(&found).Error
		if err != nil {
			return fmt.Errorf("find inventories of devices that are gone: %w", err)
		}
		for _, f := range found {
			if err := of(s.db.With(ctx), f.DeviceID, f.Section).Delete(&sectionRow{}).Error; err != nil {
				return fmt.Errorf("remove section of inventory: %w", err)
			}
		}
		if len(found) < deletedAtOnce {
			return nil
		}
	}
}

// deletedAtOnce is how many sections are found at once that are to be removed.
const deletedAtOnce = 200
