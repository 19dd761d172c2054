package config_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/packages/fault"
)

func TestLoad_withoutAFileIsTheDefault(t *testing.T) {
	t.Parallel()
	c, err := config.Load(t.TempDir())
	require.NoError(t, err)
	require.Equal(t, config.Default(), c)
	require.NoError(t, c.Validate())
	require.Equal(t, config.Kinds(), c.Allowed("anyone"))
}

func TestLoad_good(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, `{
		"schedule": "*/30 * * * *", "jitter": "5m", "log_level": "debug", "listener": {"lan": true},
		"servers": [
			{"name": "head-office", "tasks_allowed": []},
			{"name": "branch.example.org", "tasks_allowed": ["deploy"], "schedule": "@every 1h"},
			{"name": "open"}
		]}`)
	c, err := config.Load(dir)
	require.NoError(t, err)
	require.Equal(t, slog.LevelDebug, c.Level())
	require.Equal(t, 5*time.Minute, time.Duration(c.Jitter))
	require.Empty(t, c.Allowed("head-office"), "an empty list allows nothing")
	require.Equal(t, []string{"deploy"}, c.Allowed("branch.example.org"))
	require.Equal(t, config.Kinds(), c.Allowed("open"), "no list allows every known kind")
	s, err := c.ScheduleOf("branch.example.org")
	require.NoError(t, err)
	require.Equal(t, "@every 1h", s.String())
	s, err = c.ScheduleOf("open")
	require.NoError(t, err)
	require.Equal(t, "*/30 * * * *", s.String())
	require.Equal(t, filepath.Join(dir, "change.lock"), c.LockPath(dir))
	require.Equal(t, config.Listener{Enabled: true, Port: 62354, LAN: true}, c.Listener, "what is not named keeps its default")
}

func TestLoad_bad(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ text, says string }{
		"not json":        {`schedule: daily`, "cannot be read"},
		"unknown key":     {`{"shedule": "@every 1h"}`, `"shedule" is an unknown key`},
		"wrong case":      {`{"Schedule": "@every 1h"}`, `spelled "Schedule"`},
		"twice":           {`{"schedule": "@every 1h", "schedule": "@every 2h"}`, "twice"},
		"trailing":        {`{} {}`, "data follows"},
		"panicking zone":  {`{"schedule": "TZ=0"}`, "time zone"},
		"jitter":          {`{"jitter": "soon"}`, "length of time"},
		"long jitter":     {`{"jitter": "90h"}`, "between 0 and"},
		"level":           {`{"log_level": "loud"}`, "none of debug"},
		"relative lock":   {`{"change_lock": "x"}`, "absolute path"},
		"server name":     {`{"servers": [{"name": "../x"}]}`, "not a server name"},
		"server twice":    {`{"servers": [{"name": "a"}, {"name": "a"}]}`, "listed twice"},
		"unknown task":    {`{"servers": [{"name": "a", "tasks_allowed": ["deplyo"]}]}`, `"deplyo" is no kind of task`},
		"listener's port": {`{"listener": {"port": 65536}}`, "listener.port: 65536 is not between"},
		"listener's key":  {`{"listener": {"Lan": true}}`, `spelled "Lan"`},
		"protected name":  {`{"uninstall": {"protected": ["good-*", "bad["]}}`, `uninstall.protected[1]: "bad["`},
		"server schedule": {`{"servers": [{"name": "a", "schedule": "never"}]}`, "cannot be read"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, c.text)
			_, err := config.Load(dir)
			require.ErrorContains(t, err, c.says)
			require.Equal(t, fault.Invalid, fault.CodeOf(err))
		})
	}
}

func TestValidate_namesEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := config.Parse([]byte(`{"schedule": "x", "log_level": "y", "jitter": "-1s"}`))
	require.ErrorContains(t, err, "schedule:")
	require.ErrorContains(t, err, "log_level:")
	require.ErrorContains(t, err, "jitter:")
}

func write(t *testing.T, dir, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, config.FileName), []byte(text), 0o600))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schedule": "@every 15m", "servers": [{"name": "a", "tasks_allowed": []}]}`))
	f.Add([]byte(`{"schedule": "TZ=0"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(data)
		if err == nil {
			require.NoError(t, c.Validate())
		}
	})
}
