package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
)

type makeInput struct {
	Body struct {
		Name  string   `json:"name" maxLength:"5" minLength:"1"`
		Count int      `json:"count,omitempty" minimum:"0" maximum:"3"`
		Tags  []string `json:"tags,omitempty"`
	}
}

type makeOutput struct {
	Body struct {
		Name string `json:"name"`
	}
}

// serve answers POST /things with what err returns, and GET /list.
func serve(t *testing.T, fail func() error) (http.Handler, huma.API) {
	t.Helper()
	mux := http.NewServeMux()
	a := humago.New(mux, api.Config("1"))
	api.Register(a, huma.Operation{OperationID: "make-thing", Method: http.MethodPost, Path: "/things"},
		func(_ context.Context, in *makeInput) (*makeOutput, error) {
			if err := fail(); err != nil {
				return nil, err
			}
			out := &makeOutput{}
			out.Body.Name = in.Body.Name
			return out, nil
		})
	api.Register(a, huma.Operation{OperationID: "list-things", Method: http.MethodGet, Path: "/things", Security: api.Public()},
		func(_ context.Context, in *struct{ api.PageParams }) (*struct{ Body api.Page[int] }, error) {
			return &struct{ Body api.Page[int] }{Body: api.NewPage(nil, in.PageParams, func(int) []string { return nil })}, nil
		})
	return mux, a
}

func call(t *testing.T, h http.Handler, method, target, body string) (*httptest.ResponseRecorder, protocol.Problem) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var p protocol.Problem
	if w.Code >= 400 {
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p), w.Body.String())
		require.Equal(t, w.Code, p.Status)
	}
	return w, p
}

func TestRegister_refusesBadInput(t *testing.T) {
	t.Parallel()
	h, _ := serve(t, func() error { return nil })
	for name, c := range map[string]struct {
		body, code, field string
		status            int
	}{
		"good":             {`{"name":"a"}`, "", "", 200},
		"malformed":        {`{"name":`, "invalid", "body", 400},
		"empty":            {``, "invalid", "", 400},
		"unknown field":    {`{"name":"a","nmae":"b"}`, "invalid", "body.nmae", 400},
		"case variant":     {`{"Name":"a"}`, "invalid", "body.name", 400},
		"missing":          {`{}`, "invalid", "body.name", 400},
		"wrong type":       {`{"name":7}`, "invalid", "body.name", 400},
		"too long":         {`{"name":"abcdef"}`, "invalid", "body.name", 400},
		"out of range":     {`{"name":"a","count":4}`, "invalid", "body.count", 400},
		"null is absent":   {`{"name":"a","tags":null}`, "", "", 200},
		"over the limit":   {`{"name":"` + strings.Repeat("a", 2<<20) + `"}`, "too_large", "", 413},
		"an array instead": {`[]`, "invalid", "body", 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p := call(t, h, http.MethodPost, "/things", c.body)
			require.Equal(t, c.status, w.Code, w.Body.String())
			require.Equal(t, c.code, p.Code)
			if c.field != "" {
				fields := []string{}
				for _, e := range p.Errors {
					fields = append(fields, e.Field)
				}
				require.True(t, contains(fields, c.field), "%v", p.Errors)
			}
		})
	}
}

// contains also accepts huma's way of naming the parent of a field that is missing or unknown.
func contains(fields []string, want string) bool {
	for _, f := range fields {
		if f == want || strings.HasPrefix(want, f) {
			return true
		}
	}
	return false
}

func TestRegister_refusesUnknownQuery(t *testing.T) {
	t.Parallel()
	h, _ := serve(t, func() error { return nil })
	for query, status := range map[string]int{"": 200, "?limit=200": 200, "?limit=201": 400, "?limit=x": 400, "?limt=5": 400, "?cursor=" + strings.Repeat("a", 3000): 400} {
		w, _ := call(t, h, http.MethodGet, "/things"+query, "")
		require.Equal(t, status, w.Code, "%s: %s", query, w.Body.String())
	}
	w, _ := call(t, h, http.MethodGet, "/things", "")
	require.JSONEq(t, `{"items":[]}`, w.Body.String())
}

