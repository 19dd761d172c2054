package client

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// answers stands for a server that says anything.
type answers func(*http.Request) *http.Response

func (f answers) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// Whatever a server answers, each request ends in what was asked for, within its limits, or in a fault.
func FuzzAnswers(f *testing.F) {
	f.Add(200, "", `{"server_time":"2026-01-02T03:04:05Z","state":"active","next_seconds":5,"tasks":[{"id":"x","kind":"deploy","deploy":{}}],"trust":[{}]}`)
	f.Add(200, "", `{"device_id":"01900000-0000-7000-8000-000000000001","state":"active","trust":[]}`)
	f.Add(200, "", `{"ids":["a"],"refused":[{"id":"b","code":"x","message":"y"}]}`)
	f.Add(206, "bytes 5-9/10", `56789`)
	f.Add(206, "bytes 0-", ``)
	f.Add(206, "bytes 99999999999999999999-1", `x`)
	f.Add(301, "", `<html>`)
	f.Add(503, "", `{"code":"unavailable"}`)
	f.Fuzz(func(t *testing.T, status int, rang, body string) {
		if status < 200 || status > 599 {
			return
		}
		c := &Client{urls: []string{"https://server"}, id: "device", secret: "secret"}
		c.http = &http.Client{CheckRedirect: noRedirect, Transport: answers(func(r *http.Request) *http.Response {
			return &http.Response{
				StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Range": {rang}},
				Body: io.NopCloser(strings.NewReader(body)), Request: r,
			}
		})}
		ctx := context.Background()
		known := func(err error) {
			if err != nil {
				var told *fault.Error
				require.ErrorAs(t, err, &told, "an error that names no code")
				require.Less(t, len(err.Error()), 2000, "a server cannot flood the log")
			}
		}
		_, err := c.Enroll(ctx, protocol.EnrollRequest{})
		known(err)
		in, err := c.CheckIn(ctx, protocol.CheckInRequest{})
		known(err)
		if err == nil {
			require.LessOrEqual(t, len(in.Tasks), protocol.MaxTasks)
		}
		_, err = c.Reports(ctx, nil)
		known(err)
		known(c.Rotate(ctx, "next"))
		envelope, err := c.Instruction(ctx, "sum")
		known(err)
		require.LessOrEqual(t, len(envelope), instruction.MaxEnvelope)
		stream, from, err := c.Fragment(ctx, "sum", 5)
		known(err)
		if err == nil {
			require.Contains(t, []int64{0, 5}, from, "from the beginning, or from where it was asked")
			require.NoError(t, stream.Close())
		}
	})
}

// A stored CA is read, or the client says that it trusts nobody.
func FuzzNew(f *testing.F) {
	f.Add("")
	f.Add(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0x82}})))
	f.Fuzz(func(t *testing.T, ca string) {
		c, err := New(Options{CAPEM: ca, URLs: []string{"https://server"}})
		if err != nil {
			require.Equal(t, fault.Untrusted, fault.CodeOf(err))
			return
		}
		require.NotNil(t, c.tls.RootCAs, "never the system's authorities")
		require.NotEmpty(t, c.tls.RootCAs.Subjects()) //nolint:staticcheck // the pool is no system pool
	})
}
