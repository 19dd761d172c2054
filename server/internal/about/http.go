// Package about tells who this server is: name, version, addresses and the fingerprints by which it is
// known. It keeps nothing.
package about

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster/muster/server/internal/api"
)

// Server is what there is to know.
type Server struct {
	Name            string    `json:"name"`
	Version         string    `json:"version"`
	URLs            []string  `json:"urls" doc:"addresses that agents are given, tried in order"`
	CAFingerprint   string    `json:"ca_fingerprint" doc:"SHA-256 of the server's CA certificate"`
	RootFingerprint string    `json:"root_fingerprint" doc:"id of the root key of trust"`
	ServerCanSign   bool      `json:"server_can_sign" doc:"whether this server holds a signing key itself"`
	StartedAt       time.Time `json:"started_at"`
}

// API is the operation.
type API struct {
	// Describe gives the present state.
	Describe func(context.Context) (Server, error)
}

// Register adds the operation.
func (a *API) Register(h huma.API) {
	api.Register(h, huma.Operation{
		OperationID: "get-server", Method: http.MethodGet, Path: "/server", Tags: []string{"Server"},
		Summary: "Describe this server",
	}, func(ctx context.Context, _ *struct{}) (*struct{ Body Server }, error) {
		s, err := a.Describe(ctx)
		if err != nil {
			return nil, err
		}
		return &struct{ Body Server }{Body: s}, nil
	})
}
