package task

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/text"
)

// Bounds of what is kept of a report.
const (
	commitBatches = 200 // batches in one commit
	mostReportID  = 64  // bytes of a malformed report id that are sent back
	mostReason    = 40
	mostStatus    = 40
	mostVersion   = 64
	mostKey       = 512
	mostItemText  = 1 << 10
	mostOthers    = 50
	mostOther     = 200
)

// batch is what one device sent at once.
type batch struct {
	deviceID string
	reports  []incoming
	refused  []error // per report, set by the commit
	gone     bool    // the device has left with one of them, now or before
	err      error
}

// incoming is one checked report.
type incoming struct {
	reportID string
	time     time.Time // of the device's clock, within reason
	taskID   string
	left     bool // the agent says that it has left, with a task that it may have made itself
	state    protocol.State
	reason   protocol.Reason
	message  string
	items    string // JSON; empty when the report has none
	outcome  string // of the items
	update   *protocol.UpdateResult
	result   string // update as JSON
	nextTry  *time.Time
}

// Ingest takes a device's reports about tasks, of kind task, by whatever way they came. When it returns,
// the acknowledged ones are committed. A refused one will never be taken; an error means that nothing is
// known of any of them and the device is to send them again. gone says that the agent has left with one of
// them: it is to be cut off once it has its answer.
func (s *Service) Ingest(ctx context.Context, deviceID string, reports []protocol.Report) (ack protocol.Ack, gone bool, err error) {
	ack.IDs = []string{}
	refuse := func(id string, err error) {
		ack.Refused = append(ack.Refused, protocol.RefusedItem{ID: text.Cut(id, mostReportID), Code: string(fault.CodeOf(err)), Message: err.Error()})
	}
	now := store.Now()
	b := &batch{deviceID: deviceID}
	for _, r := range reports {
		in, err := check(r, now)
		if err != nil {
			refuse(r.ID, err)
			continue
		}
		b.reports = append(b.reports, in)
	}
	if len(b.reports) == 0 {
		return ack, false, nil
	}
	if err := s.group.Do(ctx, b); err != nil {
		return protocol.Ack{}, false, err
	}
	if b.err != nil {
		return protocol.Ack{}, false, b.err
	}
	for i, r := range b.reports {
		if b.refused[i] != nil {
			refuse(r.reportID, b.refused[i])
		} else {
			ack.IDs = append(ack.IDs, r.reportID)
		}
	}
	return ack, b.gone, nil
}

// commit commits batches together. Should that fail, each is tried alone, so that one that the database
// cannot take does not hold up other devices for ever.
func (s *Service) commit(ctx context.Context, group []*batch) error {
	e, err := s.store.apply(ctx, group)
	switch {
	case err == nil:
		s.tell(ctx, e) // before the answers: who has one finds the device cut off from new work
	case len(group) == 1:
		group[0].err = fmt.Errorf("commit reports: %w", err)
	default:
		s.log.Warn("commit reports of several devices; trying each alone", "count", len(group), "err", err)
		for _, b := range group {
			if err := s.commit(ctx, []*batch{b}); err != nil {
				return err
			}
		}
	}
	return nil
}

// check turns a report into what the store takes, with bounded and clean fields. Its errors are for good.
func check(r protocol.Report, now time.Time) (incoming, error) {
	in := incoming{reportID: r.ID, time: reportTime(r.Time, now)}
	if err := r.Validate(); err != nil {
		return in, err
	}
	if r.Kind != protocol.ReportTask {
		return in, fault.New(fault.Unsupported, "report kind %.40q is not about a task", r.Kind)
	}
	t := r.Task
	if id, err := uuid.Parse(t.TaskID); err != nil || id.String() != t.TaskID {
		return in, fault.Field("task.task_id", "%.64q is not the id of a task", t.TaskID)
	}
	in.taskID, in.state = t.TaskID, t.State
	if in.state == "" { // it was not begun
		in.state = protocol.StateRefused
	}
	if !reports(in.state) {
		return in, fault.Field("task.state", "a task has no state %.40q", t.State)
	}
	in.left = t.Kind == protocol.TaskRemove && in.state == protocol.StateSucceeded
	in.reason = protocol.Reason(text.Cut(text.Line(string(t.Reason)), mostReason))
	in.message = text.Cut(text.Line(t.Message), protocol.MaxMessage)
	if t.NextTry != nil && in.state == protocol.StateWaiting && t.NextTry.Year() >= 2000 && t.NextTry.Year() <= 9999 {
		next := t.NextTry.UTC().Truncate(time.Millisecond)
		in.nextTry = &next
	}
	if len(t.Items) > 0 {
		items := make([]protocol.TaskItem, len(t.Items))
		for i, item := range t.Items {
			items[i] = cleanItem(item)
		}
		encoded, err := json.Marshal(items)
		if err != nil {
			return in, fmt.Errorf("encode items: %w", err)
		}
		in.items, in.outcome = string(encoded), counted(items)
	}
	if u := t.Update; u != nil && in.state.Final() {
		in.update = &protocol.UpdateResult{
			From: text.Cut(text.Line(u.From), mostVersion), To: text.Cut(text.Line(u.To), mostVersion),
			Outcome: protocol.UpdateOutcome(text.Cut(text.Line(string(u.Outcome)), mostStatus)),
		}
		encoded, err := json.Marshal(in.update)
		if err != nil {
			return in, fmt.Errorf("encode result of an update: %w", err)
		}
		in.result = string(encoded)
	}
	return in, nil
}

func cleanItem(i protocol.TaskItem) protocol.TaskItem {
	i.ID = text.Cut(text.Line(i.ID), mostKey)
	i.Status = protocol.ItemStatus(text.Cut(text.Line(string(i.Status)), mostStatus))
	i.Message = text.Cut(text.Line(i.Message), mostItemText)
	others := make([]string, 0, min(len(i.Others), mostOthers))
	for _, o := range i.Others[:min(len(i.Others), mostOthers)] {
		others = append(others, text.Cut(text.Line(o), mostOther))
	}
	i.Others = others
	i.Output = text.Tail(text.Block(i.Output), protocol.MaxItemOutput)
	i.DurationMS = max(0, i.DurationMS)
	if i.ExitCode != nil && int(int32(*i.ExitCode)) != *i.ExitCode { // the conversion is the check
		low := int(int32(uint32(*i.ExitCode))) // Windows codes as they are written elsewhere: 0xC0000005
		i.ExitCode = &low
	}
	return i
}

// reportTime is the device's time when it can be true, else the time of arrival.
func reportTime(t, now time.Time) time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Year() < 2000 || t.After(now) {
		return now
	}
	return t
}
