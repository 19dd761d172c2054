package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Problem is an error answer.
type Problem protocol.Problem

// Error makes a Problem an error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status, for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type, for huma.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders says how to authenticate, or when to try again.
func (p *Problem) GetHeaders() http.Header {
	if p.Status == http.StatusUnauthorized {
		return http.Header{"Www-Authenticate": {"Bearer"}}
	}
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		return http.Header{"Retry-After": {"5"}}
	}
	return nil
}

// Write answers a request that did not reach an operation.
func (p *Problem) Write(w http.ResponseWriter) error {
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	return json.NewEncoder(w).Encode(p)
}

// ProblemOf is the answer that an error gives. Internal errors give nothing away.
func ProblemOf(err error) *Problem { return problemOf(err) }

func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return problem(fault.Unavailable, "the request took too long; try again later")
	}
	code := fault.CodeOf(err)
	if code == fault.Internal {
		return problem(code, "internal error; the server's log has the details")
	}
	p = problem(code, "")
	var said []string
	for _, f := range faults(err) {
		if f.Code == fault.Internal {
			continue
		}
		said = append(said, f.Msg)
		if f.Field != "" {
			p.Errors = append(p.Errors, protocol.ProblemField{Field: f.Field, Message: f.Msg})
		}
	}
	p.Detail = strings.Join(said, "; ")
	return p
}

// problem is an answer with the code's status.
func problem(code fault.Code, detail string) *Problem {
	status := fault.Status(code)
	return &Problem{Status: status, Title: http.StatusText(status), Code: string(code), Detail: detail}
}

// faults lists the faults in err's tree, outermost first. Texts of other errors in it are not for
// clients: they may name files and statements.
func faults(err error) []*fault.Error {
	var all []*fault.Error
	if f, ok := err.(*fault.Error); ok { //nolint:errorlint // the tree is walked by hand
		all = append(all, f)
	}
	switch u := err.(type) { //nolint:errorlint // likewise
	case interface{ Unwrap() error }:
		if inner := u.Unwrap(); inner != nil {
			all = append(all, faults(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range u.Unwrap() {
			all = append(all, faults(inner)...)
		}
	}
	return all
}

// newError makes huma's own errors (malformed JSON, failed validation, too large) look like ours. What
// a client sent is not repeated: it may be a password.
func newError(status int, msg string, errs ...error) huma.StatusError {
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	code := fault.FromStatus(status)
	if status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable {
		code, msg, errs = fault.Internal, "internal error; the server's log has the details", nil
	}
	p := &Problem{Status: status, Title: http.StatusText(status), Code: string(code), Detail: msg}
	for _, err := range errs {
		if err == nil {
			continue
		}
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			detail := d.ErrorDetail()
			p.Errors = append(p.Errors, protocol.ProblemField{Field: detail.Location, Message: detail.Message})
			continue
		}
		p.Errors = append(p.Errors, protocol.ProblemField{Message: problemOf(err).Detail})
	}
	if len(p.Errors) > 0 { // "validation failed" helps nobody
		first := p.Errors[0]
		p.Detail = strings.TrimPrefix(first.Field+": "+first.Message, ": ")
	}
	return p
}
