package blob_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/servertest"
)

// TestScenario_roles holds who may use uploads on a whole server.
func TestScenario_roles(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		const none = "01960000-0000-7000-8000-000000000001"
		octets := servertest.Raw{Type: "application/octet-stream", Data: []byte("hello")}
		session, token := s.Session(t), s.Token(t)
		var u blob.Upload
		session.Do(t, http.MethodPost, api.Path+"/uploads", map[string]any{"file_name": "a.zip", "size": 10}).JSON(t, 201, &u)
		for _, c := range []struct {
			method, path string
			body         any
			status       int // for those who may
		}{
			{"POST", "/uploads", map[string]any{"file_name": "a.zip", "size": 5}, 201},
			{"GET", "/uploads/" + u.ID, nil, 200},
			{"GET", "/uploads/" + none, nil, 404},
			{"PATCH", "/uploads/" + none, octets, 404},
			{"POST", "/uploads/" + u.ID + "/finish", map[string]string{"sha256": sumOf("x")}, 409},
			{"DELETE", "/uploads/" + none, nil, 404},
		} {
			do := func(client *servertest.Client) int {
				return client.Do(t, c.method, api.Path+c.path, c.body, "Upload-Offset", "0").Status
			}
			require.Equal(t, 401, do(s.Anonymous(t)), "%s %s of nobody", c.method, c.path)
			require.Equal(t, c.status, do(session), "%s %s of a session", c.method, c.path)
			require.Equal(t, c.status, do(token), "%s %s of a token", c.method, c.path)
		}
		var now blob.Upload
		token.Do(t, http.MethodGet, api.Path+"/uploads/"+u.ID, nil).JSON(t, 200, &now)
		require.Zero(t, now.Offset, "nobody's request changed anything")
	})
}

// TestScenario_largeBody holds that a body far over the usual limit passes, in one request.
func TestScenario_largeBody(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		c := s.Token(t)
		data := make([]byte, 20*mib+7)
		_, err := rand.Read(data)
		require.NoError(t, err)
		var u blob.Upload
		c.Do(t, http.MethodPost, api.Path+"/uploads", map[string]any{"file_name": "a.bin", "size": len(data)}).JSON(t, 201, &u)
		body := servertest.Raw{Type: "application/octet-stream", Data: data}
		c.Do(t, http.MethodPatch, api.Path+"/uploads/"+u.ID, body, "Upload-Offset", "0").JSON(t, 200, &u)
		require.EqualValues(t, len(data), u.Offset)
		p := c.Do(t, http.MethodPatch, api.Path+"/uploads/"+u.ID, body, "Upload-Offset", "0").Problem(t, 409)
		require.Contains(t, p.Detail, fmt.Sprint(len(data)))
		p = c.Do(t, http.MethodPost, api.Path+"/uploads/"+u.ID+"/finish", map[string]string{"sha256": sumOf(string(data))}).Problem(t, 415)
		require.Equal(t, "unsupported", p.Code)
	})
}
