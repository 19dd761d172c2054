package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

// work is one transaction's changes: rows are loaded, changed in memory by the same few methods
// whoever asks, and saved together with their timeline rows at the end.
type work struct {
	tx      *gorm.DB
	locks   bool // the database has row locks
	now     time.Time
	random  func() float64
	rows    map[string]*deploymentRow
	fresh   map[string]bool // not inserted yet
	dirty   map[string]bool
	tries   map[string]*attemptRow
	retried map[string]bool // attempts to update
	begun   []*attemptRow   // attempts to insert
	entries []timelineRow
	effects effects
}

type change struct{ id, deviceID, packageID string }

// effects is what to tell others after the commit.
type effects struct {
	changed []change
	wake    map[string]bool
	delayed bool // some deployment got a time before which it is not offered
}

func (e effects) wakeIDs() []string { return slices.Sorted(maps.Keys(e.wake)) }

// do runs fn in a transaction that holds the devices, so that two changes of one device, on whatever
// node, see each other: the gate depends on all its deployments.
func (s *deployStore) do(ctx context.Context, deviceIDs []string, fn func(w *work) error) (effects, error) {
	ids := slices.Compact(slices.Sorted(slices.Values(deviceIDs)))
	var done effects
	err := s.db.Tx(ctx, func(tx *gorm.DB) error {
		w := &work{
			tx: tx, locks: s.db.Dialect == store.MySQL, now: store.Now(), random: s.random,
			rows: map[string]*deploymentRow{}, fresh: map[string]bool{}, dirty: map[string]bool{},
			tries: map[string]*attemptRow{}, retried: map[string]bool{},
			effects: effects{wake: map[string]bool{}},
		}
		if err := w.lockDevices(ids); err != nil {
			return err
		}
		if err := fn(w); err != nil {
			return err
		}
		if err := w.save(); err != nil {
			return err
		}
		done = w.effects
		return nil
	})
	return done, err
}

// lockDevices takes the rows in order of id, which keeps two transactions from waiting for each other.
// SQLite has one writer at a time anyway.
func (w *work) lockDevices(ids []string) error {
	if !w.locks {
		return nil
	}
	for part := range chunks(ids) {
		var locked []string
		err := w.tx.Table("devices").Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).
			Where("id IN ?", part).Order("id").Pluck("id", &locked).Error
		if err != nil {
			return fmt.Errorf("lock devices: %w", err)
		}
	}
	return nil
}

// deviceStates reads how devices stand; nobody changes them until the transaction ends.
func (w *work) deviceStates(ids []string) (map[string]string, error) {
	states := map[string]string{}
	for part := range chunks(ids) {
		var found []struct{ ID, State string }
		if err := w.tx.Table("devices").Select("id", "state").Where("id IN ?", part).Find(&found).Error; err != nil {
			return nil, fmt.Errorf("read states of devices: %w", err)
		}
		for _, f := range found {
			states[f.ID] = f.State
		}
	}
	return states, nil
}

// load reads deployments by a condition and keeps those that are in memory already as they are there.
func (w *work) load(query string, args ...any) ([]*deploymentRow, error) {
	var found []deploymentRow
	if err := w.tx.Where(query, args...).Order("id").Find(&found).Error; err != nil {
		return nil, fmt.Errorf("read deployments: %w", err)
	}
	out := make([]*deploymentRow, len(found))
	for i := range found {
		id := found[i].ID
		if w.rows[id] == nil {
			w.rows[id] = &found[i]
		}
		out[i] = w.rows[id]
	}
	return out, nil
}

// attempts reads attempts by id.
func (w *work) attempts(ids []string) error {
	for part := range chunks(ids) {
		var found []attemptRow
		if err := w.tx.Where("id IN ?", part).Find(&found).Error; err != nil {
			return fmt.Errorf("read attempts: %w", err)
		}
		for i := range found {
			w.tries[found[i].ID] = &found[i]
		}
	}
	return nil
}

// entry is a timeline row before it has its place.
type entry struct {
	source   string
	message  string // empty takes the deployment's detail
	reportID string
	time     time.Time // zero is now
	attempt  int       // zero is the current one
	state    protocol.State
	reason   protocol.Reason
	exitCode *int
	nextAt   *time.Time
	waitsFor string
}

// note adds a timeline row and marks the deployment changed.
func (w *work) note(d *deploymentRow, e entry) {
	d.TimelineSeq++
	d.UpdatedAt = w.now
	row := timelineRow{
		DeploymentID: d.ID, Seq: d.TimelineSeq, DeviceID: d.DeviceID, Time: e.time, ReceivedAt: w.now,
		Source: e.source, Attempt: e.attempt, State: e.state, Reason: e.reason, Message: e.message,
		ExitCode: e.exitCode, NextAt: e.nextAt, WaitsFor: e.waitsFor,
	}
	if e.reportID != "" {
		row.ReportID = &e.reportID
	}
	if row.Time.IsZero() {
		row.Time = w.now
	}
	if row.Attempt == 0 {
		row.Attempt = d.Attempt
	}
	if row.Message == "" {
		row.Message = detail(d.result())
	}
	w.entries = append(w.entries, row)
	if !w.dirty[d.ID] {
		w.dirty[d.ID] = true
		w.effects.changed = append(w.effects.changed, change{d.ID, d.DeviceID, d.PackageID})
	}
}