func TestRegister_mapsFaults(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial 10.0.0.1: password hunter2")
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
		detail string
		fields int
	}{
		"fault":       {fault.New(fault.NotFound, "no package %s", "x"), 404, "not_found", "no package x", 0},
		"wrapped":     {fmt.Errorf("activate: %w", fault.New(fault.Conflict, "it is retired")), 409, "conflict", "it is retired", 0},
		"field":       {fault.Field("body.name", "too odd"), 400, "invalid", "too odd", 1},
		"joined":      {errors.Join(fault.Field("body.a", "one"), fault.Field("body.b", "two")), 400, "invalid", "one; two", 2},
		"with cause":  {fault.Wrap(secret, fault.Unavailable, "the database is busy"), 503, "unavailable", "the database is busy", 0},
		"untrusted":   {fault.New(fault.Untrusted, "digest differs"), 422, "untrusted", "digest differs", 0},
		"internal":    {secret, 500, "internal", "internal error; the server's log has the details", 0},
		"out of time": {fmt.Errorf("query: %w", context.DeadlineExceeded), 503, "unavailable", "the request took too long; try again later", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := serve(t, func() error { return c.err })
			w, p := call(t, h, http.MethodPost, "/things", `{"name":"a"}`)
			require.Equal(t, c.status, w.Code)
			require.Equal(t, c.code, p.Code)
			require.Equal(t, c.detail, p.Detail)
			require.Len(t, p.Errors, c.fields)
			require.NotContains(t, w.Body.String(), "hunter2")
			if c.status == 503 {
				require.NotEmpty(t, w.Header().Get("Retry-After"))
			}
		})
	}
}

func TestRegister_keepsInternalErrorsForTheLog(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk on fire")
	h, _ := serve(t, func() error { return cause })
	ctx, exchange := api.WithExchange(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/things", strings.NewReader(`{"name":"a"}`))
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.ErrorIs(t, exchange.Err(), cause)
}

func TestRegister_describes(t *testing.T) {
	t.Parallel()
	h, a := serve(t, func() error { return nil })
	require.False(t, api.IsPublic(a.OpenAPI().Paths["/things"].Post))
	require.True(t, api.IsPublic(a.OpenAPI().Paths["/things"].Get))
	require.NotContains(t, a.OpenAPI().Paths["/things"].Post.Responses, "422")
	w, _ := call(t, h, http.MethodGet, "/openapi.json", "")
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), `"openapi":"3.1.0"`)
	require.NotContains(t, w.Body.String(), "null")
	require.NotContains(t, w.Body.String(), "$schema")
}

func TestNewPage(t *testing.T) {
	t.Parallel()
	key := func(n int) []string { return []string{fmt.Sprint(n), "k"} }
	p := api.PageParams{Limit: 2}
	require.Equal(t, 3, p.Fetch())
	require.Equal(t, api.Page[int]{Items: []int{1, 2}}, api.NewPage([]int{1, 2}, p, key))
	page := api.NewPage([]int{1, 2, 3}, p, key)
	require.Equal(t, []int{1, 2}, page.Items)
	parts, err := api.DecodeCursor(page.Next, 2)
	require.NoError(t, err)
	require.Equal(t, []string{"2", "k"}, parts)
	require.Equal(t, api.DefaultLimit+1, api.PageParams{}.Fetch())
}

func TestDecodeCursor_refuses(t *testing.T) {
	t.Parallel()
	none, err := api.DecodeCursor("", 2)
	require.NoError(t, err)
	require.Nil(t, none)
	for _, c := range []string{"!", "AAAA", api.EncodeCursor("one"), api.EncodeCursor("1", "2", "3")} {
		_, err := api.DecodeCursor(c, 2)
		require.Equal(t, fault.Invalid, fault.CodeOf(err), c)
	}
}

func FuzzDecodeCursor(f *testing.F) {
	f.Add(api.EncodeCursor("a", "b"))
	f.Add("====")
	f.Fuzz(func(t *testing.T, s string) {
		parts, err := api.DecodeCursor(s, 2)
		if err == nil && s != "" {
			again, err := api.DecodeCursor(api.EncodeCursor(parts...), 2)
			require.NoError(t, err)
			require.Equal(t, parts, again)
		}
	})
}
