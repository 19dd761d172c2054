package deploy

import (
	"context"
	"fmt"

	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// judge turns the end of the command into the end of the attempt.
func (d *deployment) judge(ctx context.Context, s *proc.Status) error {
	var e *ending
	switch {
	case s.StartError != "":
		return withOutput(end(protocol.StateFailed, protocol.ReasonCannotStart, "the command could not be started: %s", s.StartError), s)
	case s.TimedOut:
		e = end(protocol.StateFailed, protocol.ReasonTimeLimit, "the command was ended at its time limit of %d seconds", d.doc.TimeLimitSeconds)
	case s.Signal != "":
		e = end(protocol.StateFailed, protocol.ReasonSignal, "the command was ended by the signal %q", s.Signal)
	default:
		e = exitEnding(outcome(d.doc, s.ExitCode), s.ExitCode)
		e.report.ExitCode = &s.ExitCode
	}
	e.report.Signal = s.Signal
	if e.report.State == protocol.StateSucceeded && d.doc.Detect != nil && e.report.Reason != protocol.ReasonRebootNeeded {
		found, err := d.detected(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !found {
			e.report.State, e.report.Reason = protocol.StateFailed, protocol.ReasonNotDetected
			e.report.Message = fmt.Sprintf("exit code %d, but the detection rule is not true afterwards", s.ExitCode)
			if err != nil {
				e.report.Message += ": " + err.Error()
			}
		}
	}
	if e.report.Reason == protocol.ReasonRebootNeeded {
		if d.bootChanged() {
			e.report.Message += "; it has been restarted since"
		}
		if err := d.noteReboot(); err != nil {
			d.log.Warn("remember that a restart is needed", logging.Err, err)
		}
	}
	return withOutput(e, s)
}

// exitEnding says what an outcome makes of the attempt.
func exitEnding(o instruction.Outcome, code int) *ending {
	switch o {
	case instruction.OutcomeSuccess:
		return end(protocol.StateSucceeded, protocol.ReasonExitCode, "exit code %d", code)
	case instruction.OutcomeReboot:
		return end(protocol.StateSucceeded, protocol.ReasonRebootNeeded, "exit code %d: a restart of the computer is needed", code)
	case instruction.OutcomeRetry:
		return end(protocol.StateFailed, protocol.ReasonRetryLater, "exit code %d asks to try again later", code)
	default:
		return end(protocol.StateFailed, protocol.ReasonExitCode, "exit code %d", code)
	}
}

// outcome looks the exit code up: the package's table first, then the codes that installers share.
func outcome(doc *instruction.Instruction, code int) instruction.Outcome {
	for _, e := range doc.ExitCodes {
		if e.Code == code {
			return e.Outcome
		}
	}
	switch code {
	case 0:
		return instruction.OutcomeSuccess
	case 3010, 1641: // ERROR_SUCCESS_REBOOT_REQUIRED, ..._INITIATED
		return instruction.OutcomeReboot
	case 1618: // ERROR_INSTALL_ALREADY_RUNNING
		return instruction.OutcomeRetry
	default:
		return instruction.OutcomeFailure
	}
}

// withOutput adds what the command wrote and how long it took.
func withOutput(e *ending, s *proc.Status) *ending {
	if s == nil {
		return e
	}
	e.report.Output, e.report.OutputBytes = s.Output, s.OutputBytes
	if !s.StartedAt.IsZero() && s.EndedAt.After(s.StartedAt) {
		e.report.DurationMS = s.EndedAt.Sub(s.StartedAt).Milliseconds()
	}
	return e
}
