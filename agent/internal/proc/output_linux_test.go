package proc

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// TestRunner_output shows what is kept of what commands write, however odd.
func TestRunner_output(t *testing.T) {
	t.Parallel()
	const cut = "[earlier output is left out; it was "
	cases := map[string]struct {
		script string
		want   string // all of it, when it is short
		ends   string
		bytes  int64
		held   bool
		exit   int
	}{
		"10 MB":                         {script: `head -c 10000000 /dev/zero | tr '\0' x; echo; echo end`, ends: "xxx\nend\n", bytes: 10_000_005},
		"10 MB in one line":             {script: `head -c 10000000 /dev/zero | tr '\0' x`, ends: "xxx", bytes: 10_000_000},
		"just enough":                   {script: `head -c 65536 /dev/zero | tr '\0' x`, want: strings.Repeat("x", protocol.MaxOutputTail), bytes: 65_536},
		"one byte too many":             {script: `head -c 65537 /dev/zero | tr '\0' x`, ends: "xxx", bytes: 65_537},
		"many lines":                    {script: `seq 1 100000`, ends: "\n99999\n100000\n", bytes: 588_895},
		"cut inside a character":        {script: `yes '😀ä€' | head -n 20000`, ends: "😀ä€\n", bytes: 200_000},
		"cut inside one, a byte later":  {script: `printf x; yes '😀ä€' | head -n 20000`, ends: "😀ä€\n", bytes: 200_001},
		"cut inside one, two later":     {script: `printf xx; yes '😀ä€' | head -n 20000`, ends: "😀ä€\n", bytes: 200_002},
		"invalid":                       {script: `printf 'a\377\376b\n'`, want: "a\uFFFDb\n", bytes: 5},
		"invalid, grows beyond":         {script: `yes "$(printf '\377x')" | head -n 20000`, ends: "\uFFFDx\n", bytes: 60_000},
		"invalid, much":                 {script: `head -c 300000 /dev/urandom; echo end`, ends: "end\n", bytes: 300_004},
		"half a character at the end":   {script: `printf 'a\303'`, want: "a\uFFFD", bytes: 2},
		"no newline at the end":         {script: `printf 'one\ntwo'`, want: "one\ntwo", bytes: 7},
		"nothing":                       {script: `exit 3`, exit: 3},
		"colours and controls":          {script: `printf '\033[31mred\033[0m\a\b\r\177'`, want: "\x1b[31mred\x1b[0m\a\b\r\x7f", bytes: 16},
		"NUL":                           {script: `printf 'a\0b'`, want: "a\x00b", bytes: 3},
		"both streams in their order":   {script: `echo 1; echo 2 >&2; echo 3; echo 4 >&2`, want: "1\n2\n3\n4\n", bytes: 8},
		"closed at once":                {script: `exec >&- 2>&-; sleep 0.2; exit 4`, exit: 4},
		"a child still writes":          {script: `(sleep 1; echo late) & echo early; exit 5`, want: "early\nlate\n", bytes: 11, exit: 5},
		"a child writes without an end": {script: `(for i in $(seq 1 200); do echo more; sleep 0.1; done) & sleep 0.5; exit 6`, ends: "more\n", held: true, exit: 6},
		"a child keeps it open":         {script: `sleep 30 & echo installed`, want: "installed\n", bytes: 10, held: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, dir := runCommand(t, shell(c.script))
			require.Equal(t, c.exit, status.ExitCode)
			require.Equal(t, c.held, status.OutputHeld)
			require.True(t, utf8.ValidString(status.Output))
			require.LessOrEqual(t, len(status.Output), protocol.MaxOutputTail)
			if !c.held || c.bytes > 0 {
				require.Equal(t, c.bytes, status.OutputBytes)
			}
			if c.ends != "" {
				require.True(t, strings.HasSuffix(status.Output, c.ends), "%q", status.Output[max(0, len(status.Output)-100):])
			} else {
				require.Equal(t, c.want, status.Output)
			}
			shown, whole := strings.CutPrefix(status.Output, cut)
			require.Equal(t, c.ends != "" && !c.held, whole, "the cut is marked: %.80q", status.Output)
			if strings.HasPrefix(name, "cut inside") {
				require.NotContains(t, shown, "\uFFFD", "a character was torn")
			}
			requireBounded(t, dir)
			require.NoFileExists(t, filepath.Join(dir, reserveFile))
		})
	}
}

