package logging_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/logging"
)

func TestNew_tagged(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		log  func(*slog.Logger)
		want string
	}{
		"no task is core": {
			func(l *slog.Logger) { l.Info("checked in") }, "[core][INFO] checked in\n"},
		"task of the logger": {
			func(l *slog.Logger) {
				l.With(logging.Task, "deploy").Warn("stalled", logging.Deployment, "d1", "bytes", 12)
			}, "[deploy][WARN] stalled deployment=d1 bytes=12\n"},
		"task of the line": {
			func(l *slog.Logger) { l.Error("cannot begin", logging.Task, "log") }, "[log][ERROR] cannot begin\n"},
		"attributes of the logger come first": {
			func(l *slog.Logger) { l.With("a", 1).With("b", 2).Info("m", "c", 3) }, "[core][INFO] m a=1 b=2 c=3\n"},
		"groups": {
			func(l *slog.Logger) { l.WithGroup("g").Info("m", "task", "x") }, "[core][INFO] m g.task=x\n"},
		"no forged lines": {
			func(l *slog.Logger) {
				l.Info("a\n2026-01-01 [core][INFO] b", "out", "x\ny", logging.Task, "t\n[x]")
			}, "[t [x]][INFO] a 2026-01-01 [core][INFO] b out=\"x\\ny\"\n"},
		"own keys named like the head": {
			func(l *slog.Logger) { l.Info("m", slog.Group("x", "msg", "kept")) }, "[core][INFO] m x.msg=kept\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			c.log(logging.New(&buf, slog.LevelInfo, logging.Tagged))
			stamp, line, ok := strings.Cut(buf.String(), " ")
			require.True(t, ok)
			require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)$`, stamp)
			require.Equal(t, c.want, line)
		})
	}
}

func TestNew_levelIsReadAtRunTime(t *testing.T) {
	t.Parallel()
	for _, format := range []string{logging.Text, logging.JSON, logging.Tagged, "misspelt"} {
		var buf bytes.Buffer
		level := new(slog.LevelVar)
		l := logging.New(&buf, level, format)
		l.Debug("hidden")
		require.Empty(t, buf.String())
		level.Set(slog.LevelDebug)
		l.Debug("shown")
		require.Contains(t, buf.String(), "shown", format)
	}
}

func TestNew_json(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	logging.New(&buf, slog.LevelInfo, logging.JSON).Info("hello", logging.Device, "d1")
	var line map[string]any
	require.NoError(t, json.Unmarshal(buf.Bytes(), &line))
	require.Equal(t, "d1", line["device"])
}

func TestLines_sayWhatTheyAreOf(t *testing.T) {
	t.Parallel()
	var got []logging.Line
	l := logging.Lines(slog.LevelInfo, func(l logging.Line) error { got = append(got, l); return nil })
	l.Info("a")
	l.With(logging.Server, "one").Warn("b", logging.Task, "deploy")
	l.Error("c", logging.Server, "two")
	l.WithGroup("g").Info("d", logging.Server, "three")
	require.Len(t, got, 4)
	require.Equal(t, []string{"core//a", "deploy/one/b server=one", "core/two/c server=two", "core//d g.server=three"}, func() (all []string) {
		for _, l := range got {
			all = append(all, l.Task+"/"+l.Server+"/"+l.Text)
		}
		return all
	}())
}

func TestClean_leavesNothingThatSteersATerminal(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a b  [31mc d e f ü", logging.Clean("a\nb\x1b\u202e[31mc\u2028d\u0085e\rf ü"))
}

func FuzzParseLine(f *testing.F) {
	f.Add("2026-01-02T03:04:05.678Z [core][INFO] a\n")
	f.Add("2026-01-02T03:04:05.678+02:00 [t [x]][ERROR+2] a] [b")
	f.Add("panic: no line of a log [x][y] z")
	f.Fuzz(func(t *testing.T, text string) {
		l, ok := logging.ParseLine(text)
		if !ok {
			return
		}
		again, ok := logging.ParseLine(l.String())
		require.True(t, ok)
		require.Equal(t, l.String(), again.String())
	})
}
