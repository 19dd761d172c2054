package catalog_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/blob"
	"github.com/muster/muster/server/internal/catalog"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
	"github.com/muster/muster/server/internal/trust"
)

// web is the admin API of packages, uploads and trust over HTTP.
type web struct {
	*env
	api huma.API
	url string
}

func newWeb(t *testing.T, db *store.DB) *web {
	t.Helper()
	w := &web{env: newEnv(t, db)}
	mux := http.NewServeMux()
	w.api = humago.New(mux, api.Config("1"))
	(&catalog.API{Service: w.Service}).Register(w.api)
	(&blob.API{Service: w.blobs}).Register(w.api)
	(&trust.API{Service: w.trust}).Register(w.api)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

type object = map[string]any

// call sends a request and returns the answer's body, which must have the status.
func (w *web) call(t *testing.T, method, path string, body any, status int, header ...string) object {
	t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		r = b
	case string:
		r = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		require.NoError(t, err)
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, r)
	require.NoError(t, err)
	for n := 0; n < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, status, res.StatusCode, "%s %s: %s", method, path, data)
	out := object{}
	if len(data) > 0 {
		require.NoError(t, json.Unmarshal(data, &out))
	}
	if status >= 400 {
		require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
	}
	return out
}

func (w *web) send(t *testing.T, data []byte, part int) string {
	t.Helper()
	u := w.call(t, "POST", "/uploads", object{"file_name": "a.zip", "size": len(data)}, 201)
	id := u["id"].(string)
	for off := 0; off < len(data); off += part {
		end := min(off+part, len(data))
		u = w.call(t, "PATCH", "/uploads/"+id, bytes.NewReader(data[off:end]), 200,
			"Upload-Offset", fmt.Sprint(off), "Content-Type", "application/octet-stream")
		require.EqualValues(t, end, u["offset"])
	}
	return id
}

func TestAPI_fromUploadToRetirement(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWeb(t, db)
		data := archiveOf(t, strings.Repeat("x", 100))
		id := w.send(t, data, 50)
		u := w.call(t, "POST", "/uploads/"+id+"/finish", object{"sha256": protocol.HashSecret(string(data))}, 200)
		archive := u["archive"].(object)
		require.Equal(t, "zip", archive["format"])
		require.EqualValues(t, 1, archive["fragments"])
		require.Equal(t, []any{object{"name": "bin/setup", "size": 100.0, "dir": false, "executable": true}}, withExecutable(archive["entries"]))

		p := w.call(t, "POST", "/packages", object{
			"name": "hello", "version": "1", "action": "launch", "upload_id": id, "command": []string{"bin/setup"}, "priority": 0,
			"env": object{"A": "b"}, "exit_codes": []object{{"code": 3, "outcome": "reboot"}},
			"detect": object{"file": object{"path": "/etc/hello"}}, "requires": object{"os": []string{"linux"}},
			"retry": object{"attempts": 2, "delay_seconds": 1}, "rerun": "safe", "private": true, "needs_clean_boot": true,
		}, 201)
		require.Equal(t, "draft", p["state"])
		require.Equal(t, false, p["signed"])
		require.EqualValues(t, 0, p["priority"])
		require.EqualValues(t, 600, p["time_limit_seconds"])
		require.Equal(t, []any{}, p["signed_by"])
		require.Equal(t, object{"total": 0.0, "succeeded": 0.0, "failed": 0.0, "open": 0.0}, p["deployments"])
		path := "/packages/" + p["id"].(string)

		w.call(t, "POST", path+"/activate", nil, 409)
		drafted := w.call(t, "GET", path+"/instruction", nil, 200)
		require.NotEmpty(t, drafted["payload"])
		require.NotContains(t, drafted, "envelope")
		p = w.call(t, "POST", path+"/sign", object{"expires_in_days": 10}, 200)
		require.Equal(t, true, p["signed"])
		w.call(t, "POST", path+"/sign", nil, 200)
		p = w.call(t, "POST", path+"/activate", nil, 200)
		require.Equal(t, "active", p["state"])
		require.NotEmpty(t, p["activated_at"])
		require.Equal(t, p, w.call(t, "GET", path, nil, 200))
		w.call(t, "DELETE", path, nil, 409)

		w.CountWith(func(_ context.Context, ids []string) (map[string]catalog.DeploymentCounts, error) {
			return map[string]catalog.DeploymentCounts{ids[0]: {Total: 3, Open: 2, Failed: 1}}, nil
		})
		list := w.call(t, "GET", "/packages?q=HELL&state=active", nil, 200)
		require.Len(t, list["items"], 1)
		require.Equal(t, object{"total": 3.0, "succeeded": 0.0, "failed": 1.0, "open": 2.0}, list["items"].([]any)[0].(object)["deployments"])
		p = w.call(t, "POST", path+"/retire", nil, 200)
		require.Equal(t, "retired", p["state"])
		w.call(t, "DELETE", "/uploads/"+id, nil, 204)
		w.call(t, "GET", "/uploads/"+id, nil, 404)
	})
}

// withExecutable takes the mode for granted that archive/zip gives to entries without one.
func withExecutable(entries any) any {
	for _, e := range entries.([]any) {
		e.(object)["executable"] = true
	}
	return entries
}

