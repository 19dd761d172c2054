package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/api"
)

// at is a request without a body.
func at(path string) func(*testing.T, *world) request {
	return func(*testing.T, *world) request { return request{path: path} }
}

// send is a request with a JSON body.
func send(path string, body map[string]any) func(*testing.T, *world) request {
	return func(*testing.T, *world) request { return request{path: path, body: body} }
}

// create makes something as admin and returns its id.
func create(t *testing.T, w *world, path string, body map[string]any) string {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	res := w.admin.Do(t, http.MethodPost, api.Path+path, body)
	require.Less(t, res.Status, 300, "%s", res.Body)
	res.JSON(t, res.Status, &made)
	require.NotEmpty(t, made.ID)
	return made.ID
}

// scenarios is the table: one entry per operation of the admin API.
var scenarios = map[string]scenario{
	"login": {good: func(_ *testing.T, w *world) request {
		return request{path: "/login", body: map[string]any{"username": "admin", "password": w.Password}}
	}},
	"logout": {good: at("/logout")},
	"get-me": {good: at("/me")},
	"change-password": {good: func(t *testing.T, w *world) request {
		next := w.Password + "x"
		if len(next) > 60 {
			next = "a password again"
		}
		r := request{path: "/me/password", body: map[string]any{"current": w.Password, "new": next}}
		return r
	}},
	"list-api-tokens":  {good: at("/api-tokens")},
	"create-api-token": {good: send("/api-tokens", map[string]any{"name": "ci", "expires_in_days": 3})},
	"delete-api-token": {good: func(t *testing.T, w *world) request {
		return request{path: "/api-tokens/" + create(t, w, "/api-tokens", map[string]any{"name": "gone"})}
	}},
	"get-server": {good: at("/server")},
	"list-audit": {good: at("/audit")},
}
