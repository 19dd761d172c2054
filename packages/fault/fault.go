// Package fault is the one error type that both programs, the command line and the wire share.
//
// A fault carries a code for machines and a sentence for people. Any error without a code is
// Internal: its text goes to the log, never to a client. Wrapping keeps the code, so errors.As finds
// it through any number of fmt.Errorf("…: %w").
package fault

import (
	"errors"
	"fmt"
)

// Code classifies an error. Codes are part of the wire contract: they are added, never renamed.
type Code string

// The codes. Their HTTP status is in Status.
const (
	Invalid         Code = "invalid"         // the request is malformed or a value is out of range
	Unauthenticated Code = "unauthenticated" // no or wrong credentials
	Forbidden       Code = "forbidden"       // known, but not allowed
	NotFound        Code = "not_found"       // no such thing
	Conflict        Code = "conflict"        // the thing's present state does not allow it
	TooLarge        Code = "too_large"       // over a documented limit
	Unsupported     Code = "unsupported"     // media type, method or format that is not understood
	Untrusted       Code = "untrusted"       // a signature, digest or certificate does not verify
	TooMany         Code = "too_many"        // rate limit; try again later
	Unavailable     Code = "unavailable"     // overload or a dependency is down; try again later
	Internal        Code = "internal"        // a bug or an environment failure on our side
)

// Error is an error with a code and a message for people. Err, when set, is the cause.
type Error struct {
	Code Code
	Msg  string
	// Field names the offending input in dotted form, as body.name; empty when there is none.
	Field string
	Err   error
}

// New makes an error with a formatted message.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// Field makes an Invalid error about one input field.
func Field(field, format string, args ...any) *Error {
	return &Error{Code: Invalid, Field: field, Msg: fmt.Sprintf(format, args...)}
}

// Wrap gives err a code and a message; the cause stays reachable by errors.Is and errors.As.
func Wrap(err error, code Code, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...), Err: err}
}

// Error is the message, followed by the cause if there is one.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the outermost fault in err's chain; Internal for any other error, and empty
// for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var f *Error
	if errors.As(err, &f) {
		return f.Code
	}
	return Internal
}

// Is reports whether err carries the code.
func Is(err error, code Code) bool { return err != nil && CodeOf(err) == code }

// Retryable reports whether the same request may succeed later without being changed.
func Retryable(err error) bool {
	switch CodeOf(err) {
	case TooMany, Unavailable, Internal:
		return true
	default:
		return false
	}
}

var statuses = map[Code]int{
	Invalid: 400, Unauthenticated: 401, Forbidden: 403, NotFound: 404, Conflict: 409, TooLarge: 413,
	Unsupported: 415, Untrusted: 422, TooMany: 429, Unavailable: 503, Internal: 500,
}

// Status is the HTTP status that a code travels with.
func Status(code Code) int {
	if s, ok := statuses[code]; ok {
		return s
	}
	return 500
}

// FromStatus is the code that stands for an HTTP status when a response carries no code of its own.
func FromStatus(status int) Code {
	for code, s := range statuses {
		if s == status {
			return code
		}
	}
	switch {
	case status == 405:
		return Unsupported
	case status >= 500:
		return Unavailable
	default:
		return Invalid
	}
}