func TestAPI_authorSigns(t *testing.T) {
	t.Parallel()
	w := newWeb(t, storetest.Open(t, store.SQLite))
	data := archiveOf(t, "a1")
	p := w.draft(t, "a", "1")
	envelope := w.authored(t, p.ID, data, spec("a", "1"), w.clock())
	path := "/packages/" + p.ID + "/instruction"
	got := w.call(t, "PUT", path, object{"envelope": envelope}, 200)
	require.Equal(t, []any{w.author.ID()}, got["signed_by"])
	kept := w.call(t, "GET", path, nil, 200)
	require.Equal(t, base64.StdEncoding.EncodeToString(envelope), kept["envelope"])

	other := spec("a", "1")
	other.Command = []string{"bin/evil"}
	problem := w.call(t, "PUT", path, object{"envelope": w.authored(t, p.ID, data, other, w.clock())}, 422)
	require.Equal(t, "untrusted", problem["code"])
	require.Contains(t, problem["detail"], "in command")
	w.call(t, "PUT", path, object{"envelope": ""}, 400)
	w.call(t, "PUT", path, object{"envelope": "%"}, 400)
}

func TestAPI_refusals(t *testing.T) {
	t.Parallel()
	w := newWeb(t, storetest.Open(t, store.SQLite))
	problem := w.call(t, "POST", "/packages", object{"name": " x", "version": "1", "action": "launch", "command": []string{"/abs"}, "requires": object{"os": []string{"?"}}}, 400)
	fields := []string{}
	for _, e := range problem["errors"].([]any) {
		fields = append(fields, e.(object)["field"].(string))
	}
	require.ElementsMatch(t, []string{"body.name", "body.upload_id", "body.command[0]", "body.requires.os"}, fields)
	for name, body := range map[string]any{
		"unknown field":   object{"name": "a", "version": "1", "action": "execute", "command": []string{"x"}, "colour": "red"},
		"unknown action":  object{"name": "a", "version": "1", "action": "explode", "command": []string{"x"}},
		"priority":        object{"name": "a", "version": "1", "action": "execute", "command": []string{"x"}, "priority": 11},
		"detect two ways": object{"name": "a", "version": "1", "action": "execute", "command": []string{"x"}, "detect": object{"command": []string{"x"}, "file": object{"path": "/x"}}},
		"no body":         nil,
	} {
		require.Equal(t, "invalid", w.call(t, "POST", "/packages", body, 400)["code"], name)
	}
	require.Equal(t, "not_found", w.call(t, "GET", "/packages/x", nil, 404)["code"])
	w.call(t, "GET", "/packages?state=lost", nil, 400)
	w.call(t, "GET", "/packages?cursor=x", nil, 400)

	id := w.call(t, "POST", "/uploads", object{"file_name": "a.txt", "size": 5}, 201)["id"].(string)
	patch := func(offset, body string, status int) object {
		return w.call(t, "PATCH", "/uploads/"+id, body, status, "Upload-Offset", offset, "Content-Type", "application/octet-stream")
	}
	w.call(t, "PATCH", "/uploads/"+id, "hello", 400)
	patch("-1", "hello", 400)
	require.Contains(t, patch("3", "lo", 409)["detail"], "at offset 0, not 3")
	patch("0", "hello there", 400)
	require.EqualValues(t, 5, w.call(t, "GET", "/uploads/"+id, nil, 200)["offset"])
	require.Equal(t, "untrusted", w.call(t, "POST", "/uploads/"+id+"/finish", object{"sha256": strings.Repeat("0", 64)}, 422)["code"])
	require.Equal(t, "unsupported", w.call(t, "POST", "/uploads/"+id+"/finish", object{"sha256": protocol.HashSecret("hello")}, 415)["code"])
	w.call(t, "POST", "/uploads", object{"file_name": "a", "size": 0}, 400)
	require.Equal(t, "too_large", w.call(t, "POST", "/uploads", object{"file_name": "a", "size": 1 << 40}, 413)["code"])
}

// TestAPI_pages walks all pages while packages come and go.
func TestAPI_pages(t *testing.T) {
	t.Parallel()
	w := newWeb(t, storetest.Open(t, store.SQLite))
	want := []string{}
	for n := range 5 {
		want = append([]string{w.draft(t, "p", fmt.Sprint(n)).ID}, want...)
	}
	got, next := []string{}, ""
	for {
		page := w.call(t, "GET", "/packages?limit=2&cursor="+next, nil, 200)
		for _, item := range page["items"].([]any) {
			got = append(got, item.(object)["id"].(string))
		}
		if page["next"] == nil {
			break
		}
		next = page["next"].(string)
		w.draft(t, "later", next[len(next)-8:]) // newer than the first page: not seen any more
	}
	require.Equal(t, want, got)
}

// TestAPI_document holds that the operations can be described.
func TestAPI_document(t *testing.T) {
	t.Parallel()
	w := newWeb(t, storetest.Open(t, store.SQLite))
	data, err := json.Marshal(w.api.OpenAPI())
	require.NoError(t, err)
	for _, path := range []string{"/packages/{id}/activate", "/uploads/{id}", "/trust", `"application/octet-stream"`, `"deployments"`} {
		require.Contains(t, string(data), path)
	}
}
