package catalog_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/servertest"
)

// TestScenario_roles holds who may use packages and trust on a whole server, and that a new one can sign.
func TestScenario_roles(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		session, token := s.Session(t), s.Token(t)
		draft := func(version string) object {
			return object{"name": "hello", "version": version, "action": "execute", "command": []string{"/bin/true"}}
		}
		var p object
		session.Do(t, http.MethodPost, api.Path+"/packages", draft("0")).JSON(t, 201, &p)
		require.Equal(t, "admin", p["created_by"])
		path := "/packages/" + p["id"].(string)
		for _, c := range []struct {
			method, path string
			body         any
			session      int // status for a session, which asks first
			token        int // status for a token, which asks then
		}{
			{"GET", "/trust", nil, 200, 200},
			{"PUT", "/trust", object{"envelope": "e30="}, 422, 422},
			{"POST", "/trust/revocations", object{"names": []string{"x"}}, 400, 400},
			{"GET", "/packages", nil, 200, 200},
			{"POST", "/packages", draft("1"), 201, 409},
			{"GET", path, nil, 200, 200},
			{"GET", path + "/instruction", nil, 200, 200},
			{"PUT", path + "/instruction", object{"envelope": "e30="}, 422, 422},
			{"POST", path + "/activate", nil, 409, 409},
			{"POST", path + "/sign", nil, 200, 200},
			{"POST", path + "/activate", nil, 200, 200},
			{"DELETE", path, nil, 409, 409},
			{"POST", path + "/retire", nil, 200, 200},
			{"POST", path + "/sign", nil, 409, 409},
		} {
			do := func(client *servertest.Client) servertest.Response {
				return client.Do(t, c.method, api.Path+c.path, c.body)
			}
			require.Equal(t, 401, do(s.Anonymous(t)).Status, "%s %s of nobody", c.method, c.path)
			res := do(session)
			require.Equal(t, c.session, res.Status, "%s %s of a session: %s", c.method, c.path, res.Body)
			res = do(token)
			require.Equal(t, c.token, res.Status, "%s %s of a token: %s", c.method, c.path, res.Body)
		}
	})
}
