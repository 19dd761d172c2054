package httpapi_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/servertest"
)

// request is one that an operation grants.
type request struct {
	path   string // below /api/v1
	body   any    // map for JSON, servertest.Raw for octets, nil
	header []string
}

// scenario is how one operation is tried. Everything else about it is read from the OpenAPI document:
// who may call it, and which bad inputs must be refused.
type scenario struct {
	good func(t *testing.T, w *world) request
	// conflict makes a request that the present state does not allow; nil when every state does.
	conflict func(t *testing.T, w *world) request
	// done is called after each time that the good request was granted.
	done func(t *testing.T, w *world, r request)
}

// world is a server with what scenarios need in it.
type world struct {
	*servertest.Server
	admin *servertest.Client // a session
	token *servertest.Client // an API token
	pc    *servertest.Device // enrolled, with a credential that agents' paths take
	made  int                // things so far, for names

	releaser *trust.PrivateKey // set by signer
}

// operation is one of the document.
type operation struct {
	method, path string
	*huma.Operation
}

func operations(a huma.API) []operation {
	var all []operation
	for path, item := range a.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
			http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if op != nil {
				all = append(all, operation{method, path, op})
			}
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.OperationID, b.OperationID) })
	return all
}

// TestOperations walks the OpenAPI document: every operation has a scenario, lets in whom it should,
// and refuses every kind of bad input with a problem.
func TestOperations(t *testing.T) {
	t.Parallel()
	servertest.Each(t, func(t *testing.T, s *servertest.Server) {
		w := &world{Server: s, admin: s.Session(t), token: s.Token(t)}
		w.pc = s.Enroll(t, w.admin, "role")
		checkIn := protocol.CheckInRequest{Protocol: protocol.Version}
		require.Equal(t, 200, w.pc.Do(t, http.MethodPost, protocol.PathCheckIn, checkIn).Status)
		known := map[string]bool{}
		for _, op := range operations(s.API()) {
			known[op.OperationID] = true
			if op.OperationID == "watch-events" {
				continue // a WebSocket, see TestEvents
			}
			sc, ok := scenarios[op.OperationID]
			require.True(t, ok, "operation %s (%s %s) has no scenario: add one to the table", op.OperationID, op.method, op.path)
			t.Run(op.OperationID, func(t *testing.T) { try(t, w, op, sc) })
		}
		for id := range scenarios {
			require.True(t, known[id], "the scenario %s is of no operation", id)
		}
	})
}

func try(t *testing.T, w *world, op operation, sc scenario) {
	t.Helper()
	call := func(c *servertest.Client, r request) servertest.Response {
		return c.Do(t, op.method, api.Path+r.path, r.body, r.header...)
	}
	if !api.IsPublic(op.Operation) {
		r := sc.good(t, w)
		require.Equal(t, "unauthenticated", call(w.Anonymous(t), r).Problem(t, 401).Code)
		require.Equal(t, "unauthenticated", call(w.pc.Client, r).Problem(t, 401).Code, "a device's credential is none of an admin")
		foreign := call(w.admin, request{path: r.path, body: r.body, header: append([]string{"Sec-Fetch-Site", "cross-site"}, r.header...)})
		if op.method != http.MethodGet {
			require.Equal(t, "forbidden", foreign.Problem(t, 403).Code, "another site must not use the session")
		}
	}
	for name, c := range map[string]**servertest.Client{"session": &w.admin, "API token": &w.token} {
		r := sc.good(t, w)
		res := call(*c, r) // as it is now: some operations end sessions
		require.Equal(t, op.DefaultStatus, res.Status, "%s: %s", name, res.Body)
		if sc.done != nil {
			sc.done(t, w, r)
		}
	}
	if sc.conflict != nil {
		require.Equal(t, "conflict", call(w.admin, sc.conflict(t, w)).Problem(t, 409).Code)
	}
	refused := sc.good(t, w) // changed in one respect each time, so it changes nothing
	if strings.Contains(op.path, "{") {
		r := refused
		r.path = strings.NewReplacer("{id}", "01900000-0000-7000-8000-00000000dead").Replace(op.path)
		require.Equal(t, "not_found", call(w.admin, r).Problem(t, 404).Code)
		r.path = strings.NewReplacer("{id}", strings.Repeat("x", 300)).Replace(op.path)
		require.Equal(t, "invalid", call(w.admin, r).Problem(t, 400).Code)
	}
	tryQuery(t, op, func(path string) servertest.Response {
		r := refused
		r.path = path
		return call(w.admin, r)
	}, refused.path)
	if body, ok := refused.body.(map[string]any); ok {
		tryBody(t, w, op, body, func(body any) servertest.Response {
			r := refused
			r.body = body
			return call(w.admin, r)
		})
	}
}

