package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

type eventStore struct{ db *store.DB }

// TableName is the table's name.
func (Event) TableName() string { return "events" }

type conditionRow struct {
	DeviceID string `gorm:"primaryKey"`
	Kind     string `gorm:"primaryKey"`
	Subject  string `gorm:"primaryKey"`
	Since    time.Time
}

func (conditionRow) TableName() string { return "event_conditions" }

// batch bounds the rows of one statement.
const batch = 200

// Add writes events in the caller's transaction, in their order, and returns them as they are kept. After
// the commit the caller gives them to Spread.
func Add(tx *gorm.DB, now time.Time, events []Event) ([]Event, error) {
	out := make([]Event, 0, len(events))
	for _, e := range events {
		full, err := complete(e, now)
		if err != nil {
			return nil, err
		}
		out = append(out, full)
	}
	if len(out) == 0 {
		return nil, nil
	}
	if err := tx.CreateInBatches(out, batch).Error; err != nil {
		return nil, fmt.Errorf("keep events: %w", err)
	}
	return out, nil
}

// Bound keeps the newest most events of a device and removes the others, in the caller's transaction. Who adds
// events that the device makes at its will calls it.
func Bound(tx *gorm.DB, deviceID string, most int) error {
	var oldest []string
	err := tx.Model(&Event{}).Where("device_id = ?", deviceID).Order("id DESC").Offset(most).Limit(1).Pluck("id", &oldest).Error
	if err != nil {
		return fmt.Errorf("count events: %w", err)
	}
	if len(oldest) == 0 {
		return nil
	}
	if err := tx.Where("device_id = ? AND id <= ?", deviceID, oldest[0]).Delete(&Event{}).Error; err != nil {
		return fmt.Errorf("remove events: %w", err)
	}
	return nil
}

// Conditions lists the subjects of a device for which the condition lasts.
func Conditions(tx *gorm.DB, deviceID, kind string) (map[string]bool, error) {
	var subjects []string
	err := tx.Model(&conditionRow{}).Where("device_id = ? AND kind = ?", deviceID, kind).Pluck("subject", &subjects).Error
	if err != nil {
		return nil, fmt.Errorf("read conditions: %w", err)
	}
	out := map[string]bool{}
	for _, s := range subjects {
		out[s] = true
	}
	return out, nil
}

// Begin remembers that a condition lasts.
func Begin(tx *gorm.DB, now time.Time, deviceID, kind, subject string) error {
	row := conditionRow{DeviceID: deviceID, Kind: kind, Subject: subject, Since: now}
	if err := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&row).Error; err != nil {
		return fmt.Errorf("keep condition: %w", err)
	}
	return nil
}

// End forgets a condition.
func End(tx *gorm.DB, deviceID, kind, subject string) error {
	err := tx.Where("device_id = ? AND kind = ? AND subject = ?", deviceID, kind, subject).Delete(&conditionRow{}).Error
	if err != nil {
		return fmt.Errorf("forget condition: %w", err)
	}
	return nil
}

// addNamed adds an event of a device by its present name.
func (s *eventStore) addNamed(ctx context.Context, e Event) (made []Event, err error) {
	now := store.Now()
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		var names []string
		if err := tx.Table("devices").Where("id = ?", e.DeviceID).Pluck("hostname", &names).Error; err != nil {
			return fmt.Errorf("read device: %w", err)
		}
		if len(names) == 0 {
			return nil
		}
		e.Hostname = names[0]
		made, err = Add(tx, now, []Event{e})
		return err
	})
	return made, err
}

type silentDevice struct {
	ID         string
	Hostname   string
	LastSeenAt time.Time
}

// watched are the states of devices that are expected to check in.
func watched() []string { return []string{protocol.DeviceActive, protocol.DeviceQuarantined} }

