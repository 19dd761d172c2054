package devicelog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/text"
)

const (
	commitBatches = 200     // batches that are committed together
	batchLines    = 1_000   // lines of one batch, at most one report more
	commitLines   = 20_000  // lines of one transaction, at most one batch more
	mostReportID  = 64      // bytes of a malformed report id that are sent back
	mostTask      = 40      // characters
	mostDropped   = 1 << 30 // lines that a report says are missing; the sum fits for years
)

// coreTask is the task of lines that the resident process wrote, and of those that say what is missing.
const coreTask = "core"

// batch is what is committed of one device at once.
type batch struct {
	deviceID string
	reports  []incoming
	refused  []error // per report, set by the commit
	err      error
}

func (b *batch) lines() (n int) {
	for _, r := range b.reports {
		n += len(r.lines)
	}
	return n
}

// incoming is one checked report.
type incoming struct {
	reportID string
	lines    []lineRow // without device and key
	dropped  int64     // told by the device
}

// Ingest takes a device's reports of kind log, by whatever way they came. When it returns, the acknowledged ones
// are committed. A refused one will never be taken; an error means that nothing is known of any of them and the
// device is to send them again.
func (s *Service) Ingest(ctx context.Context, deviceID string, reports []protocol.Report) (protocol.Ack, error) {
	ack := protocol.Ack{IDs: []string{}}
	refuse := func(id string, err error) {
		ack.Refused = append(ack.Refused, protocol.RefusedItem{ID: text.Cut(id, mostReportID), Code: string(fault.CodeOf(err)), Message: err.Error()})
	}
	now := s.now()
	var batches []*batch
	for _, r := range reports {
		in, err := check(r, now)
		if err != nil {
			refuse(r.ID, err)
			continue
		}
		if n := len(batches); n == 0 || batches[n-1].lines() >= batchLines {
			batches = append(batches, &batch{deviceID: deviceID})
		}
		last := batches[len(batches)-1]
		last.reports = append(last.reports, in)
	}
	for _, b := range batches {
		if err := s.group.Do(ctx, b); err != nil {
			return protocol.Ack{}, err
		}
		if b.err != nil {
			return protocol.Ack{}, b.err
		}
		for i, r := range b.reports {
			if b.refused[i] != nil {
				refuse(r.reportID, b.refused[i])
			} else {
				ack.IDs = append(ack.IDs, r.reportID)
			}
		}
	}
	return ack, nil
}

// commit commits batches, as many at a time as one transaction holds.
func (s *Service) commit(ctx context.Context, group []*batch) error {
	begin, n := 0, 0
	for i, b := range group {
		if n += b.lines(); n >= commitLines || i == len(group)-1 {
			s.commitSome(ctx, group[begin:i+1])
			begin, n = i+1, 0
		}
	}
	return nil
}

// commitSome commits batches together. Should that fail, each is tried alone, so that one that the database
// cannot take does not hold up other devices for ever.
func (s *Service) commitSome(ctx context.Context, group []*batch) {
	begin := time.Now()
	done, err := s.store.apply(ctx, group, s.now(), s.bounds)
	s.metrics.commit.Observe(time.Since(begin).Seconds())
	switch {
	case err == nil:
		s.metrics.lines.Add(float64(done.lines))
		s.metrics.byDevice.Add(float64(done.byDevice))
		s.metrics.byServer.Add(float64(done.byServer))
		for _, id := range done.devices { // before the answers; the hub paces what browsers are told
			s.live.Notify(hub.Event{Type: "log", ID: id, DeviceID: id})
		}
	case len(group) == 1:
		group[0].err = fmt.Errorf("commit log lines: %w", err)
	default:
		s.log.Warn("commit log lines of several devices; trying each alone", "count", len(group), "err", err)
		for _, b := range group {
			s.commitSome(ctx, []*batch{b})
		}
	}
}

// check turns a report into what the store takes, with bounded and clean fields. Its errors are for good.
func check(r protocol.Report, now time.Time) (incoming, error) {
	in := incoming{reportID: r.ID}
	if err := r.Validate(); err != nil {
		return in, err
	}
	if r.Kind != protocol.ReportLog {
		return in, fault.New(fault.Unsupported, "report kind %.40q holds no log lines", r.Kind)
	}
	in.dropped = min(max(0, r.Log.Dropped), mostDropped)
	in.lines = make([]lineRow, len(r.Log.Lines))
	for i, l := range r.Log.Lines {
		task := text.Clean(l.Task, mostTask)
		if task == "" {
			task = coreTask
		}
		in.lines[i] = lineRow{
			Level: levelOf(l.Level), TimeMS: lineTime(l.Time, now).UnixMilli(), Task: task,
			Message: text.Cut(text.Line(l.Message), protocol.MaxLogMessage),
		}
	}
	return in, nil
}

// levelOf is the number under which a level is kept: the higher, the worse.
func levelOf(level string) int { return slices.Index(protocol.LogLevels, level) + 1 }

// lineTime is the device's time when it can be true, else the time of arrival.
func lineTime(t, now time.Time) time.Time {
	if t.Year() < 2000 || t.After(now) {
		return now
	}
	return t
}
