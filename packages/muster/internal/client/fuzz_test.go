package client

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

func FuzzProblem(f *testing.F) {
	f.Add(422, `{"title":"invalid","status":422,"code":"invalid","detail":"no","errors":[{"field":"body.name","message":"too long"}]}`)
	f.Add(302, ``)
	f.Add(502, `<html>a proxy</html>`)
	f.Add(401, `{"code":"unauthenticated"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 300 || status > 599 {
			return
		}
		c := &Client{base: &url.URL{Scheme: "https", Host: "server"}}
		err := c.problem(&http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}}, []byte(body))
		require.Error(t, err)
		require.NotEmpty(t, fault.CodeOf(err))
	})
}

func FuzzParseServer(f *testing.F) {
	for _, s := range []string{"https://a:1", "http://localhost:8080", "http://[::1]:8080/x/", "a.example", "http://127.0.0.1.example", "ftp://a", "https://u:p@a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseServer(raw)
		if err != nil {
			return
		}
		require.NotEmpty(t, u.Host)
		require.Nil(t, u.User)
		if u.Scheme != "https" {
			require.True(t, u.Scheme == "http" && loopback(u.Hostname()), "%q sends secrets in the clear", raw)
		}
	})
}

func FuzzParseFingerprint(f *testing.F) {
	f.Add("AB:CD")
	f.Add("bf857992ca6452463209c75ab0b810775eb326b8d6dc317d920b6e0be7a4650a")
	f.Fuzz(func(t *testing.T, s string) {
		if plain, err := ParseFingerprint(s); err == nil {
			require.True(t, protocol.IsSHA256(plain))
		}
	})
}
