package devicelog

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

// done is what a commit has brought.
type done struct {
	lines, byDevice, byServer int64
	devices                   []string // of which lines arrived
}

// work is one transaction's changes.
type work struct {
	tx      *gorm.DB
	now     time.Time
	bounds  bounds
	states  map[string]string // of devices
	sources map[string]*sourceRow
	known   map[reportKey]bool
	lines   []lineRow
	reports []reportRow
	done    done
}

type reportKey struct {
	no int64
	id string
}

// apply commits the batches of any devices in one transaction and writes into each what became of its reports:
// nil means that it is durable now or was before, a fault that it never will be.
func (s *lineStore) apply(ctx context.Context, group []*batch, now time.Time, b bounds) (done, error) {
	var out done
	err := s.db.Tx(ctx, func(tx *gorm.DB) error {
		w := &work{tx: tx, now: now, bounds: b, states: map[string]string{}, sources: map[string]*sourceRow{}, known: map[reportKey]bool{}}
		if err := w.prefetch(group, s.db.Dialect == store.MySQL); err != nil {
			return err
		}
		for _, b := range group {
			w.batch(b)
		}
		out = w.done
		return w.save()
	})
	return out, err
}

// prefetch reads what the reports are about with a few statements, however many they are, and holds the
// devices' rows, so that two commits, on whatever nodes, give no key twice.
func (w *work) prefetch(group []*batch, locks bool) error {
	var deviceIDs []string
	for _, b := range group {
		deviceIDs = append(deviceIDs, b.deviceID)
	}
	slices.Sort(deviceIDs) // all who lock several devices take them in one order
	deviceIDs = slices.Compact(deviceIDs)
	for part := range slices.Chunk(deviceIDs, chunk) {
		var found []struct{ ID, State string }
		if err := w.tx.Table("devices").Select("id", "state").Where("id IN ?", part).Find(&found).Error; err != nil {
			return fmt.Errorf("read devices: %w", err)
		}
		for _, d := range found {
			w.states[d.ID] = d.State
		}
		if err := w.takeSources(part, locks); err != nil {
			return err
		}
	}
	var keys []any // number and report, in turn
	for _, b := range group {
		if source := w.sources[b.deviceID]; source != nil {
			for _, r := range b.reports {
				keys = append(keys, source.DeviceNo, r.reportID)
			}
		}
	}
	for part := range slices.Chunk(keys, 2*chunk) {
		// One look-up for each: of two lists MariaDB would take the devices alone, and read all that is known of them.
		list := strings.TrimSuffix(strings.Repeat("(?,?),", len(part)/2), ",")
		if !locks {
			list = "VALUES " + list // as SQLite writes it
		}
		var found []reportRow
		if err := w.tx.Where("(device_no, report_id) IN ("+list+")", part...).Find(&found).Error; err != nil {
			return fmt.Errorf("find known reports: %w", err)
		}
		for _, f := range found {
			w.known[reportKey{f.DeviceNo, f.ReportID}] = true
		}
	}
	return nil
}

// takeSources reads and holds the rows of devices, and makes those that are missing.
func (w *work) takeSources(deviceIDs []string, locks bool) error {
	read := func() error {
		tx := w.tx.Where("device_id IN ?", deviceIDs).Order("device_id")
		if locks {
			tx = tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate})
		}
		var found []sourceRow
		if err := tx.Find(&found).Error; err != nil {
			return fmt.Errorf("read logs of devices: %w", err)
		}
		for i := range found {
			w.sources[found[i].DeviceID] = &found[i]
		}
		return nil
	}
	if err := read(); err != nil {
		return err
	}
	var missing []sourceRow
	for _, id := range deviceIDs {
		if w.sources[id] == nil && mayForward(w.states[id]) {
			missing = append(missing, sourceRow{DeviceID: id})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := w.tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&missing).Error; err != nil {
		return fmt.Errorf("begin logs of devices: %w", err)
	}
	return read()
}

