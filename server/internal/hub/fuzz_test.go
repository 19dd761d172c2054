package hub

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// A page of another host never opens a WebSocket with a browser's session.
func FuzzSameHost(f *testing.F) {
	f.Add("https://a.example:8443", "a.example:8443")
	f.Add("https://a.example@b.example", "a.example")
	f.Add("null", "a.example")
	f.Add("https://b.example/https://a.example", "a.example")
	f.Add("//a.example", "A.EXAMPLE")
	f.Fuzz(func(t *testing.T, origin, host string) {
		if origin == "" || host == "" || !utf8.ValidString(origin+host) {
			return
		}
		if sameHost(&http.Request{Host: host, Header: http.Header{"Origin": {origin}}}) {
			_, rest, _ := strings.Cut(origin, "//")
			rest, _, _ = strings.Cut(rest, "/")
			if at := strings.LastIndexByte(rest, '@'); at >= 0 {
				rest = rest[at+1:]
			}
			rest, _, _ = strings.Cut(rest, "?")
			rest, _, _ = strings.Cut(rest, "#")
			if !strings.Contains(rest, "%") { // written in another way
				require.True(t, strings.EqualFold(rest, host), "%q is not %q", origin, host)
			}
		}
	})
}

// What other nodes say on the bus is an event, or is left out.
func FuzzOnEvent(f *testing.F) {
	f.Add([]byte(`{"type":"deployment","ids":["a"]}`))
	f.Add([]byte(`{"type":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		h := &Hub{log: slog.New(slog.DiscardHandler), browsers: map[*conn]struct{}{{}: {}}}
		h.events.init()
		h.onEvent(data)
		_ = h.events.take()
	})
}
