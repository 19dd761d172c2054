package client

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
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

// roundTrip stands for a server that says anything.
type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// Whatever a server answers, an operation ends in what it is for, or in an error that names a code.
func FuzzAnswers(f *testing.F) {
	f.Add(200, `{"items":[{"id":"a","name":"b"}],"next":"c"}`)
	f.Add(200, `{"id":"a","timeline":[{"seq":1}],"version":3,"keys":[{"id":"k","roles":["author"]}]}`)
	f.Add(200, `[]`)
	f.Add(404, `{"code":"not_found","detail":"no"}`)
	f.Add(302, ``)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		asked := 0
		c := &Client{base: &url.URL{Scheme: "https", Host: "server"}, http: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: roundTrip(func(r *http.Request) *http.Response {
				if asked++; asked > 20 { // a list that never ends
					return &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody, Request: r}
				}
				return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
			}),
		}}
		ctx := context.Background()
		for _, call := range []func() error{
			func() error { _, err := c.Package(ctx, "id"); return err },
			func() error { _, err := c.Packages(ctx, url.Values{}, 10); return err },
			func() error { _, err := c.Device(ctx, "id"); return err },
			func() error { _, err := c.Trust(ctx); return err },
		} {
			if err := call(); err != nil {
				var told *fault.Error
				require.ErrorAs(t, err, &told, "an error that names no code")
			}
		}
	})
}

// A CA file is used, or refused with the field's name; never left out in silence.
func FuzzTLSConfig(f *testing.F) {
	f.Add([]byte{})
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0x82}}))
	f.Fuzz(func(t *testing.T, ca []byte) {
		config, err := tlsConfig(ca)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
			return
		}
		require.Equal(t, len(ca) == 0, config.RootCAs == nil)
	})
}
