package module

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// Bounds of what a module says beside its rows.
const (
	maxLines   = 500     // of its log, in one run
	maxLine    = 1000    // bytes of one
	maxTail    = 1500    // bytes of its output that are told when it fails
	maxProblem = 4 << 10 // bytes of all that it says is wrong
)

// run is one run of a module.
type run struct {
	module     modules.Module
	parameters json.RawMessage
	taskID     string
}

// input is what a module reads.
type input struct {
	Parameters json.RawMessage `json:"parameters"`
	TaskID     string          `json:"task_id"`
}

// event is a line that a module writes on descriptor 3. Exactly one field is set.
type event struct {
	Row     json.RawMessage `json:"row"`
	Log     *logLine        `json:"log"`
	Problem *string         `json:"problem"`
}

type logLine struct {
	Level   string `json:"level"`
	Message string `json:"message"`
}

// execute runs a module and keeps what became of it: its rows, or, with the rows of an earlier run, why it failed.
// The error says that nothing was kept, because the agent ends or the disk is full.
func execute(ctx context.Context, results modules.Results, r run, log *slog.Logger) (modules.Result, error) {
	log = log.With("module", r.module.Name)
	work := results.WorkDir(r.module.Name)
	if err := errors.Join(os.RemoveAll(work), atomicfile.MkdirAll(work, 0o700)); err != nil {
		return modules.Result{}, fmt.Errorf("make the working directory of module %s: %w", r.module.Name, err)
	}
	defer func() {
		if err := os.RemoveAll(work); err != nil {
			log.Warn("remove a working directory", logging.Err, err)
		}
	}()
	in, err := json.Marshal(input{Parameters: r.parameters, TaskID: r.taskID})
	if err != nil {
		return modules.Result{}, fmt.Errorf("encode the input of module %s: %w", r.module.Name, err)
	}
	c := &collection{columns: r.module.Columns, log: log, keys: map[string]bool{}}
	begun := time.Now()
	end, err := proc.RunProgram(ctx, proc.Program{
		Argv: append([]string{r.module.Program}, r.module.Command[1:]...), Dir: work, Input: append(in, '\n'),
		Env:       []string{"TMPDIR=" + work, "MUSTER_MODULE=" + r.module.Name, "MUSTER_MODULE_DIR=" + r.module.Dir},
		TimeLimit: time.Duration(r.module.TimeLimit), MemoryLimit: r.module.MemoryLimit, Event: c.event, Output: c.output,
	})
	if ctx.Err() != nil {
		return modules.Result{}, context.Cause(ctx)
	}
	c.closeLog()
	res := modules.Result{Module: r.module.Name, TaskID: r.taskID, EndedAt: time.Now().UTC()}
	res.State, res.Reason, res.Message = c.judge(r.module.Manifest, end, err)
	if res.ID, err = newID(); err != nil {
		return res, err
	}
	if res.State == protocol.StateSucceeded {
		rows := c.lines()
		sum := sha256.Sum256(rows)
		res.CollectedAt, res.Rows, res.SHA256, res.Columns = begun.UTC(), len(c.rows), hex.EncodeToString(sum[:]), r.module.Columns
		res.Problem = c.problem
		res.Message = count(len(c.rows))
		if c.problem != "" {
			res.Message += "; " + c.problem
		}
		log.Info("a module has run", "rows", res.Rows, "problem", res.Problem, "duration", time.Since(begun).Round(time.Millisecond), "memory", end.Memory)
		return res, results.Save(res, rows)
	}
	log.Error("a module failed", "reason", res.Reason, "message", res.Message)
	res.Problem = res.Message
	before, rows, err := results.Load(r.module.Name)
	switch {
	case err == nil:
		res.CollectedAt, res.Rows, res.SHA256, res.Columns = before.CollectedAt, before.Rows, before.SHA256, before.Columns
	case !fault.Is(err, fault.NotFound):
		return res, err
	}
	return res, results.Save(res, rows)
}

func count(rows int) string {
	if rows == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", rows)
}

// collection is what a module says while it runs.
type collection struct {
	columns []protocol.Column
	log     *slog.Logger

	rows    []row
	keys    map[string]bool
	bytes   int
	problem string

	mu     sync.Mutex // output comes beside the events
	logged int
	tail   []byte
}

type row struct {
	key  string
	line []byte
}

// event takes a line. An error ends the module.
func (c *collection) event(line []byte) error {
	e, err := decode(bytes.ToValidUTF8(line, []byte("\uFFFD"))) // names of files may be in any encoding
	if err != nil {
		return err
	}
	switch {
	case e.Row != nil:
		return c.add(e.Row)
	case e.Log != nil:
		var level slog.Level
		if level.UnmarshalText([]byte(e.Log.Level)) != nil {
			level = slog.LevelInfo
		}
		c.say(min(max(level, slog.LevelDebug), slog.LevelError), e.Log.Message)
	default:
		if c.problem != "" {
			c.problem += "; "
		}
		c.problem = cut(c.problem+sysread.CleanTo(*e.Problem, maxLine), maxProblem)
		c.say(slog.LevelWarn, "problem: "+*e.Problem)
	}
	return nil
}