// tryQuery sends query parameters that are unknown, too long or of the wrong type.
func tryQuery(t *testing.T, op operation, send func(path string) servertest.Response, path string) {
	t.Helper()
	path, _, _ = strings.Cut(path, "?")
	refuse := func(query string) {
		require.Equal(t, "invalid", send(path+"?"+query).Problem(t, 400).Code, "query %.60s", query)
	}
	refuse("no_such_parameter=1")
	for _, p := range op.Parameters {
		if p.In != "query" {
			continue
		}
		switch p.Schema.Type {
		case huma.TypeString:
			refuse(p.Name + "=" + strings.Repeat("x", 4000))
		case huma.TypeInteger, huma.TypeBoolean:
			refuse(p.Name + "=x")
		}
	}
}

// tryBody sends bodies that are broken in each of the ways the schema knows.
func tryBody(t *testing.T, w *world, op operation, good map[string]any, send func(any) servertest.Response) {
	t.Helper()
	refuse := func(what string, body any) {
		res := send(body)
		require.Equal(t, "invalid", res.Problem(t, 400).Code, "%s: %s", what, res.Body)
	}
	raw := func(s string) servertest.Raw { return servertest.Raw{Type: "application/json", Data: []byte(s)} }
	refuse("malformed", raw(`{"a":`))
	refuse("not an object", raw(`[1]`))
	refuse("null", raw(`null`))
	refuse("unknown field", with(good, "no_such_field", 1))
	require.Equal(t, "unsupported", send(servertest.Raw{Type: "text/plain", Data: []byte("{}")}).Problem(t, 415).Code)
	huge := send(raw(`{"no_such_field":"` + strings.Repeat("x", int(op.MaxBodyBytes)) + `"}`))
	require.Equal(t, "too_large", huge.Problem(t, 413).Code)

	schema := op.RequestBody.Content["application/json"].Schema
	if schema.Ref != "" {
		schema = w.API().OpenAPI().Components.Schemas.SchemaFromRef(schema.Ref)
	}
	for _, name := range schema.Required {
		refuse("missing "+name, without(good, name))
	}
	for name, p := range schema.Properties {
		refuse("wrong type of "+name, with(good, name, wrongType(p)))
		if p.Type != huma.TypeString || p.ContentEncoding == "base64" { // bounded by the body's limit
			continue
		}
		long := 100_000 // what the schema does not bound, the feature must
		if p.MaxLength != nil {
			long = *p.MaxLength + 1
		}
		refuse("over-long "+name, with(good, name, strings.Repeat("x", long)))
	}
}

func wrongType(s *huma.Schema) any {
	if s.Type == huma.TypeString {
		return 7
	}
	return "text"
}

func with(m map[string]any, key string, value any) map[string]any {
	out := without(m, key)
	out[key] = value
	return out
}

func without(m map[string]any, key string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// TestOpenAPI_isPublicAndComplete: the document is there for anybody and describes errors.
func TestOpenAPI_isPublicAndComplete(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, "sqlite")
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	s.Anonymous(t).Do(t, http.MethodGet, api.Path+"/openapi.json", nil).JSON(t, 200, &doc)
	require.True(t, strings.HasPrefix(doc.OpenAPI, "3.1"))
	require.Len(t, doc.Paths, len(s.API().OpenAPI().Paths))
	for _, op := range operations(s.API()) {
		require.NotEmpty(t, op.Summary, op.OperationID)
		require.NotEmpty(t, op.Tags, op.OperationID)
		require.Contains(t, op.Responses, "500", op.OperationID)
	}
}
