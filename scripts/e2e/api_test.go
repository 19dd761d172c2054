package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// problem is the body of every error answer.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Errors []struct {
		Field   string `json:"field"`
		Message string `json:"message"`
	} `json:"errors"`
}

// TestAPI_badInput: whatever is wrong with a request, the answer is problem+json with a stable code.
func TestAPI_badInput(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	absent := "01900000-0000-7000-8000-000000000000"
	draft := func(more string) string {
		return `{"name":"x","version":"1","action":"execute","command":["true"]` + more + `}`
	}
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               string
		field              string // among the errors
	}{
		"malformed JSON":        {"POST", "/packages", `{"name":`, 400, "invalid", ""},
		"no body":               {"POST", "/packages", "", 400, "invalid", ""},
		"trailing data":         {"POST", "/packages", draft("") + "{}", 400, "invalid", ""},
		"unknown field":         {"POST", "/packages", draft(`,"colour":"red"`), 400, "invalid", "colour"},
		"wrong type":            {"POST", "/packages", draft(`,"priority":"high"`), 400, "invalid", "priority"},
		"out of range":          {"POST", "/packages", draft(`,"priority":11`), 400, "invalid", "priority"},
		"fraction":              {"POST", "/packages", draft(`,"priority":1.5`), 400, "invalid", "priority"},
		"missing field":         {"POST", "/packages", `{"version":"1","action":"execute","command":["true"]}`, 400, "invalid", "body"},
		"over-long field":       {"POST", "/packages", strings.Replace(draft(""), `"x"`, `"`+strings.Repeat("x", 500)+`"`, 1), 400, "invalid", "name"},
		"unknown action":        {"POST", "/packages", strings.Replace(draft(""), "execute", "explode", 1), 400, "invalid", "action"},
		"absent upload":         {"POST", "/packages", draft(`,"upload_id":"` + absent + `"`), 400, "invalid", "upload_id"},
		"absent package":        {"GET", "/packages/" + absent, "", 404, "not_found", ""},
		"absent device":         {"POST", "/devices/" + absent + "/wakeup", "", 404, "not_found", ""},
		"absent operation":      {"GET", "/nothing", "", 404, "not_found", ""},
		"wrong method":          {"DELETE", "/server", "", 405, "unsupported", ""},
		"cursor that is not":    {"GET", "/devices?cursor=%00%ff", "", 400, "invalid", ""},
		"limit too high":        {"GET", "/devices?limit=100000", "", 400, "invalid", ""},
		"body over every limit": {"POST", "/packages", draft(`,"env":{"A":"` + strings.Repeat("x", 8<<20) + `"}`), 413, "too_large", ""},
		"unsigned, so inactive": {"POST", "/packages/DRAFT/activate", "", 409, "conflict", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := c.path
			if strings.Contains(path, "DRAFT") {
				var made struct {
					ID string `json:"id"`
				}
				s.call(t, "POST", "/packages", json.RawMessage(draft("")), &made)
				path = strings.Replace(path, "DRAFT", made.ID, 1)
			}
			req, err := http.NewRequestWithContext(t.Context(), c.method, s.url+"/api/v1"+path, strings.NewReader(c.body))
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+s.token)
			req.Header.Set("Content-Type", "application/json")
			requireProblem(t, s, req, c.status, c.code, c.field)
		})
	}
}

// TestAPI_notAnArchive: an upload is judged by its content, not by its name, and by its digest.
func TestAPI_notAnArchive(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	content := []byte("plain text that calls itself an archive\n")
	var up struct {
		ID string `json:"id"`
	}
	s.call(t, "POST", "/uploads", map[string]any{"file_name": "a.zip", "size": len(content)}, &up)

	status, body := s.try(t, "PATCH", "/uploads/"+up.ID, content[:10], "Upload-Offset", "5")
	require.Equal(t, http.StatusConflict, status, string(body))
	s.call(t, "GET", "/uploads/"+up.ID, nil, &up)
	status, body = s.try(t, "PATCH", "/uploads/"+up.ID, content, "Upload-Offset", "0")
	require.Equal(t, http.StatusOK, status, string(body))

	var p problem
	status, body = s.try(t, "POST", "/uploads/"+up.ID+"/finish", map[string]any{"sha256": strings.Repeat("0", 64)})
	require.Equal(t, http.StatusUnprocessableEntity, status, string(body))
	require.NoError(t, json.Unmarshal(body, &p))
	require.Equal(t, "untrusted", p.Code)

	sum := sha256.Sum256(content)
	status, body = s.try(t, "POST", "/uploads/"+up.ID+"/finish", map[string]any{"sha256": hex.EncodeToString(sum[:])})
	require.Equal(t, http.StatusUnsupportedMediaType, status, string(body))
	require.NoError(t, json.Unmarshal(body, &p))
	require.Equal(t, "unsupported", p.Code)
	require.Contains(t, p.Detail, "zip")
}

// TestAPI_whoMayCall: without or with wrong credentials nothing is told but that.
func TestAPI_whoMayCall(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	for name, bearer := range map[string]string{
		"nobody":        "",
		"a wrong token": "mapi_" + strings.Repeat("0", 64),
		"a device":      "mdev_01900000-0000-7000-8000-000000000000_" + strings.Repeat("0", 64),
		"nonsense":      "x",
	} {
		for _, path := range []string{"/devices", "/packages", "/enrollment-tokens", "/audit", "/server"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1"+path, nil)
			require.NoError(t, err)
			if bearer != "" {
				req.Header.Set("Authorization", "Bearer "+bearer)
			}
			t.Run(name+" "+path, func(t *testing.T) {
				requireProblem(t, &server{client: &http.Client{Transport: s.client.Transport}}, req, 401, "unauthenticated", "")
			})
		}
	}
}

func requireProblem(t *testing.T, s *server, req *http.Request, status int, code, field string) {
	t.Helper()
	res, err := s.client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, status, res.StatusCode, string(body))
	require.Contains(t, res.Header.Get("Content-Type"), "application/problem+json")
	var p problem
	require.NoError(t, json.Unmarshal(body, &p), string(body))
	require.Equal(t, code, p.Code, string(body))
	require.Equal(t, status, p.Status)
	require.NotEmpty(t, p.Title)
	if field != "" {
		found := false
		for _, e := range p.Errors {
			found = found || strings.HasSuffix(e.Field, field)
		}
		require.True(t, found, "no error names %s: %s", field, body)
	}
}
