package e2e_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// createPackage makes a draft by the command line and returns its id.
func (s *server) createPackage(t *testing.T, args ...string) string {
	t.Helper()
	r := s.muster(t, append([]string{"--json", "package", "create"}, args...)...)
	require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
	var made struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &made), r.stdout)
	require.Equal(t, "draft", made.State)
	return made.ID
}

// onlyDeployment is the id of a package's one deployment.
func (s *server) onlyDeployment(t *testing.T, packageID string) string {
	t.Helper()
	var page struct {
		Items []deployment `json:"items"`
	}
	s.call(t, "GET", "/deployments?package_id="+packageID, nil, &page)
	require.Len(t, page.Items, 1)
	return page.Items[0].ID
}
