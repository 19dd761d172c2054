package httpapi_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/api"
	"github.com/muster/muster/server/internal/config"
	"github.com/muster/muster/server/internal/servertest"
	"github.com/muster/muster/server/internal/store/storetest"
)

// Whatever a request of an operation holds (every operation of the OpenAPI document is among them), it is
// granted or refused with a problem that names a code, and is never a fault of the server.
func FuzzRequests(f *testing.F) {
	c := config.Default()
	c.Data = f.TempDir() + "/data"
	c.Listen, c.HTTP, c.Metrics = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.Database, c.TrustedProxies = storetest.URL(f, "sqlite"), []string{"127.0.0.0/8"}
	s := servertest.StartWith(f, c)
	client := s.Token(f)
	var all []operation
	for _, op := range operations(s.API()) {
		if op.OperationID != "watch-events" { // a WebSocket
			all = append(all, op)
		}
	}
	for n, op := range all {
		for _, body := range []string{
			`{"name":"a","version":"1","action":"execute","command":["/bin/true"],"priority":5,"env":{"A":"b"},"detect":{"file":{"path":"/a"}}}`,
			`{"username":"admin","password":"x","current":"x","new":"y","file_name":"a.zip","size":1,"sha256":"` + digest([]byte("x")) + `"}`,
			`{"package_id":"01900000-0000-7000-8000-000000000001","device_ids":["01900000-0000-7000-8000-000000000001"],"not_before":"9999-12-31T23:59:59Z"}`,
			`{"name":"\u0000\ud800","envelope":"e30=","public_key":"AA==","roles":["author"],"expires_in_days":99999999}`,
		} {
			if op.RequestBody != nil || body[2] == 'n' {
				f.Add(uint8(n), "01900000-0000-7000-8000-000000000001", "limit=200&cursor="+api.EncodeCursor("a", "b"), "0", "10.0.0.1, ::1", "", []byte(body)) // there are fewer
			}
		}
	}
	f.Add(uint8(0), "..%2f", "q=%00&state=x&limit=-1", "99999999999999999999", "unknown", "muster_session=AAAA; a=\"", []byte("[[[[[["))
	f.Fuzz(func(t *testing.T, n uint8, id, query, offset, forwarded, cookie string, body []byte) {
		op := all[int(n)%len(all)]
		if id == "" || strings.ContainsFunc(offset+forwarded+cookie, func(c rune) bool { return c < ' ' || c > '~' }) {
			return // no request at all
		}
		u, err := url.Parse(client.URL + api.Path + strings.ReplaceAll(op.path, "{id}", url.PathEscape(id)))
		require.NoError(t, err)
		u.RawQuery = url.QueryEscape(query)
		if parsed, err := url.ParseQuery(query); err == nil {
			u.RawQuery = parsed.Encode()
		}
		req, err := http.NewRequestWithContext(t.Context(), op.method, u.String(), bytes.NewReader(body))
		require.NoError(t, err)
		req.Header = client.Header.Clone()
		for name, value := range map[string]string{"Upload-Offset": offset, "X-Forwarded-For": forwarded, "Cookie": cookie} {
			if value != "" {
				req.Header.Set(name, value)
			}
		}
		req.Header.Set("Content-Type", "application/json")
		if op.OperationID == "append-upload" {
			req.Header.Set("Content-Type", "application/octet-stream")
		}
		res, err := client.HTTP.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		data, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NotEqual(t, http.StatusInternalServerError, res.StatusCode, "%s: %s", op.OperationID, data)
		require.Less(t, len(data), 1<<20)
		if res.StatusCode >= 400 {
			var p protocol.Problem
			require.NoError(t, protocol.Unmarshal(data, &p), "%s: %d %s", op.OperationID, res.StatusCode, data)
			require.NotEmpty(t, p.Code, "%s: %s", op.OperationID, data)
			require.Equal(t, res.StatusCode, p.Status)
		}
	})
}
