package e2e_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// endless sends the same bytes until the other side has had enough, or far too much.
func endless(w io.Writer, piece string) {
	block := []byte(strings.Repeat(piece, 1<<16/len(piece)))
	for range 1 << 30 / len(block) {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// gzipBomb is 256 MB in 256 KB.
func gzipBomb() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zero := make([]byte, 1<<20)
	for range 256 {
		_, _ = z.Write(zero)
	}
	_ = z.Close()
	return b.Bytes()
}

// waysToAnswer send what no server sends. The agent neither runs, dies nor grows.
func waysToAnswer() map[string]way {
	checkIn := func(text string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == protocol.PathCheckIn {
				_, _ = io.WriteString(w, text)
			}
			return r.URL.Path == protocol.PathCheckIn
		}
	}
	return map[string]way{
		"check-in answers that are none": func(t *testing.T, c *captive) {
			for _, text := range []string{
				"", "null", "[]", `"x"`, "{", "<html>", "{}{}", "\x00\xff\xfe",
				`{"tasks":"all"}`, `{"tasks":{"0":{}}}`, `{"tasks":[null,[],{},{"kind":"deploy"},{"kind":"deploy","deploy":null}]}`,
				`{"tasks":[{"kind":"deploy","deploy":{"attempt":1e400}}]}`, `{"next_seconds":99999999999999999999}`, `{"next_seconds":9223372036854775807}`,
				`{"server_time":"yesterday"}`, `{"trust":"x"}`, `{"trust":[null]}`, `{"trust":[{"payload":1}]}`, `{"trust":[[[[[]]]]]}`,
				strings.Repeat("[", 1<<20), `{"tasks":` + strings.Repeat(`[{"deploy":`, 1<<18), `{"trust":[` + strings.Repeat("[", 1<<20),
				`{"state":"` + strings.Repeat("x", 8<<20) + `"}`, `{"tasks":[` + strings.Repeat(`{},`, 1<<22) + `{}]}`,
				`{"trust":[` + strings.Repeat(`1,`, 1<<22) + `1]}`,
			} {
				c.enemy.attack(checkIn(text))
				c.once(t)
			}
		},
		"answers without an end": func(t *testing.T, c *captive) {
			honest := c.task(t, c.honest)
			for _, where := range []string{protocol.PathCheckIn, protocol.PathReports, protocol.PathInstruction, protocol.PathFragment} {
				task := honest
				copied := *honest.Deploy
				task.Deploy = &copied
				if where != protocol.PathCheckIn && where != protocol.PathReports {
					task = c.task(t, c.honest)
				}
				c.enemy.attack(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasPrefix(r.URL.Path, where) {
						return false
					}
					_, _ = io.WriteString(w, `{"tasks":[`)
					endless(w, `{"kind":"deploy"},`)
					return true
				}, task)
				c.once(t)
			}
		},
		"compressed bombs": func(t *testing.T, c *captive) {
			bomb := gzipBomb()
			for _, where := range []string{protocol.PathCheckIn, protocol.PathReports, protocol.PathInstruction, protocol.PathFragment} {
				c.enemy.attack(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasPrefix(r.URL.Path, where) {
						return false
					}
					w.Header().Set("Content-Encoding", "gzip")
					_, _ = w.Write(bomb)
					return true
				}, c.task(t, c.honest))
				c.once(t)
			}
		},
		"headers without an end": func(t *testing.T, c *captive) {
			c.enemy.attack(func(w http.ResponseWriter, r *http.Request) bool {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return true
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
				endless(conn, "X-Header: x\r\n")
				return true
			})
			require.NotZero(t, c.once(t).code)
		},
		"parts that were not asked for": func(t *testing.T, c *captive) {
			parts := []string{"bytes 5-9/10", "bytes 0-99999999999999999999/*"}
			var asked int
			c.enemy.attack(func(w http.ResponseWriter, r *http.Request) bool {
				if path.Dir(r.URL.Path) != protocol.PathFragment || asked == len(parts) {
					return false
				}
				w.Header().Set("Content-Range", parts[asked])
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20))
				asked++
				return true
			}, c.task(t, c.honest))
			c.once(t)
			require.Equal(t, 1, c.times(t), "the third answer is the right one")
		},
		"acknowledgements of what was never sent": func(t *testing.T, c *captive) {
			c.enemy.attack(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != protocol.PathReports {
					return false
				}
				answer(w, map[string]any{"ids": []string{"../../identity.json", strings.Repeat("x", 1<<19)}, "refused": []any{map[string]any{"id": "x"}}, "command": []string{"touch", c.evil}})
				return true
			}, c.task(t, signedWith(t, c.wish(t), c.oldServer)))
			c.once(t)
		},
	}
}
