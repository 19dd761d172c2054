package module

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/agenttest"
	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

const ports = `{"type":"object","properties":{"protocol":{"enum":["tcp","udp"]},"port":{"type":"integer","minimum":1,"maximum":65535},
"name":{"type":"string","pattern":"^[a-z]+$"}},"required":["protocol"],"additionalProperties":false}`

func manifestOf(schema, defaults string) modules.Manifest {
	return modules.Manifest{Name: "ports", Parameters: json.RawMessage(schema), DefaultParameters: json.RawMessage(defaults)}
}

func TestSchema_checksParameters(t *testing.T) {
	t.Parallel()
	s, err := compile(manifestOf(ports, `{"protocol":"tcp","port":22}`))
	require.NoError(t, err)
	for given, want := range map[string]string{
		``: `{"port":22,"protocol":"tcp"}`, `{}`: `{"port":22,"protocol":"tcp"}`, `{"port":80}`: `{"port":80,"protocol":"tcp"}`,
		`{"protocol":"udp","name":"dns"}`: `{"name":"dns","port":22,"protocol":"udp"}`,
	} {
		got, err := s.parameters(json.RawMessage(given))
		require.NoError(t, err, given)
		require.Equal(t, want, string(got), given)
	}
	for _, given := range []string{
		`[]`, `{"port":"80"}`, `{"port":0}`, `{"port":1.5}`, `{"other":1}`, `{"name":"A"}`, `{"protocol":"sctp"}`, `{"protocol":null}`, `{`,
	} {
		_, err := s.parameters(json.RawMessage(given))
		require.Equal(t, fault.Invalid, fault.CodeOf(err), "%s: %v", given, err)
	}
	s, err = compile(manifestOf("", ""))
	require.NoError(t, err)
	_, err = s.parameters(json.RawMessage(`{"port":80}`))
	require.Error(t, err, "a module without a schema takes no parameters")
}

func TestSchema_refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ schema, defaults, says string }{
		"no object":            {`true`, `{}`, "not a JSON object"},
		"remote":               {`{"properties":{"a":{"$ref":"https://example.com/a"}}}`, `{}`, "$ref"},
		"of a file":            {`{"$ref":"file:///etc/passwd"}`, `{}`, "$ref"},
		"of itself":            {`{"allOf":[{"$ref":"#"},{"$ref":"#"}]}`, `{}`, "$ref"},
		"dynamic":              {`{"items":{"$dynamicRef":"#x"}}`, `{}`, "$dynamicRef"},
		"no type":              {`{"type":"objekt"}`, `{}`, "parameters"},
		"no pattern":           {`{"properties":{"a":{"pattern":"("}}}`, `{}`, "no JSON Schema"},
		"wide pattern":         {`{"properties":{"a":{"pattern":"((a{1000}){1000}){1000}"}}}`, `{}`, "no JSON Schema"},
		"defaults do not fit":  {ports, `{"protocol":"none"}`, "default_parameters"},
		"defaults are missing": {ports, ``, "default_parameters"},
		"defaults a list":      {ports, `[]`, "default_parameters"},
	} {
		_, err := compile(manifestOf(c.schema, c.defaults))
		require.Equal(t, fault.Invalid, fault.CodeOf(err), "%s: %v", name, err)
		require.ErrorContains(t, err, c.says, name)
	}
}

func collect() *collection {
	return &collection{
		columns: []protocol.Column{{Name: "size", Type: protocol.ColumnBytes}, {Name: "text", Type: protocol.ColumnText}},
		log:     slog.New(slog.DiscardHandler), keys: map[string]bool{},
	}
}

func TestCollection_sortsAndCleansRows(t *testing.T) {
	t.Parallel()
	c := collect()
	for _, line := range []string{
		`{"row":{"key":"b","name":" B\u0007 ","size":1e3,"text":"x\u202ey"}}`, `{"log":{"level":"error","message":"m"}}`, `{"problem":"one"}`,
		`{"row":{"key":"a","text":null}}`, `{"problem":"two"}`, "{\"row\":{\"key\":\"c\",\"name\":\"\xff\"}}",
	} {
		require.NoError(t, c.event([]byte(line)), line)
	}
	require.Equal(t, []string{
		`{"key":"a","name":"a"}`, `{"key":"b","name":"B","size":1000,"text":"xy"}`, "{\"key\":\"c\",\"name\":\"\uFFFD\"}", "",
	}, strings.Split(string(c.lines()), "\n"))
	require.Equal(t, "one; two", c.problem)
}

