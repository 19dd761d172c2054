package user_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/servertest"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/user"
)

const base = "/api/v1"

func TestSession_lastsUntilLogout(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		c := s.Session(t)
		var me user.Me
		c.Do(t, http.MethodGet, base+"/me", nil).JSON(t, 200, &me)
		require.Equal(t, user.Me{Username: "admin", Kind: "session"}, me)
		require.Equal(t, 204, c.Do(t, http.MethodPost, base+"/logout", nil).Status)
		require.Equal(t, "unauthenticated", c.Do(t, http.MethodGet, base+"/me", nil).Problem(t, 401).Code)
	})
}

func TestSession_cookieIsGuarded(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, store.SQLite)
	c := s.Anonymous(t)
	login := map[string]string{"username": "admin", "password": s.Password}
	over := c.Do(t, http.MethodPost, base+"/login", login).Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} {
		require.Contains(t, over, want)
	}
	c.URL = s.LocalURL
	plain := c.Do(t, http.MethodPost, base+"/login", login)
	require.Equal(t, 200, plain.Status)
	require.NotContains(t, plain.Header.Get("Set-Cookie"), "Secure")
	require.Contains(t, plain.Header.Get("Set-Cookie"), "muster_session_local=")
}

func TestPassword_changeEndsOtherSessions(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		mine, other, program := s.Session(t), s.Session(t), s.Token(t)
		wrong := mine.Do(t, http.MethodPost, base+"/me/password", map[string]string{"current": "wrong", "new": "a better password"})
		require.Equal(t, "body.current", wrong.Problem(t, 403).Errors[0].Field)
		require.Equal(t, 204, mine.Do(t, http.MethodPost, base+"/me/password", map[string]string{"current": s.Password, "new": "a better password"}).Status)
		require.Equal(t, 200, mine.Do(t, http.MethodGet, base+"/me", nil).Status)
		require.Equal(t, 401, other.Do(t, http.MethodGet, base+"/me", nil).Status)
		require.Equal(t, 200, program.Do(t, http.MethodGet, base+"/me", nil).Status)
	})
}

func TestAPIToken_worksUntilDeleted(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		admin, c := s.Session(t), s.Token(t)
		var me user.Me
		c.Do(t, http.MethodGet, base+"/me", nil).JSON(t, 200, &me)
		require.Equal(t, user.Me{Username: "admin", Kind: "token"}, me)
		var list struct{ Items []user.Token }
		admin.Do(t, http.MethodGet, base+"/api-tokens", nil).JSON(t, 200, &list)
		require.Len(t, list.Items, 1)
		require.NotNil(t, list.Items[0].LastUsedAt)
		require.Equal(t, 204, admin.Do(t, http.MethodDelete, base+"/api-tokens/"+list.Items[0].ID, nil).Status)
		require.Equal(t, 401, c.Do(t, http.MethodGet, base+"/me", nil).Status)
	})
}

func TestAuthorization_wrongValuesAreNobody(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, store.SQLite)
	c := s.Session(t)
	for _, value := range []string{"Bearer", "Bearer mapi_", "Bearer mapi_xyz", "Basic YWRtaW46eA==", "Bearer mdev_x_y"} {
		res := c.Do(t, http.MethodGet, base+"/me", nil, "Authorization", value)
		require.Equal(t, 401, res.Status, "%s: a wrong header is not helped out by a cookie", value)
	}
	planted := s.Anonymous(t)
	res := planted.Do(t, http.MethodGet, base+"/me", nil, "Cookie", "muster_session=planted")
	require.Equal(t, 401, res.Status)
}
