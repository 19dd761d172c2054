package e2e_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// maxOutput is how much of a command's output a report may hold.
const maxOutput = 64 << 10

// awkwardOutput brings exit codes and output of commands that behave oddly to the server. What the device
// does in each case is shown one by one in agent/internal/proc.
func awkwardOutput(t *testing.T, s *server, a *agent) {
	cases := map[string]struct {
		script        string
		limit         int // seconds
		state, reason string
		exit          int
		begins, ends  string
	}{
		"10 MB":                 {script: `head -c 10000000 /dev/zero | tr '\0' x; echo; echo the end; exit 7`, state: "failed", reason: "exit_code", exit: 7, begins: "[earlier output is left out; it was 10000009 bytes in all]\nxxx", ends: "xxx\nthe end\n"},
		"invalid and control":   {script: `printf 'a\377b\0c\033[31md\r'`, state: "succeeded", reason: "exit_code", begins: "a\uFFFDb\x00c\x1b[31md\r", ends: "d\r"},
		"100 KB of NUL":         {script: `head -c 100000 /dev/zero; exit 3`, state: "failed", reason: "exit_code", exit: 3, begins: "[earlier output", ends: "\x00\x00"},
		"torn characters":       {script: `printf x; yes '😀ä€' | head -n 20000; printf '\303'; exit 4`, state: "failed", reason: "exit_code", exit: 4, begins: "[earlier output", ends: "€\n\uFFFD"},
		"a child keeps it":      {script: `sleep 20 & echo installed; exit 0`, state: "succeeded", reason: "exit_code", begins: "installed\n", ends: "installed\n"},
		"a session, ignoring":   {script: `echo working; setsid sh -c 'trap "" TERM; while :; do sleep 1; done' & wait`, limit: 1, state: "failed", reason: "time_limit", begins: "working\n", ends: "working\n"},
		"nothing, and a signal": {script: `kill -9 $$`, state: "failed", reason: "signal"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			more := map[string]any{"retry": map[string]any{"attempts": 1, "delay_seconds": 0}}
			if c.limit > 0 {
				more["time_limit_seconds"] = c.limit
			}
			id, _ := s.assign(t, s.offer(t, spec{Name: "output " + name, Priority: 5, Action: "execute", Command: []string{"/bin/sh", "-c", c.script}, More: more}), a.device)
			d := s.awaitState(t, id, c.state)
			require.Equal(t, c.reason, d.Reason, d.story())
			if c.reason == "exit_code" {
				require.NotNil(t, d.ExitCode)
				require.Equal(t, c.exit, *d.ExitCode)
			}
			require.True(t, utf8.ValidString(d.Output))
			require.LessOrEqual(t, len(d.Output), maxOutput)
			require.True(t, strings.HasPrefix(d.Output, c.begins), "%.100q", d.Output)
			require.True(t, strings.HasSuffix(d.Output, c.ends), "%q", d.Output[max(0, len(d.Output)-100):])
			shown := s.muster(t, "deployment", "show", id)
			require.Zero(t, shown.code, shown.stderr)
			require.NotContains(t, shown.stdout, "\x1b[31m", "a terminal would obey")
		})
	}
}
