package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/event"
	"github.com/muster/muster/server/internal/store"
)

const (
	chunk = 500 // ids in one statement
	rows  = 200 // rows in one insert
)

type taskStore struct{ db *store.DB }

type taskRow struct {
	ID          string `gorm:"primaryKey"`
	DeviceID    string
	Hostname    string
	Kind        string
	BatchID     string
	Input       string
	State       protocol.State
	Reason      protocol.Reason
	Message     string
	Items       string
	Outcome     string // of the items, for lists
	Live        bool
	Reached     protocol.State
	LastReport  string
	Reports     int
	NextTry     *time.Time
	TimelineSeq int
	CreatedBy   string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	FinishedAt  *time.Time
	ReleaseID   *string // of an update
	Result      string  // JSON, of an update that is over
}

func (taskRow) TableName() string { return "tasks" }

type timelineRow struct {
	TaskID     string `gorm:"primaryKey"`
	Seq        int    `gorm:"primaryKey;autoIncrement:false"`
	ReportID   *string
	DeviceID   string
	Time       time.Time
	ReceivedAt time.Time
	Source     string
	State      protocol.State
	Reason     protocol.Reason
	Message    string
	NextAt     *time.Time
}

func (timelineRow) TableName() string { return "task_timeline" }

// deviceRow is what tasks know of a device.
type deviceRow struct {
	ID           string
	Hostname     string
	State        string
	OS           string `gorm:"column:os"`
	Arch         string
	AgentVersion string
	Facts        string
}

// Sources of a timeline row.
const (
	sourceServer = "server"
	sourceDevice = "device"
	sourceAdmin  = "admin"
)

// work is one transaction's changes: rows are loaded, changed in memory, and saved together with their
// timeline rows at the end.
type work struct {
	tx      *gorm.DB
	now     time.Time
	rows    map[string]*taskRow
	fresh   []*taskRow
	dirty   map[string]bool
	entries []timelineRow
	effects effects
}

type change struct{ id, deviceID string }

// effects is what to tell others after the commit.
type effects struct {
	changed []change
	wake    []string
	removed []string // devices
	events  []event.Event
}

// do runs fn in a transaction that holds the devices, so that two changes of one device, on whatever node,
// see each other. At its end each device's row says how many open tasks it has.
func (s *taskStore) do(ctx context.Context, deviceIDs []string, fn func(w *work) error) (effects, error) {
	ids := slices.Compact(slices.Sorted(slices.Values(deviceIDs)))
	var done effects
	err := s.db.Tx(ctx, func(tx *gorm.DB) error {
		w := &work{tx: tx, now: store.Now(), rows: map[string]*taskRow{}, dirty: map[string]bool{}}
		if err := w.lockDevices(s.db.Dialect == store.MySQL, ids); err != nil {
			return err
		}
		if err := fn(w); err != nil {
			return err
		}
		if err := w.save(ids); err != nil {
			return err
		}
		done = w.effects
		return nil
	})
	return done, err
}

// lockDevices takes the rows in order of id, which keeps two transactions from waiting for each other.
// SQLite has one writer at a time anyway.
func (w *work) lockDevices(locks bool, ids []string) error {
	if !locks {
		return nil
	}
	for part := range slices.Chunk(ids, chunk) {
		var locked []string
		err := w.tx.Table("devices").Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).
			Where("id IN ?", part).Order("id").Pluck("id", &locked).Error
		if err != nil {
			return fmt.Errorf("lock devices: %w", err)
		}
	}
	return nil
}

// devices reads how devices stand; nobody changes them until the transaction ends.
func (w *work) devices(ids []string) (map[string]deviceRow, error) {
	found := map[string]deviceRow{}
	for part := range slices.Chunk(ids, chunk) {
		var list []deviceRow
		if err := w.tx.Table("devices").Select("id", "hostname", "state", "os", "arch", "agent_version", "facts").Where("id IN ?", part).Find(&list).Error; err != nil {
			return nil, fmt.Errorf("read devices: %w", err)
		}
		for _, d := range list {
			found[d.ID] = d
		}
	}
	return found, nil
}

// load reads tasks by a condition and keeps those that are in memory already as they are there.
func (w *work) load(query string, args ...any) ([]*taskRow, error) {
	var found []taskRow
	if err := w.tx.Where(query, args...).Order("id").Find(&found).Error; err != nil {
		return nil, fmt.Errorf("read tasks: %w", err)
	}
	out := make([]*taskRow, len(found))
	for i := range found {
		id := found[i].ID
		if w.rows[id] == nil {
			w.rows[id] = &found[i]
		}
		out[i] = w.rows[id]
	}
	return out, nil
}

// note adds a timeline row to a task that changes.
func (w *work) note(t *taskRow, e timelineRow) {
	t.TimelineSeq++
	t.UpdatedAt = w.now
	e.TaskID, e.Seq, e.DeviceID, e.ReceivedAt = t.ID, t.TimelineSeq, t.DeviceID, w.now
	if e.Time.IsZero() {
		e.Time = w.now
	}
	if e.Message == "" {
		e.Message = summary(t.Kind, e.State, e.Reason, "")
	}
	w.entries = append(w.entries, e)
	if !w.dirty[t.ID] {
		w.dirty[t.ID] = true
		w.effects.changed = append(w.effects.changed, change{t.ID, t.DeviceID})
	}
}

