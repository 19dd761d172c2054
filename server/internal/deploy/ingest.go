package deploy

import (
	"context"
	"fmt"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/text"
)

// Group commit: while one transaction runs, the batches that arrive wait for the next one together.
const (
	queueLength   = 1024             // batches that may wait
	commitReports = 2000             // reports in one transaction
	commitWait    = 30 * time.Second // for a place and an answer; then the device keeps its reports
	mostID        = 64               // bytes of a malformed report id that are sent back
)

// batch is what one device sent at once.
type batch struct {
	reports []incoming
	refused []error // per report, set by the committer
	err     error
	done    chan struct{}
}

// Ingest takes a device's reports about deployments: of kind deployment, and of kind task for a deploy task
// that could not be begun. When it returns, the acknowledged ones are committed. A refused one will never be
// taken; an error means that nothing is known of any of them and the device is to send them again.
func (s *Service) Ingest(ctx context.Context, deviceID string, reports []protocol.Report) (protocol.Ack, error) {
	ack := protocol.Ack{IDs: []string{}}
	now := store.Now()
	b := &batch{done: make(chan struct{})}
	refuse := func(id string, err error) {
		ack.Refused = append(ack.Refused, protocol.RefusedItem{ID: text.Cut(id, mostID), Code: string(fault.CodeOf(err)), Message: err.Error()})
	}
	for _, r := range reports {
		in, err := check(deviceID, r, now)
		if err != nil {
			refuse(r.ID, err)
			continue
		}
		b.reports = append(b.reports, in)
	}
	if err := s.commit(ctx, b); err != nil {
		return protocol.Ack{}, err
	}
	for i, r := range b.reports {
		if b.refused[i] != nil {
			refuse(r.reportID, b.refused[i])
		} else {
			ack.IDs = append(ack.IDs, r.reportID)
		}
	}
	return ack, nil
}

// commit hands the batch to the committer and waits for its answer.
func (s *Service) commit(ctx context.Context, b *batch) error {
	if len(b.reports) == 0 {
		return nil
	}
	timeout := time.NewTimer(commitWait)
	defer timeout.Stop()
	busy := fault.New(fault.Unavailable, "the server cannot take reports now; send them again later")
	select {
	case s.queue <- b:
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Unavailable, "commit reports")
	case <-s.stopped:
		return busy
	case <-timeout.C:
		return busy
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Unavailable, "commit reports")
	case <-s.stopped:
		select { // it may have been the last one answered
		case <-b.done:
			return b.err
		default:
			return busy
		}
	case <-timeout.C:
		return busy
	}
}

// commitLoop is the only writer of reports.
func (s *Service) commitLoop(ctx context.Context) {
	for {
		var first *batch
		select {
		case <-ctx.Done():
			return
		case first = <-s.queue:
		}
		group, n := []*batch{first}, len(first.reports)
		for more := true; more && n < commitReports; {
			select {
			case b := <-s.queue:
				group, n = append(group, b), n+len(b.reports)
			default:
				more = false
			}
		}
		// A commit that has begun is finished, also when the server is shutting down, unless the database
		// hangs: nobody waits for it any longer then.
		commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitWait)
		s.commitGroup(commit, group)
		cancel()
	}
}

// commitGroup commits the batches together. Should that fail, each is tried alone, so that one batch
// that the database cannot take does not hold up other devices for ever.
func (s *Service) commitGroup(ctx context.Context, group []*batch) {
	var all []incoming
	for _, b := range group {
		all = append(all, b.reports...)
	}
	begin := time.Now()
	refused, effects, err := s.store.apply(ctx, all)
	s.metrics.commit.Observe(time.Since(begin).Seconds())
	s.metrics.group.Observe(float64(len(all)))
	if err != nil && len(group) > 1 {
		s.log.Warn("commit reports of several devices; trying each alone", "count", len(group), "err", err)
		for _, b := range group {
			s.commitGroup(ctx, []*batch{b})
		}
		return
	}
	if err == nil {
		s.tell(effects) // costs no time; who has an answer finds the wakeups sent
	}
	for _, b := range group {
		if err != nil {
			b.err = fmt.Errorf("commit reports: %w", err)
		} else {
			b.refused, refused = refused[:len(b.reports)], refused[len(b.reports):]
		}
		close(b.done)
	}
}

// check turns a report into what the store takes, with bounded fields. Its errors are for good.
func check(deviceID string, r protocol.Report, now time.Time) (incoming, error) {
	in := incoming{deviceID: deviceID, reportID: r.ID, time: reportTime(r.Time, now)}
	if err := r.Validate(); err != nil {
		return in, err
	}
	switch r.Kind {
	case protocol.ReportDeployment:
		in.body = *r.Deployment
	case protocol.ReportTask:
		// A task that could not be begun is the refusal of its attempt: tasks are named by attempt.
		in.body = protocol.DeploymentReport{
			AttemptID: r.Task.TaskID, State: protocol.StateRefused, Reason: r.Task.Reason, Message: r.Task.Message,
		}
		if len(r.Task.TaskID) > mostID {
			return in, fault.Field("task.task_id", "%.64q is not the id of a task", r.Task.TaskID)
		}
	default:
		return in, fault.New(fault.Unsupported, "report kind %.40q is not about a deployment", r.Kind)
	}
	b := &in.body
	b.Reason = protocol.Reason(text.Cut(text.Line(string(b.Reason)), 40))
	if b.State == protocol.StateWaiting && ofServer(b.Reason) {
		b.Reason = "" // the device waits, but what the server waits for the server says
	}
	b.Message = text.Cut(text.Line(b.Message), protocol.MaxMessage)
	b.Signal = text.Cut(text.Line(b.Signal), 40)
	b.Output = text.Tail(b.Output, protocol.MaxOutputTail)
	b.OutputBytes, b.DurationMS = max(0, b.OutputBytes), max(0, b.DurationMS)
	b.Files, b.Bytes = max(0, b.Files), max(0, b.Bytes)
	if b.ExitCode != nil && int(int32(*b.ExitCode)) != *b.ExitCode { // the conversion is the check
		low := int(int32(uint32(*b.ExitCode))) // Windows codes as they are written elsewhere: 0xC0000005
		b.ExitCode = &low
	}
	if b.NextTry != nil {
		next := b.NextTry.UTC().Truncate(time.Millisecond)
		b.NextTry = &next
		if next.Year() < 2000 || next.Year() > 9999 {
			b.NextTry = nil
		}
	}
	return in, nil
}

// ofServer reports whether a reason to wait is given by the server alone, which acts on it.
func ofServer(r protocol.Reason) bool {
	switch r {
	case protocol.ReasonHeldByPriority0, protocol.ReasonDevicePending, protocol.ReasonDeviceQuarantined, protocol.ReasonSignAgain,
		protocol.ReasonRetryBackoff, protocol.ReasonReleased:
		return true
	default:
		return false
	}
}

// reportTime is the device's time when it can be true, else the time of arrival.
func reportTime(t, now time.Time) time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Year() < 2000 || t.After(now) {
		return now
	}
	return t
}
