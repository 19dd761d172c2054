package group_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/servertest"
	"github.com/muster/muster/server/internal/store"
)

// The audit trail says what members of a group were to follow, and of what was deleted what it was called.
func TestAPI_auditTrail(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, store.SQLite)
	admin := s.Session(t)
	var g struct {
		ID string `json:"id"`
	}
	admin.Do(t, http.MethodPost, api.Path+"/groups", map[string]any{"name": "Room 3", "log_level": "warn"}).JSON(t, http.StatusCreated, &g)
	admin.Do(t, http.MethodPatch, api.Path+"/groups/"+g.ID, map[string]any{"log_level": ""}).JSON(t, http.StatusOK, &g)
	admin.Do(t, http.MethodPost, api.Path+"/enrollment-tokens", map[string]any{"name": "short", "group_ids": []string{g.ID}}).JSON(t, http.StatusCreated, nil)
	other := map[string]any{"name": "Room 4"}
	admin.Do(t, http.MethodPost, api.Path+"/groups", other).JSON(t, http.StatusCreated, &g)
	require.Equal(t, http.StatusNoContent, admin.Do(t, http.MethodDelete, api.Path+"/groups/"+g.ID, nil).Status)
	admin.Do(t, http.MethodPost, api.Path+"/groups/preview", map[string]any{"search": map[string]any{"os": "linux"}}).JSON(t, http.StatusOK, nil)
	var trail struct {
		Items []struct {
			Operation string            `json:"operation"`
			Details   map[string]string `json:"details"`
		} `json:"items"`
	}
	admin.Do(t, http.MethodGet, api.Path+"/audit", nil).JSON(t, http.StatusOK, &trail)
	said := map[string]map[string]string{} // the newest of each
	for _, e := range trail.Items {
		if said[e.Operation] == nil {
			said[e.Operation] = e.Details
		}
	}
	require.NotContains(t, said, "preview-group", "who looks changes nothing")
	require.Equal(t, map[string]string{"name": "Room 4"}, said["delete-group"])
	require.Equal(t, map[string]string{"name": "Room 3", "log_level": "none"}, said["change-group"])
	require.Equal(t, map[string]string{"name": "short", "group 1": "Room 3"}, said["create-enrollment-token"])
	require.Equal(t, map[string]string{"name": "Room 3", "log_level": "warn"}, trail.Items[len(trail.Items)-2].Details, "create-group")
}
