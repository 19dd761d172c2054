package instruction

import (
	"errors"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Refusal is the error of a document that must not be acted on. Reason is what a device reports; the
// fault below it carries the code (untrusted, or unsupported for features this build lacks) and the text.
type Refusal struct {
	Reason protocol.Reason
	Err    *fault.Error
}

// Error is the text of the fault.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the fault, so that fault.CodeOf works.
func (r *Refusal) Unwrap() error { return r.Err }

// Refuse makes a Refusal of code untrusted.
func Refuse(reason protocol.Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Err: fault.New(fault.Untrusted, format, args...)}
}

// refuseBecause makes a Refusal of code untrusted around a cause.
func refuseBecause(err error, reason protocol.Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Err: fault.Wrap(err, fault.Untrusted, format, args...)}
}

// ReasonOf is the reason with which a device refuses, given an error of Decode or of package trust. It
// is empty for nil and for errors that say nothing about the document, such as a full disk.
func ReasonOf(err error) protocol.Reason {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}