// end ends a task for the server or an admin. What the device has begun of it is not stopped: how it went
// still enters the timeline.
func (w *work) end(t *taskRow, source string, reason protocol.Reason, message string) {
	if t.Reached == protocol.StateStarted {
		message += "; the device has begun it and is not stopped"
	}
	t.State, t.Reason, t.Message, t.Live, t.FinishedAt, t.NextTry = protocol.StateCancelled, reason, message, false, &w.now, nil
	w.note(t, timelineRow{Source: source, State: t.State, Reason: reason, Message: message})
}

// save writes everything, and how many open tasks each of the devices has now.
func (w *work) save(deviceIDs []string) error {
	for _, t := range w.fresh {
		delete(w.dirty, t.ID)
	}
	for id := range w.dirty {
		if err := w.tx.Select("*").Updates(w.rows[id]).Error; err != nil {
			return fmt.Errorf("update task: %w", err)
		}
	}
	if len(w.fresh) > 0 {
		if err := w.tx.CreateInBatches(w.fresh, rows).Error; err != nil {
			return fmt.Errorf("insert tasks: %w", err)
		}
	}
	if len(w.entries) == 0 {
		return nil
	}
	if err := w.tx.CreateInBatches(w.entries, rows).Error; err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	for part := range slices.Chunk(deviceIDs, chunk) {
		err := w.tx.Exec("UPDATE devices SET open_tasks = (SELECT COUNT(*) FROM tasks WHERE device_id = devices.id AND live = ?) WHERE id IN ?",
			true, part).Error
		if err != nil {
			return fmt.Errorf("count open tasks: %w", err)
		}
	}
	return nil
}

// live is the read of a check-in of a device that has open tasks.
func (s *taskStore) live(ctx context.Context, deviceID string) ([]taskRow, error) {
	var found []taskRow
	err := s.db.Hot(ctx).Select("id", "kind", "input").Where("device_id = ? AND live = ?", deviceID, true).Find(&found).Error
	if err != nil {
		return nil, fmt.Errorf("read open tasks: %w", err)
	}
	return found, nil
}

// get reads one task.
func (s *taskStore) get(ctx context.Context, id string) (taskRow, error) {
	var row taskRow
	err := s.db.With(ctx).Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, fault.New(fault.NotFound, "there is no task %q", id)
	}
	if err != nil {
		return row, fmt.Errorf("read task: %w", err)
	}
	return row, nil
}

// timelineShown bounds the entries that are shown of one task.
const timelineShown = 1000

// timeline is the newest part of a task's timeline, in order.
func (s *taskStore) timeline(ctx context.Context, id string) ([]timelineRow, error) {
	var entries []timelineRow
	if err := s.db.With(ctx).Where("task_id = ?", id).Order("seq DESC").Limit(timelineShown).Find(&entries).Error; err != nil {
		return nil, fmt.Errorf("read timeline: %w", err)
	}
	slices.Reverse(entries)
	return entries, nil
}

// list returns the newest first, without their items.
func (s *taskStore) list(ctx context.Context, f Filter) ([]taskRow, error) {
	tx := s.db.With(ctx).Omit("items").Order("id DESC").Limit(f.Limit) // a device can make its items 1.5 MB
	for column, value := range map[string]string{
		"device_id": f.DeviceID, "kind": f.Kind, "state": f.State, "batch_id": f.BatchID, "release_id": f.ReleaseID,
	} {
		if value != "" {
			tx = tx.Where(column+" = ?", value)
		}
	}
	if f.Open != nil {
		tx = tx.Where("live = ?", *f.Open)
	}
	if f.Before != "" {
		tx = tx.Where("id < ?", f.Before)
	}
	var found []taskRow
	if err := tx.Find(&found).Error; err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	return found, nil
}

// known reports whether there is such a device.
func (s *taskStore) known(ctx context.Context, deviceID string) error {
	var n int64
	if err := s.db.With(ctx).Table("devices").Where("id = ?", deviceID).Count(&n).Error; err != nil {
		return fmt.Errorf("find device: %w", err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "there is no device %q", deviceID)
	}
	return nil
}

// ofGoneDevices lists devices that are revoked or removed but still have open tasks.
func (s *taskStore) ofGoneDevices(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.db.With(ctx).Model(&taskRow{}).Distinct().Joins("JOIN devices ON devices.id = tasks.device_id").
		Where("tasks.live = ? AND devices.state IN ?", true, []string{protocol.DeviceRevoked, protocol.DeviceRemoved}).
		Pluck("tasks.device_id", &ids).Error
	if err != nil {
		return nil, fmt.Errorf("list tasks of devices that are gone: %w", err)
	}
	return ids, nil
}
