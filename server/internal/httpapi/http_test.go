package httpapi_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/httpapi"
)

// nobody knows no users and records nothing.
type nobody struct{}

func (nobody) Load(r *http.Request) (context.Context, error)      { return r.Context(), nil }
func (nobody) Valid(context.Context, *http.Request) bool          { return false }
func (nobody) Record(context.Context, *api.Exchange, int, string) {}
func (nobody) Register(h huma.API) {
	api.Register(h, huma.Operation{OperationID: "panic", Method: http.MethodGet, Path: "/panic", Security: api.Public()},
		func(context.Context, *struct{}) (*struct{}, error) { panic("secret detail") })
}

func newServer(files fstest.MapFS, ready error) *httpapi.Server {
	return httpapi.New(httpapi.Options{
		Log: slog.New(slog.DiscardHandler), Version: "1", Users: nobody{}, Audit: nobody{}, UI: files,
		Features: []httpapi.Feature{nobody{}}, Ready: func(context.Context) error { return ready },
	})
}

func get(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPage(t *testing.T) {
	t.Parallel()
	h := newServer(fstest.MapFS{
		"index.html": {Data: []byte("<p>page")}, "assets/app-1a2b.js": {Data: []byte("code")}, ".gitkeep": {},
	}, nil).Handler()
	for target, want := range map[string]struct {
		status int
		body   string
		cache  string
	}{
		"/":                   {200, "<p>page", "no-cache"},
		"/devices/123":        {200, "<p>page", "no-cache"},
		"/assets/app-1a2b.js": {200, "code", "public, max-age=31536000, immutable"},
		"/assets/gone.js":     {404, "not_found", ""},
		"/.gitkeep":           {404, "not_found", ""},
		"/api/v1/nothing":     {404, "not_found", "no-store"},
		"/api":                {404, "not_found", ""},
		"/agent/v1/nothing":   {404, "not_found", ""},
		"/%2e%2e/etc/passwd":  {200, "<p>page", "no-cache"},
	} {
		w := get(h, http.MethodGet, target)
		require.Equal(t, want.status, w.Code, target)
		require.Contains(t, w.Body.String(), want.body, target)
		require.Equal(t, want.cache, w.Header().Get("Cache-Control"), target)
	}
	require.Equal(t, 405, get(h, http.MethodPost, "/devices").Code)
	require.Equal(t, 404, get(h, http.MethodPost, "/api/v1/nothing").Code)
	require.Equal(t, 405, get(h, http.MethodPut, "/api/v1/panic").Code)
}

func TestPage_notBuilt(t *testing.T) {
	t.Parallel()
	w := get(newServer(nil, nil).Handler(), http.MethodGet, "/")
	require.Equal(t, 503, w.Code)
	require.Contains(t, w.Body.String(), "UI not built: run `make web`")
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	w := get(newServer(nil, nil).Handler(), http.MethodGet, "/healthz")
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
}

func TestReadyz_tellsOfTheDatabase(t *testing.T) {
	t.Parallel()
	require.Equal(t, 200, get(newServer(nil, nil).Handler(), http.MethodGet, "/readyz").Code)
	w := get(newServer(nil, errors.New("password=hunter2 refused")).Handler(), http.MethodGet, "/readyz")
	require.Equal(t, 500, w.Code)
	require.NotContains(t, w.Body.String(), "hunter2")
}

func TestPanic_endsOneRequest(t *testing.T) {
	t.Parallel()
	w := get(newServer(nil, nil).Handler(), http.MethodGet, "/api/v1/panic")
	require.Equal(t, 500, w.Code)
	require.NotContains(t, w.Body.String(), "secret detail")
}

func TestLocalHandler_isForThisComputerOnly(t *testing.T) {
	t.Parallel()
	h := newServer(nil, nil).LocalHandler()
	for target, status := range map[string]int{
		"http://localhost:8080/healthz": 200, "http://127.0.0.1/healthz": 200, "http://[::1]:1/healthz": 200,
		"http://evil.example.org:8080/healthz": 403, "http://localhost.example.org/healthz": 403,
		"http://localhost:8080/agent/v1/check-in": 403,
	} {
		require.Equal(t, status, get(h, http.MethodGet, target).Code, target)
	}
}