func TestCollection_refuses(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		`{}`, `[]`, `null`, `x`, `{"row":{"key":"a"},"problem":"p"}`, `{"rows":[]}`, `{"row":{"key":"a"}} {}`, `{"row":{"key":"a","port":1}}`, `{"row":1}`,
		`{"row":{"name":"a"}}`, `{"row":{"key":" a"}}`, `{"row":{"key":"a\u0000"}}`, `{"row":{"key":"a","size":"5"}}`, `{"problem":1}`, `{"log":"x"}`,
	} {
		require.Equal(t, fault.Invalid, fault.CodeOf(collect().event([]byte(line))), line)
	}
	c := collect()
	require.NoError(t, c.event([]byte(`{"row":{"key":"a"}}`)))
	require.ErrorContains(t, c.event([]byte(`{"row":{"key":"a"}}`)), "two rows")
	for i := 1; i < protocol.MaxSectionRows; i++ {
		require.NoError(t, c.event(fmt.Appendf(nil, `{"row":{"key":"k%d"}}`, i)))
	}
	require.Equal(t, fault.TooLarge, fault.CodeOf(c.event([]byte(`{"row":{"key":"one more"}}`))))
	c = collect()
	c.bytes = protocol.MaxSectionBytes - 5
	require.Equal(t, fault.TooLarge, fault.CodeOf(c.event([]byte(`{"row":{"key":"a"}}`))))
}

// Whatever a module says, and by whichever event: the log of the device is not its own.
func TestCollection_boundsItsLog(t *testing.T) {
	t.Parallel()
	for _, event := range []string{`{"problem":"one more"}`, `{"log":{"level":"error","message":"one more"}}`} {
		var log strings.Builder
		c := collect()
		c.log = slog.New(slog.NewTextHandler(&log, nil))
		for range 2 * maxLines {
			require.NoError(t, c.event([]byte(event)))
		}
		c.closeLog()
		require.Equal(t, maxLines+1, strings.Count(log.String(), "\n"), event)
		require.Contains(t, log.String(), fmt.Sprintf("left out\" count=%d", maxLines))
		require.LessOrEqual(t, len(c.problem), maxProblem)
	}
}

func TestCollection_judges(t *testing.T) {
	t.Parallel()
	m := modules.Manifest{Name: "ports", MemoryLimit: 5}
	for name, c := range map[string]struct {
		end    proc.ProgramEnd
		err    error
		reason protocol.Reason
	}{
		"well":          {proc.ProgramEnd{}, nil, protocol.ReasonDone},
		"exit code":     {proc.ProgramEnd{ExitCode: 3}, nil, protocol.ReasonExitCode},
		"signal":        {proc.ProgramEnd{ExitCode: -1, Signal: "killed"}, nil, protocol.ReasonSignal},
		"time":          {proc.ProgramEnd{ExitCode: -1, Signal: "killed", TimedOut: true}, nil, protocol.ReasonTimeLimit},
		"memory":        {proc.ProgramEnd{ExitCode: -1, Signal: "killed", OverMemory: true}, nil, protocol.ReasonMemory},
		"rows":          {proc.ProgramEnd{ExitCode: -1, Signal: "killed"}, fault.New(fault.Invalid, "no"), protocol.ReasonRows},
		"did not start": {proc.ProgramEnd{ExitCode: -1}, errors.New("no such file"), protocol.ReasonCannotStart},
	} {
		_, reason, _ := collect().judge(m, c.end, c.err)
		require.Equal(t, c.reason, reason, name)
	}
	c := collect()
	for range 1000 {
		c.output([]byte(strings.Repeat("é", 600)))
	}
	_, _, text := c.judge(m, proc.ProgramEnd{ExitCode: 1}, nil)
	require.LessOrEqual(t, len(text), protocol.MaxMessage)
	require.Equal(t, 1000, c.logged)
}

// Why a module is refused stands in its result beside the rows it had, once, and goes when it is put right.
func TestRefuse_keepsTheRows(t *testing.T) {
	t.Parallel()
	results := modules.ResultsOf(t.TempDir())
	why := errors.New("others may write there")
	require.NoError(t, refuse(results, "ports", why))
	first, err := results.Head("ports")
	require.NoError(t, err)
	require.Equal(t, why.Error(), first.Problem)
	require.NoError(t, refuse(results, "ports", why))
	same, err := results.Head("ports")
	require.NoError(t, err)
	require.Equal(t, first.ID, same.ID, "it is not sent again")
	require.NoError(t, accept(results, "ports"))
	good, err := results.Head("ports")
	require.NoError(t, err)
	require.Empty(t, good.Problem)
	require.NotEmpty(t, good.SHA256, "a section of no rows")
	require.NotEqual(t, first.ID, good.ID)
	require.Empty(t, section(good, nil).Problem)
}

