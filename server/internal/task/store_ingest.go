package task

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// mostReports bounds the timeline rows that a device can make of one task. What moves the task on is always
// taken.
const mostReports = 500

type reportKey struct{ deviceID, reportID string }

// apply commits the batches of any devices in one transaction and writes into each what became of its
// reports: nil means that it is durable now or was before, a fault that it never will be.
func (s *taskStore) apply(ctx context.Context, group []*batch) (effects, error) {
	var deviceIDs []string
	for _, b := range group {
		deviceIDs = append(deviceIDs, b.deviceID)
	}
	run := func(w *work) error {
		known, err := w.prefetch(group)
		if err != nil {
			return err
		}
		for _, b := range group {
			b.refused, b.gone = make([]error, len(b.reports)), false
			for i, r := range b.reports {
				err := w.report(b, r, known)
				if fault.CodeOf(err) == fault.Internal {
					return err
				}
				b.refused[i] = err
			}
		}
		return nil
	}
	e, err := s.do(ctx, deviceIDs, run)
	if errors.Is(err, gorm.ErrDuplicatedKey) { // the same report came by another node meanwhile
		e, err = s.do(ctx, deviceIDs, run)
	}
	return e, err
}

// prefetch reads what the reports are about with a few statements, however many they are.
func (w *work) prefetch(group []*batch) (known map[reportKey]bool, err error) {
	known = map[reportKey]bool{}
	var reportIDs, taskIDs []string
	for _, b := range group {
		for _, r := range b.reports {
			reportIDs, taskIDs = append(reportIDs, r.reportID), append(taskIDs, r.taskID)
		}
	}
	for part := range slices.Chunk(reportIDs, chunk) {
		var found []timelineRow
		if err := w.tx.Select("report_id", "device_id").Where("report_id IN ?", part).Find(&found).Error; err != nil {
			return nil, fmt.Errorf("find known reports: %w", err)
		}
		for _, f := range found {
			known[reportKey{f.DeviceID, *f.ReportID}] = true
		}
	}
	for part := range slices.Chunk(taskIDs, chunk) {
		if _, err := w.load("id IN ?", part); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// report applies one report.
func (w *work) report(b *batch, r incoming, known map[reportKey]bool) error {
	t := w.rows[r.taskID]
	if t == nil && r.left && !b.gone { // a device leaves once
		var err error
		if t, err = w.leftByItself(b.deviceID, r.taskID); err != nil {
			return err
		}
	}
	if t == nil {
		return fault.New(fault.NotFound, "there is no task %s", r.taskID)
	}
	if t.DeviceID != b.deviceID {
		return fault.New(fault.Forbidden, "task %s belongs to another device", t.ID)
	}
	key := reportKey{b.deviceID, r.reportID}
	if !known[key] {
		if err := w.apply(t, r); err != nil {
			return err
		}
		known[key] = true
	}
	if t.Kind == protocol.TaskRemove && t.Reached == protocol.StateSucceeded {
		b.gone = true
		return w.remove(t.DeviceID)
	}
	return nil
}

// leftByItself makes the task of an agent that was removed on its device, where nobody asked the server.
func (w *work) leftByItself(deviceID, id string) (*taskRow, error) {
	devices, err := w.devices([]string{deviceID})
	if err != nil {
		return nil, err
	}
	return w.create(wish{deviceID: deviceID, kind: protocol.TaskRemove, input: protocol.RemoveTask{}}, devices[deviceID], id, "the device itself",
		func() (string, error) { return id, nil })
}

// apply lets a report that is new do what it does.
func (w *work) apply(t *taskRow, r incoming) error {
	st := advance(position{State: t.State, Reached: t.Reached, LastReport: t.LastReport}, r.reportID, r.state)
	if t.Reports >= mostReports && !st.Reaches {
		return fault.New(fault.TooMany, "task %s has %d reports in its timeline already", t.ID, t.Reports)
	}
	t.Reports++
	if st.Reaches {
		t.Reached = r.state
	}
	if st.Reaches || st.Shows {
		t.LastReport = max(t.LastReport, r.reportID)
		if r.items != "" { // also of a task that was cancelled: they say what became of the computer
			t.Items, t.Outcome = r.items, r.outcome
		}
		if r.result != "" && t.Kind == protocol.TaskUpdate {
			t.Result = r.result
		}
	}
	if st.Shows {
		t.State, t.Reason, t.Message, t.NextTry = st.State, r.reason, r.message, r.nextTry
		if st.State.Final() {
			t.Live, t.FinishedAt = false, &w.now
		}
	}
	if st.Reaches && t.Kind == protocol.TaskUpdate {
		if err := w.updateEnded(t, r); err != nil {
			return err
		}
	}
	w.note(t, timelineRow{
		Source: sourceDevice, ReportID: &r.reportID, Time: r.time, State: r.state, Reason: r.reason, Message: r.message, NextAt: r.nextTry,
	})
	return nil
}

// remove marks the device whose agent has left, unless it is gone already, and ends what else it was to do.
func (w *work) remove(deviceID string) error {
	res := w.tx.Table("devices").Where("id = ? AND state NOT IN ?", deviceID, []string{protocol.DeviceRevoked, protocol.DeviceRemoved}).
		Updates(map[string]any{"state": protocol.DeviceRemoved, "next_sha256": "", "updated_at": w.now})
	if res.Error != nil {
		return fmt.Errorf("mark device as removed: %w", res.Error)
	}
	if res.RowsAffected == 0 {
		return nil
	}
	w.effects.removed = append(w.effects.removed, deviceID)
	return w.endAll(deviceID, protocol.DeviceRemoved)
}
