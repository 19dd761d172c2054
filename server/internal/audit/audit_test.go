package audit_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/audit"
	"github.com/muster/muster/server/internal/servertest"
)

const base = "/api/v1"

type page struct {
	Items []audit.Row `json:"items"`
	Next  string      `json:"next"`
}

func TestAudit_keepsWhoChangedWhat(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		admin := s.Session(t)
		var made struct{ ID, Token string }
		admin.Do(t, http.MethodPost, base+"/api-tokens", map[string]any{"name": "ci"}).JSON(t, 201, &made)
		admin.Do(t, http.MethodDelete, base+"/api-tokens/"+made.ID, nil)
		admin.Do(t, http.MethodDelete, base+"/api-tokens/"+made.ID, nil)
		admin.Do(t, http.MethodGet, base+"/api-tokens", nil)
		s.Anonymous(t).Do(t, http.MethodDelete, base+"/api-tokens/"+made.ID, nil)
		s.Anonymous(t).Do(t, http.MethodPost, base+"/login", map[string]any{"username": "eve", "password": "guess"})

		var all page
		admin.Do(t, http.MethodGet, base+"/audit", nil).JSON(t, 200, &all)
		var got []string
		for _, r := range all.Items {
			got = append(got, r.Actor+" "+r.Operation+" "+http.StatusText(r.Status))
			require.Equal(t, "127.0.0.1", r.RemoteIP)
			require.NotContains(t, r.Target, made.Token)
		}
		require.Equal(t, []string{
			"eve login Unauthorized", "admin delete-api-token Not Found", "admin delete-api-token No Content",
			"admin create-api-token Created", "admin login OK",
		}, got, "reads and strangers leave no rows")
		require.Equal(t, made.ID, all.Items[1].Target)
		require.Equal(t, made.ID, all.Items[3].Target)

		var first, rest page
		admin.Do(t, http.MethodGet, base+"/audit?limit=3", nil).JSON(t, 200, &first)
		admin.Do(t, http.MethodGet, base+"/audit?limit=3&cursor="+first.Next, nil).JSON(t, 200, &rest)
		require.Equal(t, all.Items, append(first.Items, rest.Items...))
		var found page
		admin.Do(t, http.MethodGet, base+"/audit?q=EVE", nil).JSON(t, 200, &found)
		require.Len(t, found.Items, 1)
	})
}
