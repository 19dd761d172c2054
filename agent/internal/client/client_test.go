package client

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
)

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-5": 0, "30": 30 * time.Second, "99999999": 24 * time.Hour, "9999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		require.Equal(t, want, ParseRetryAfter(http.Header{"Retry-After": {text}}, now), "%q", text)
	}
}

func TestUnreachable_movesOnToTheNextAddressOnce(t *testing.T) {
	t.Parallel()
	c := &Client{urls: []string{"https://a", "https://b"}}
	c.Unreachable("https://a")
	c.Unreachable("https://a") // somebody else found out as well
	require.Equal(t, "https://b", c.URL())
	c.Unreachable("https://b")
	require.Equal(t, "https://a", c.URL())
}

func FuzzProblem(f *testing.F) {
	f.Add(503, "20", `{"title":"busy","status":503,"code":"unavailable","detail":"come back later"}`)
	f.Add(502, "", `<html>proxy</html>`)
	f.Add(401, "x", `{"code":""}`)
	f.Fuzz(func(t *testing.T, status int, after, body string) {
		if status < 300 || status > 599 || strings.ContainsAny(after, "\r\n") {
			return
		}
		rec := httptest.NewRecorder()
		rec.Header().Set("Retry-After", after)
		rec.WriteHeader(status)
		_, _ = rec.WriteString(body)
		err := problem(rec.Result())
		var answer *Error
		require.ErrorAs(t, err, &answer)
		require.NotEmpty(t, err.Error())
		require.LessOrEqual(t, len(err.Error()), 1000, "a server cannot flood the log")
		require.NotEmpty(t, fault.CodeOf(err))
		require.LessOrEqual(t, RetryAfter(err), maxRetryAfter)
	})
}