// A section that the server refuses is given up; one that it could not take now is not, whatever became of the others.
func TestDeliver_keepsWhatMayStillArrive(t *testing.T) {
	t.Parallel()
	server := agenttest.New(t)
	store := identity.Open(t.TempDir(), "test")
	_, _, err := identity.Enroll(t.Context(), store, server.Enrollment(), protocol.Facts{})
	require.NoError(t, err)
	results := modules.ResultsOf(t.TempDir())
	names := []string{"refused", "away"}
	for _, name := range names {
		require.NoError(t, refuse(results, name, errors.New("for a problem to tell")))
	}
	var requests atomic.Int32
	var away atomic.Bool
	away.Store(true)
	server.Lock()
	server.Fail = func(http.ResponseWriter, *http.Request) int {
		switch n := requests.Add(1); {
		case n == 1:
			return http.StatusUnprocessableEntity
		case away.Load():
			return http.StatusServiceUnavailable
		default:
			return 0
		}
	}
	server.Unlock()
	var log strings.Builder
	err = deliver(t.Context(), store, results, names, false, slog.New(slog.NewTextHandler(&log, nil)))
	require.Error(t, err)
	require.False(t, client.Final(err), "%v", err)
	require.Contains(t, log.String(), "module refused", "nobody else says it")
	require.NotContains(t, loadSent(store.Dir()), "away")
	away.Store(false)
	require.NoError(t, deliver(t.Context(), store, results, names, false, slog.New(slog.DiscardHandler)))
	require.Len(t, loadSent(store.Dir()), 2, "what was refused is not sent again")
}

func TestSent_survivesDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, sent{"ports": "1"}.save(dir))
	require.Equal(t, sent{"ports": "1"}, loadSent(dir))
}

// Whatever a module writes, its rows are sorted, bounded, and what the server takes.
func FuzzCollection(f *testing.F) {
	f.Add([]byte("{\"row\":{\"key\":\"b\",\"size\":5}}\n{\"row\":{\"key\":\"a\",\"text\":\"\xff\"}}\n{\"problem\":\"p\"}\n{\"log\":{\"level\":\"warn\",\"message\":\"m\"}}"))
	f.Add([]byte(`{"row":{"key":"a","size":-1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := collect()
		for line := range strings.Lines(string(data)) {
			if err := c.event([]byte(strings.TrimSpace(line))); err != nil {
				require.NotEqual(t, fault.Internal, fault.CodeOf(err), "%v", err)
				break
			}
		}
		c.output(data)
		var keys []string
		for line := range strings.Lines(string(c.lines())) {
			row, err := protocol.DecodeModuleRow(c.columns, []byte(strings.TrimSuffix(line, "\n")))
			require.NoError(t, err)
			keys = append(keys, row.Key)
		}
		require.True(t, slices.IsSorted(keys))
		require.Len(t, slices.Compact(keys), len(c.rows))
	})
}

// Whatever a schema and parameters hold, the check ends soon and what it lets pass is an object.
func FuzzSchema(f *testing.F) {
	f.Add([]byte(ports), []byte(`{"protocol":"tcp"}`), []byte(`{"port":5}`))
	f.Add([]byte(`{"$ref":"#"}`), []byte(`{}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, schema, defaults, given []byte) {
		if len(schema) > 4<<10 || len(given) > 4<<10 {
			return
		}
		begun := time.Now()
		s, err := compile(manifestOf(string(schema), string(defaults)))
		if err == nil {
			var out json.RawMessage
			if out, err = s.parameters(given); err == nil {
				require.True(t, strings.HasPrefix(string(out), "{"))
			}
		}
		if err != nil {
			require.Equal(t, fault.Invalid, fault.CodeOf(err), "%v", err)
		}
		require.Less(t, time.Since(begun), 3*checkLimit)
	})
}

// What says which results a server has got is what was written, or nothing.
func FuzzSent(f *testing.F) {
	f.Add([]byte(`{"ports":"1"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, sentFile), data, 0o600))
		loadSent(dir)["ports"] = "2"
	})
}