// mayForward reports whether lines of a device in this state are taken. One that waits for approval may send
// inventories only; of one that is quarantined what it had to say before is taken.
func mayForward(state string) bool {
	return state == protocol.DeviceActive || state == protocol.DeviceQuarantined
}

func (w *work) batch(b *batch) {
	b.refused = make([]error, len(b.reports))
	if state := w.states[b.deviceID]; !mayForward(state) {
		for i := range b.refused {
			b.refused[i] = fault.New(fault.Forbidden, "device %s is %s and forwards no log lines", b.deviceID, state)
		}
		return
	}
	source := w.sources[b.deviceID]
	before := len(w.lines)
	for _, r := range b.reports {
		w.report(source, r)
	}
	if len(w.lines) > before && !slices.Contains(w.done.devices, b.deviceID) {
		w.done.devices = append(w.done.devices, b.deviceID)
	}
}

// report takes the lines of one report, as far as the device's hour has room for them.
func (w *work) report(s *sourceRow, r incoming) {
	key := reportKey{s.DeviceNo, r.reportID}
	if w.known[key] || len(r.lines) == 0 && r.dropped == 0 {
		return
	}
	if hour := w.now.Unix() / 3600; s.Hour != hour {
		missing := s.HourDropped
		s.Hour, s.HourLines, s.HourDropped = hour, 0, 0
		if missing > 0 {
			w.gap(s, missing, strconv.FormatInt(missing, 10)+" lines of this device were not kept here: there were over "+
				strconv.FormatInt(w.bounds.hourly, 10)+" in an hour")
		}
	}
	room := w.bounds.hourly - s.HourLines
	if room <= 0 { // it is not remembered either, or the device could fill the table of reports
		w.drop(s, int64(len(r.lines)))
		return
	}
	taken := r.lines[:min(int64(len(r.lines)), room)]
	if r.dropped > 0 {
		s.DroppedByDevice += r.dropped
		w.done.byDevice += r.dropped
		w.gap(s, r.dropped, strconv.FormatInt(r.dropped, 10)+" lines before this one were not forwarded by the device: there were too many")
	}
	for _, l := range taken {
		w.line(s, l)
	}
	w.drop(s, int64(len(r.lines)-len(taken)))
	w.known[key] = true
	w.reports = append(w.reports, reportRow{DeviceNo: s.DeviceNo, ReportID: r.reportID, LastKey: s.LastKey})
}

func (w *work) drop(s *sourceRow, n int64) {
	s.HourDropped += n
	s.DroppedByServer += n
	w.done.byServer += n
}

// gap puts a line where others are missing.
func (w *work) gap(s *sourceRow, n int64, message string) {
	w.line(s, lineRow{Level: levelOf("warn"), TimeMS: w.now.UnixMilli(), Task: coreTask, Message: message, Dropped: n})
}

// line gives a line its key: its own time, unless that is longer ago than lines are kept, and not before the
// device's line before it, so that whoever follows the device reads on after the last key.
func (w *work) line(s *sourceRow, l lineRow) {
	at := time.UnixMilli(l.TimeMS)
	if at.Before(w.now.Add(-w.bounds.keep)) {
		at = w.now
	}
	l.DeviceNo, l.LineKey = s.DeviceNo, max(keyAt(at), s.LastKey+1)
	s.LastKey = l.LineKey
	if s.KeptLines == 0 {
		s.OldestKey = l.LineKey
	}
	s.KeptLines++
	s.HourLines++
	w.lines = append(w.lines, l)
	w.done.lines++
}

func (w *work) save() error {
	if len(w.lines) > 0 {
		if err := w.tx.CreateInBatches(w.lines, chunk).Error; err != nil {
			return fmt.Errorf("keep log lines: %w", err)
		}
	}
	if len(w.reports) > 0 {
		if err := w.tx.CreateInBatches(w.reports, chunk).Error; err != nil {
			return fmt.Errorf("keep reports of log lines: %w", err)
		}
	}
	for _, s := range w.sources {
		if err := w.tx.Select("*").Updates(s).Error; err != nil {
			return fmt.Errorf("count log lines: %w", err)
		}
	}
	return nil
}
