package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// mostReports bounds the timeline rows that a device can make of one attempt. What moves the attempt on
// is always taken.
const mostReports = 500

// incoming is one checked report about a deployment.
type incoming struct {
	deviceID string
	reportID string
	time     time.Time // of the device's clock, within reason
	body     protocol.DeploymentReport
}

// apply commits reports of any devices in one transaction. The answer has one error per report: nil
// means that it is durable now or was before, a fault that it never will be.
func (s *deployStore) apply(ctx context.Context, reports []incoming) ([]error, effects, error) {
	var refused []error
	run := func(w *work) error {
		refused = make([]error, len(reports))
		known, err := w.prefetch(reports)
		if err != nil {
			return err
		}
		var moved []string // devices whose gate may have
		for i, r := range reports {
			key := reportKey{r.deviceID, r.reportID}
			if known[key] {
				continue
			}
			gate, err := w.report(r)
			if fault.CodeOf(err) == fault.Internal {
				return err
			}
			if refused[i] = err; err != nil {
				continue
			}
			known[key] = true
			if gate {
				moved = append(moved, r.deviceID)
			}
		}
		return w.regate(moved)
	}
	deviceIDs := make([]string, len(reports))
	for i, r := range reports {
		deviceIDs[i] = r.deviceID
	}
	e, err := s.do(ctx, deviceIDs, run)
	if errors.Is(err, gorm.ErrDuplicatedKey) { // the same report came by another node meanwhile
		e, err = s.do(ctx, deviceIDs, run)
	}
	return refused, e, err
}

type reportKey struct{ deviceID, reportID string }

// prefetch reads what the reports are about with a handful of statements, however many they are.
func (w *work) prefetch(reports []incoming) (known map[reportKey]bool, err error) {
	known = map[reportKey]bool{}
	var reportIDs, attemptIDs []string
	for _, r := range reports {
		reportIDs = append(reportIDs, r.reportID)
		attemptIDs = append(attemptIDs, r.body.AttemptID)
	}
	for part := range chunks(reportIDs) {
		var found []timelineRow
		if err := w.tx.Select("report_id", "device_id").Where("report_id IN ?", part).Find(&found).Error; err != nil {
			return nil, fmt.Errorf("find known reports: %w", err)
		}
		for _, f := range found {
			known[reportKey{f.DeviceID, *f.ReportID}] = true
		}
	}
	if err := w.attempts(attemptIDs); err != nil {
		return nil, err
	}
	var deploymentIDs []string
	for _, a := range w.tries {
		deploymentIDs = append(deploymentIDs, a.DeploymentID)
	}
	for part := range chunks(deploymentIDs) {
		if _, err := w.load("id IN ?", part); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// report applies one report and tells whether the device's gate is to be looked at again: the
// deployment's attempt ended, or it moved or waits for something else although it is held back.
func (w *work) report(r incoming) (gate bool, err error) {
	try := w.tries[r.body.AttemptID]
	if try == nil || r.body.DeploymentID != "" && try.DeploymentID != r.body.DeploymentID {
		return false, fault.New(fault.NotFound, "there is no attempt %s of deployment %s", r.body.AttemptID, r.body.DeploymentID)
	}
	d := w.rows[try.DeploymentID]
	if d == nil || d.DeviceID != r.deviceID {
		return false, fault.New(fault.Forbidden, "deployment %s belongs to another device", try.DeploymentID)
	}
	st := advance(position{State: d.State, Reached: try.State, LastReport: try.LastReport, Current: d.AttemptID == try.ID}, r.reportID, r.body.State)
	if try.Reports >= mostReports && !st.Reaches {
		return false, fault.New(fault.TooMany, "attempt %s has %d reports in its timeline already", try.ID, try.Reports)
	}
	try.Reports++
	w.retried[try.ID] = true
	if st.Reaches {
		w.reach(try, r)
	}
	if st.Reaches || st.Shows {
		try.LastReport = max(try.LastReport, r.reportID)
	}
	held := d.gated(w.now).shown() != hold{}
	if st.Shows {
		d.State, d.WaitsFor = st.State, ""
		d.Reason, d.Message = r.body.Reason, r.body.Message
		if st.State.Final() {
			d.ExitCode, d.Signal = r.body.ExitCode, r.body.Signal
		}
	}
	told := result{State: r.body.State, Reason: r.body.Reason, ExitCode: r.body.ExitCode, Signal: r.body.Signal, Attempt: try.Number}
	message := r.body.Message
	if message == "" {
		message = detail(told)
	}
	w.note(d, entry{
		source: sourceDevice, message: message, reportID: r.reportID, time: r.time, attempt: try.Number,
		state: r.body.State, reason: r.body.Reason, exitCode: r.body.ExitCode, nextAt: r.body.NextTry,
	})
	if st.Reaches && st.Shows && st.State.Final() {
		return true, w.settle(d, try)
	}
	return st.Shows && (held || st.State == protocol.StateWaiting), nil
}

// reach writes how far the attempt has come and, at its end, the result.
func (w *work) reach(try *attemptRow, r incoming) {
	try.State = r.body.State
	if !r.body.State.Final() {
		return
	}
	try.FinishedAt = &w.now
	try.ResultReport = r.reportID
	try.ExitCode, try.Signal = r.body.ExitCode, r.body.Signal
	try.Output, try.OutputBytes = r.body.Output, r.body.OutputBytes
	try.DurationMS, try.Files, try.Bytes = r.body.DurationMS, r.body.Files, r.body.Bytes
}

// settle decides what follows the end of the current attempt.
func (w *work) settle(d *deploymentRow, try *attemptRow) error {
	v := settle(d.policy(), d.State, d.Reason, w.random())
	waitsForSigning := v.Live && (d.State == protocol.StateExpired || d.State == protocol.StateRefused)
	if waitsForSigning && try.Instruction != d.Instruction {
		// Signed again while the device still worked on the old instruction: nothing would come any more.
		return w.restart(d, d.Instruction, "the package was signed again meanwhile", sourceServer)
	}
	d.setLive(v.Live)
	d.NotBefore = nil
	if v.Again {
		at := w.now.Add(v.Delay)
		d.Failures++
		if err := w.begin(d, &at); err != nil {
			return err
		}
	}
	if v.State != d.State {
		w.show(d, sourceServer, v.State, v.Reason, "", "")
		return nil
	}
	d.FinishedAt = &w.now
	return nil
}