// silent makes the events of some devices that have fallen silent and says whether there may be more.
func (s *eventStore) silent(ctx context.Context, now time.Time, after time.Duration) (made []Event, more bool, err error) {
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		var found []silentDevice
		err := tx.Table("devices AS d").Select("d.id, d.hostname, d.last_seen_at").
			Where("d.state IN ? AND d.last_seen_at < ?", watched(), now.Add(-after)).
			Where("NOT EXISTS (SELECT 1 FROM event_conditions c WHERE c.device_id = d.id AND c.kind = ?)", DeviceSilent).
			Order("d.id").Limit(batch).Find(&found).Error
		if err != nil {
			return fmt.Errorf("find silent devices: %w", err)
		}
		more = len(found) == batch
		var events []Event
		for _, d := range found {
			err := tx.Create(&conditionRow{DeviceID: d.ID, Kind: DeviceSilent, Since: d.LastSeenAt}).Error
			if errors.Is(err, gorm.ErrDuplicatedKey) { // another node has told of it meanwhile
				continue
			}
			if err != nil {
				return fmt.Errorf("keep condition: %w", err)
			}
			events = append(events, Event{
				DeviceID: d.ID, Hostname: d.Hostname, Kind: DeviceSilent, Former: d.LastSeenAt.UTC().Format(time.RFC3339),
				Message: fmt.Sprintf("The device has not checked in since %s.", d.LastSeenAt.UTC().Format("2006-01-02 15:04 UTC")),
			})
		}
		made, err = Add(tx, now, events)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return made, more, nil
}

// back makes the events of devices that were silent and have checked in again, and forgets those of which
// nothing is expected any more.
func (s *eventStore) back(ctx context.Context) (made []Event, err error) {
	now := store.Now()
	err = s.db.Tx(ctx, func(tx *gorm.DB) error {
		var found []struct {
			ID         string
			Hostname   string
			LastSeenAt time.Time
			Since      time.Time
		}
		err := tx.Table("event_conditions AS c").Joins("JOIN devices d ON d.id = c.device_id").
			Select("d.id, d.hostname, d.last_seen_at, c.since").
			Where("c.kind = ? AND (d.last_seen_at > c.since OR d.state NOT IN ?)", DeviceSilent, watched()).
			Order("d.id").Find(&found).Error
		if err != nil {
			return fmt.Errorf("find devices that are back: %w", err)
		}
		var events []Event
		for _, d := range found {
			res := tx.Where("device_id = ? AND kind = ?", d.ID, DeviceSilent).Delete(&conditionRow{})
			if res.Error != nil {
				return fmt.Errorf("forget condition: %w", res.Error)
			}
			if res.RowsAffected == 0 { // another node has told of it meanwhile
				continue
			}
			if !d.LastSeenAt.After(d.Since) {
				continue
			}
			events = append(events, Event{
				DeviceID: d.ID, Hostname: d.Hostname, Kind: DeviceBack, Former: d.Since.UTC().Format(time.RFC3339),
				Present: d.LastSeenAt.UTC().Format(time.RFC3339),
				Message: fmt.Sprintf("The device checks in again; it had been silent since %s.", d.Since.UTC().Format("2006-01-02 15:04 UTC")),
			})
		}
		made, err = Add(tx, now, events)
		return err
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// deleteBefore removes old events, some at a time so that nobody waits long for the database.
func (s *eventStore) deleteBefore(ctx context.Context, t time.Time) error {
	for {
		var ids []string
		if err := s.db.With(ctx).Model(&Event{}).Where("time < ?", t).Order("time").Limit(10*batch).Pluck("id", &ids).Error; err != nil {
			return fmt.Errorf("find old events: %w", err)
		}
		if len(ids) == 0 {
			return nil
		}
		if err := s.db.With(ctx).Where("id IN ?", ids).Delete(&Event{}).Error; err != nil {
			return fmt.Errorf("remove old events: %w", err)
		}
	}
}

func (s *eventStore) list(ctx context.Context, f Filter) ([]Event, error) {
	tx := s.db.With(ctx).Scopes(store.Contains(f.Query, "hostname", "subject", "message")).Order("id DESC").Limit(f.Limit)
	if f.DeviceID != "" {
		tx = tx.Where("device_id = ?", f.DeviceID)
	}
	if len(f.Kinds) > 0 {
		tx = tx.Where("kind IN ?", f.Kinds)
	}
	if !f.Since.IsZero() {
		tx = tx.Where("time >= ?", f.Since.UTC())
	}
	if !f.Until.IsZero() {
		tx = tx.Where("time < ?", f.Until.UTC())
	}
	if f.Before != "" {
		tx = tx.Where("id < ?", f.Before)
	}
	var found []Event
	if err := tx.Find(&found).Error; err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return found, nil
}