// requireBounded wants the output of one attempt to take no more disk than two tails and what one read
// may bring on top.
func requireBounded(t *testing.T, dir string) {
	t.Helper()
	total := int64(0)
	for _, name := range []string{outputFile, outputOldFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			total += info.Size()
		}
	}
	require.LessOrEqual(t, total, int64(3*protocol.MaxOutputTail))
}

func TestRecorder_isBoundedAtAnyTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, err := newRecorder(dir)
	require.NoError(t, err)
	chunk := bytes.Repeat([]byte("x"), 32<<10)
	for n := 1; r.total < 10<<20; n = n*7%(len(chunk)) + 1 {
		_, err := r.Write(chunk[:n])
		require.NoError(t, err)
		requireBounded(t, dir)
		require.LessOrEqual(t, cap(r.memory), 8*protocol.MaxOutputTail)
		held, _, err := readOutput(dir, 0)
		require.NoError(t, err)
		require.GreaterOrEqual(t, int64(len(held)), min(r.total, protocol.MaxOutputTail), "a killed machine leaves a whole tail")
	}
	_, err = r.Close()
	require.NoError(t, err)
}

func TestRecorder_goesOnWithoutTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, err := newRecorder(dir)
	require.NoError(t, err)
	_, _ = r.Write([]byte("first "))
	require.NoError(t, r.file.Close()) // from here on every write fails
	_, err = r.Write(bytes.Repeat([]byte("x"), 200_000))
	require.NoError(t, err)
	_, err = r.Write([]byte(" last"))
	require.NoError(t, err)
	total, _ := r.Close()
	require.EqualValues(t, 200_011, total)
	tail, written, err := readOutput(dir, total)
	require.NoError(t, err)
	require.Equal(t, total, written)
	require.True(t, strings.HasSuffix(tail, "xx last"))
	require.Len(t, tail, 64<<10)
}

func TestTailText(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		data  string
		limit int
		want  string
	}{
		"fits":                    {"häß", 10, "häß"},
		"cut between runes":       {"abcä", 3, "cä"},
		"cut inside a rune":       {"aäb", 2, "b"},
		"cut inside a long rune":  {"a😀b", 4, "b"},
		"invalid stretch":         {"a\xff\xfe\xfdb", 10, "a\uFFFDb"},
		"half a rune at the end":  {"a\xc3", 10, "a\uFFFD"},
		"grows when replaced":     {"\xffa\xffa\xffa", 6, "a\uFFFDa"},
		"only continuation bytes": {strings.Repeat("\x80", 10), 5, "\uFFFD"},
		"empty":                   {"", 5, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, tailText([]byte(tc.data), tc.limit))
		})
	}
}

func FuzzTailText(f *testing.F) {
	f.Add([]byte("a😀b\xff"), 4)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		if limit < 0 || limit > 1<<16 {
			return
		}
		text := tailText(data, limit)
		require.LessOrEqual(t, len(text), limit)
		require.Equal(t, strings.ToValidUTF8(text, ""), text)
	})
}

func TestRunner_normalEndKillsNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	start := time.Now()
	status, _ := runCommand(t, Command{
		Argv: []string{"/bin/sh", "-c", `setsid sleep 300 & echo $! > service; echo installed`}, Dir: folder,
	})
	service := pidFrom(t, filepath.Join(folder, "service"))
	killAtEnd(t, service)
	require.Equal(t, 0, status.ExitCode)
	require.Equal(t, "installed\n", status.Output)
	require.True(t, status.OutputHeld, "the service keeps the pipe open")
	require.Less(t, status.EndedAt.Sub(status.StartedAt), PipeGrace)
	require.GreaterOrEqual(t, time.Since(start), PipeGrace)
	require.True(t, living(service))
}
