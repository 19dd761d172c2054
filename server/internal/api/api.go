// Package api holds the shapes that all operations of the admin API share: how an operation is
// registered, how lists are paged, how errors look. Features call Register from their http.go; httpapi
// makes the huma.API. The package keeps no state of requests.
//
// Every error leaves as problem+json (protocol.Problem) with a stable code. An error without a fault
// code is internal: the client reads "internal error", and the cause goes to the Exchange of the
// request, whose owner logs it once.
package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Names of the security schemes.
const (
	SessionScheme = "session"
	TokenScheme   = "token"
)

// Path is where the admin API lives.
const Path = "/api/v1"

// SessionCookie is the name of the browser's cookie.
const SessionCookie = "muster_session"

// huma keeps these three as package variables, read by every API of the process; they are set once,
// before any API is made.
func init() {
	huma.NewError = newError
	huma.ValidateStrictCasing = true  // "Name" is not "name"
	huma.DefaultArrayNullable = false // lists are never null
}

// Config describes the admin API: OpenAPI 3.1 at Path/openapi.json, JSON only, no links to schemas.
func Config(version string) huma.Config {
	c := huma.DefaultConfig("Muster", version)
	c.CreateHooks = nil
	c.SchemasPath, c.DocsPath = "", ""
	c.RejectUnknownQueryParameters = true
	c.Servers = []*huma.Server{{URL: Path}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		SessionScheme: {Type: "apiKey", In: "cookie", Name: SessionCookie},
		TokenScheme:   {Type: "http", Scheme: "bearer", BearerFormat: "mapi_<64 hex digits>"},
	}
	return c
}

// Public marks an operation that needs no identity: Operation{Security: api.Public()}.
func Public() []map[string][]string { return []map[string][]string{} }

// IsPublic reports whether an operation needs no identity.
func IsPublic(op *huma.Operation) bool { return op.Security != nil && len(op.Security) == 0 }

// maxBody is the limit of a body whose operation names none.
const maxBody = 1 << 20

// Register adds an operation. Unless op says otherwise it needs a session or an API token, and its body
// is at most 1 MiB. Errors of h become problem+json by their fault code.
func Register[I, O any](a huma.API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	if op.Security == nil {
		op.Security = []map[string][]string{{SessionScheme: {}}, {TokenScheme: {}}}
	}
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxBody
	}
	if len(op.Errors) == 0 {
		op.Errors = []int{
			http.StatusBadRequest, http.StatusForbidden, http.StatusTooManyRequests,
			http.StatusInternalServerError, http.StatusServiceUnavailable,
		}
		if !IsPublic(&op) {
			op.Errors = append(op.Errors, http.StatusUnauthorized)
		}
	}
	huma.Register(a, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			note(ctx, err)
			return nil, problemOf(err)
		}
		return out, nil
	})
	dropUnusedErrors(a, op)
}

// dropUnusedErrors removes the 422 that huma documents for failed validation: it answers 400 here.
func dropUnusedErrors(a huma.API, op huma.Operation) {
	item := a.OpenAPI().Paths[op.Path]
	if item == nil {
		return
	}
	for _, o := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
		if o != nil && o.OperationID == op.OperationID && !contains(op.Errors, http.StatusUnprocessableEntity) {
			delete(o.Responses, "422")
		}
	}
}

func contains(list []int, n int) bool {
	for _, v := range list {
		if v == n {
			return true
		}
	}
	return false
}
