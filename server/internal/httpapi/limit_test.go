package httpapi_test

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/httpapi"
)

// TestLimited: every request has an end, also one that claims to become something else; only those that
// move large files get long.
func TestLimited(t *testing.T) {
	t.Parallel()
	left := map[string]time.Duration{}
	tell := func(c echo.Context) error {
		deadline, ok := c.Request().Context().Deadline()
		require.True(t, ok, "%s has no end", c.Request().URL.Path)
		left[c.Request().Method+" "+c.Request().URL.Path] = time.Until(deadline)
		return c.NoContent(http.StatusNoContent)
	}
	h := httpapi.New(httpapi.Options{
		Log: slog.New(slog.DiscardHandler), Users: nobody{}, Audit: nobody{},
		Agent: func(e *echo.Echo) { e.Any("/agent/*", tell); e.Any("/api/v1/uploads/*", tell) },
	}).Handler()
	for _, tc := range []struct {
		method, path string
		long         bool
	}{
		{http.MethodPost, "/agent/v1/check-in", false},
		{http.MethodGet, "/agent/v1/socket", false},
		{http.MethodGet, "/agent/v1/fragments/abc", true},
		{http.MethodPost, "/agent/v1/fragments/finish", false},
		{http.MethodPatch, "/api/v1/uploads/1", true},
		{http.MethodPatch, "/agent/v1/uploads/1", false},
		{http.MethodPost, "/api/v1/uploads/1/finish", false},
		{http.MethodGet, "/api/v1/uploads/1", false},
	} {
		for _, header := range [][]string{nil, {"Upgrade", "websocket"}} {
			require.Equal(t, http.StatusNoContent, get(h, tc.method, tc.path, header...).Code)
			if got := left[tc.method+" "+tc.path]; tc.long {
				require.Greater(t, got, 30*time.Minute, "%s %s", tc.method, tc.path)
			} else {
				require.LessOrEqual(t, got, time.Minute, "%s %s", tc.method, tc.path)
			}
		}
	}
}