// show sets the deployment's state and writes it to the timeline, for the server or an admin.
func (w *work) show(d *deploymentRow, source string, state protocol.State, reason protocol.Reason, waitsFor, message string) {
	d.State, d.Reason, d.WaitsFor, d.Message = state, reason, waitsFor, message
	if state.Final() {
		d.FinishedAt = &w.now
	} else {
		d.FinishedAt = nil
	}
	e := entry{source: source, state: state, reason: reason, waitsFor: waitsFor, message: message}
	if state == protocol.StateWaiting {
		e.nextAt = d.NotBefore
	}
	w.note(d, e)
}

// begin starts another attempt, to be offered from notBefore on.
func (w *work) begin(d *deploymentRow, notBefore *time.Time) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make attempt id: %w", err)
	}
	d.Attempt++
	d.AttemptID = id.String()
	d.NotBefore = notBefore
	if notBefore != nil {
		w.effects.delayed = true
	} else {
		w.effects.wake[d.DeviceID] = true
	}
	try := &attemptRow{
		ID: d.AttemptID, DeploymentID: d.ID, Number: d.Attempt, State: protocol.StateAssigned,
		Instruction: d.Instruction, CreatedAt: w.now,
	}
	w.tries[try.ID] = try
	w.begun = append(w.begun, try)
	return nil
}

// regate brings the devices' deployments in line with the gate, in a transaction of its own.
func (s *deployStore) regate(ctx context.Context, deviceIDs []string) (effects, error) {
	return s.do(ctx, deviceIDs, func(w *work) error { return w.regate(deviceIDs) })
}

// regate brings what the devices' deployments show in line with the gate. Call it after whatever may
// have made, freed or delayed a deployment.
func (w *work) regate(deviceIDs []string) error {
	for part := range chunks(slices.Compact(slices.Sorted(slices.Values(deviceIDs)))) {
		if _, err := w.load("device_id IN ? AND live = ?", part, true); err != nil {
			return err
		}
	}
	byDevice := map[string][]gated{}
	for _, d := range w.rows {
		if d.Live {
			byDevice[d.DeviceID] = append(byDevice[d.DeviceID], d.gated(w.now))
		}
	}
	states, err := w.deviceStates(slices.Sorted(maps.Keys(byDevice)))
	if err != nil {
		return err
	}
	for _, id := range deviceIDs {
		for _, c := range gate(byDevice[id], bar(states[id])) {
			w.rehold(w.rows[c.ID], c)
		}
		delete(byDevice, id) // a device named twice is done once
	}
	return nil
}

// rehold shows what holds a deployment back from now on, or that nothing does any more.
func (w *work) rehold(d *deploymentRow, c gateChange) {
	if c.Hold.Reason != "" {
		w.show(d, sourceServer, protocol.StateWaiting, c.Hold.Reason, c.Hold.WaitsFor, "")
		return
	}
	reason, message := protocol.ReasonReleased, ""
	if d.Failures > 0 && d.delayed(w.now) {
		reason = protocol.ReasonRetryBackoff // which it waited for before it was held back
	} else if c.Was != protocol.ReasonHeldByPriority0 && !d.delayed(w.now) {
		message = "the device was approved"
	}
	w.show(d, sourceServer, protocol.StateWaiting, reason, "", message)
	w.effects.wake[d.DeviceID] = true
}

// save writes everything. Deployments are updated before they are inserted, so that one that ended
// gives its live key to its successor.
func (w *work) save() error {
	var inserts []*deploymentRow
	for _, id := range slices.Sorted(maps.Keys(w.dirty)) {
		d := w.rows[id]
		if w.fresh[id] {
			inserts = append(inserts, d)
			continue
		}
		if err := w.tx.Select("*").Updates(d).Error; err != nil {
			return fmt.Errorf("update deployment: %w", err)
		}
	}
	if len(inserts) > 0 {
		if err := w.tx.CreateInBatches(inserts, rows).Error; err != nil {
			return fmt.Errorf("insert deployments: %w", err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.retried)) {
		if err := w.tx.Select("*").Updates(w.tries[id]).Error; err != nil {
			return fmt.Errorf("update attempt: %w", err)
		}
	}
	if len(w.begun) > 0 {
		if err := w.tx.CreateInBatches(w.begun, rows).Error; err != nil {
			return fmt.Errorf("insert attempts: %w", err)
		}
	}
	if len(w.entries) > 0 {
		if err := w.tx.CreateInBatches(w.entries, rows).Error; err != nil {
			return fmt.Errorf("write timeline: %w", err)
		}
	}
	return nil
}