// decode reads an event.
func decode(line []byte) (event, error) {
	var e event
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return e, fault.New(fault.Invalid, "it wrote %.100q on descriptor 3, which is no event: %v", line, err)
	}
	n := 0
	for _, set := range []bool{e.Row != nil, e.Log != nil, e.Problem != nil} {
		if set {
			n++
		}
	}
	if n != 1 || dec.More() {
		return e, fault.New(fault.Invalid, "it wrote %.100q on descriptor 3, which is not one event: a row, a log line or a problem", line)
	}
	return e, nil
}

// add takes a row.
func (c *collection) add(raw json.RawMessage) error {
	r, err := protocol.DecodeModuleRow(c.columns, raw)
	if err != nil {
		return fault.Wrap(err, fault.CodeOf(err), "it wrote the row %.100q", raw)
	}
	switch {
	case sysread.CleanTo(r.Key, protocol.MaxRowKey) != r.Key:
		return fault.New(fault.Invalid, "it wrote a row with the key %.60q, which has white space around it or characters that cannot be shown", r.Key)
	case c.keys[r.Key]:
		return fault.New(fault.Invalid, "it wrote two rows with the key %.60q", r.Key)
	case len(c.rows) == protocol.MaxSectionRows:
		return fault.New(fault.TooLarge, "it wrote over %d rows", protocol.MaxSectionRows)
	}
	r.Name = cmp.Or(sysread.Clean(r.Name), r.Key)
	for name, v := range r.Values {
		if text, ok := v.(string); ok {
			r.Values[name] = sysread.Clean(text)
		}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a row: %w", err)
	}
	if len(line) >= protocol.MaxRow {
		return fault.New(fault.TooLarge, "it wrote a row of over %d bytes, with the key %.60q", protocol.MaxRow, r.Key)
	}
	if c.bytes += len(line) + 1; c.bytes > protocol.MaxSectionBytes {
		return fault.New(fault.TooLarge, "it wrote rows of over %d bytes", protocol.MaxSectionBytes)
	}
	c.keys[r.Key] = true
	c.rows = append(c.rows, row{r.Key, line})
	return nil
}

// lines are the rows in the order of their keys.
func (c *collection) lines() []byte {
	slices.SortFunc(c.rows, func(a, b row) int { return cmp.Compare(a.key, b.key) })
	out := make([]byte, 0, c.bytes)
	for _, r := range c.rows {
		out = append(append(out, r.line...), '\n')
	}
	return out
}

// output takes a line of standard output or standard error.
func (c *collection) output(line []byte) {
	text := sysread.CleanTo(string(line), maxLine)
	if text == "" {
		return
	}
	c.mu.Lock()
	c.tail = append(append(c.tail, text...), '\n')
	if over := len(c.tail) - maxTail; over > 0 {
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	c.mu.Unlock()
	c.say(slog.LevelInfo, text)
}

// say writes what a module says into the log, as long as it is not too much.
func (c *collection) say(level slog.Level, text string) {
	c.mu.Lock()
	c.logged++
	ok := c.logged <= maxLines
	c.mu.Unlock()
	if ok {
		c.log.Log(context.Background(), level, "module says", "text", sysread.CleanTo(text, maxLine))
	}
}

func (c *collection) closeLog() {
	if over := c.logged - maxLines; over > 0 {
		c.log.Warn("log lines of a module were left out", "count", over)
	}
}

// judge says how a run ended. err is what was wrong with an event, or why it could not be started.
func (c *collection) judge(m modules.Manifest, end proc.ProgramEnd, err error) (protocol.State, protocol.Reason, string) {
	failed := func(reason protocol.Reason, format string, args ...any) (protocol.State, protocol.Reason, string) {
		text := fmt.Sprintf(format, args...)
		if tail := strings.TrimSpace(strings.ToValidUTF8(string(c.tail), "")); tail != "" {
			text += "; it wrote at last: " + strings.ReplaceAll(tail, "\n", " | ")
		}
		return protocol.StateFailed, reason, cut(sysread.CleanTo(text, protocol.MaxMessage), protocol.MaxMessage)
	}
	var refused *fault.Error
	switch {
	case end.OverMemory:
		return failed(protocol.ReasonMemory, "it was ended because its processes had more memory than its limit of %d bytes", m.MemoryLimit)
	case end.TimedOut:
		return failed(protocol.ReasonTimeLimit, "it was ended because it took longer than its limit of %s", time.Duration(m.TimeLimit))
	case errors.As(err, &refused):
		return failed(protocol.ReasonRows, "it was ended because of what it wrote: %v", err)
	case err != nil:
		return failed(protocol.ReasonCannotStart, "it could not be started: %v", err)
	case end.Signal != "":
		return failed(protocol.ReasonSignal, "it was ended by a signal: %s", end.Signal)
	case end.ExitCode != 0:
		text := fmt.Sprintf("exit code %d", end.ExitCode)
		if c.problem != "" {
			text += ": " + c.problem
		}
		return failed(protocol.ReasonExitCode, "%s", text)
	default:
		return protocol.StateSucceeded, protocol.ReasonDone, ""
	}
}

// cut shortens a text to at most so many bytes of valid UTF-8.
func cut(s string, most int) string { return strings.ToValidUTF8(s[:min(len(s), most)], "") }
