package httpapi_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/httpapi"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/user"
)

// A live connection outlives its request, but not the right to it.
func TestEvents_endWithTheRightToThem(t *testing.T) {
	t.Parallel()
	users := user.New(user.Options{DB: storetest.Open(t, store.SQLite), Log: slog.New(slog.DiscardHandler)})
	password, err := users.EnsureAdmin(t.Context())
	require.NoError(t, err)
	var allowed func() bool
	h := httpapi.New(httpapi.Options{
		Log: slog.New(slog.DiscardHandler), Users: users, Audit: nobody{}, Features: []httpapi.Feature{&user.API{Service: users}},
		Events: func(_ http.ResponseWriter, _ *http.Request, a func() bool) error { allowed = a; return nil },
	}).Handler()
	do := func(method, path, body string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	login := do(http.MethodPost, "/login", `{"username":"admin","password":"`+password+`"}`)
	require.Equal(t, http.StatusOK, login.Code, login.Body)
	cookie := strings.Split(login.Header().Get("Set-Cookie"), ";")[0]
	made := do(http.MethodPost, "/api-tokens", `{"name":"t"}`, "Cookie", cookie)
	require.Equal(t, http.StatusCreated, made.Code, made.Body)
	var token struct{ ID, Token string }
	require.NoError(t, json.Unmarshal(made.Body.Bytes(), &token))
	bearer := "Bearer " + token.Token
	require.Equal(t, http.StatusOK, do(http.MethodGet, "/events", "", "Authorization", bearer).Code)
	require.True(t, allowed())
	require.Equal(t, http.StatusNoContent, do(http.MethodDelete, "/api-tokens/"+token.ID, "", "Authorization", bearer).Code)
	require.False(t, allowed(), "its token was deleted")
	require.Equal(t, http.StatusOK, do(http.MethodGet, "/events", "", "Cookie", cookie).Code)
	require.True(t, allowed())
	require.Equal(t, http.StatusNoContent, do(http.MethodPost, "/logout", "", "Cookie", cookie).Code)
	require.False(t, allowed(), "signed out")
}
