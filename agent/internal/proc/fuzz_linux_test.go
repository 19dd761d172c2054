package proc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
)

// What a task says on descriptor 3 arrives as whole JSON values, or breaks the task off.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("{\"end\":{}}\n[1]\n"))
	f.Add([]byte("{\"cut\":"))
	f.Add([]byte("\n"))
	f.Add([]byte("not json\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		task := &Task{broken: make(chan error, 1)}
		var got []byte
		task.opts.Event = func(e json.RawMessage) error {
			require.True(t, json.Valid(e))
			got = append(append(got, e...), '\n')
			return nil
		}
		task.readers.Add(1)
		task.readEvents(bytes.NewReader(data))
		require.True(t, bytes.HasPrefix(data, got), "in order, nothing left out")
		select {
		case err := <-task.broken:
			require.NotEqual(t, fault.Internal, fault.CodeOf(err), "%v", err)
		default:
			require.NotContains(t, string(data[len(got):]), "\n", "a whole line was left out")
		}
	})
}

// A line is handed on whole, or refused when it is too long.
func FuzzReadLine(f *testing.F) {
	f.Add([]byte("a\nb"), 10)
	f.Add(bytes.Repeat([]byte("x"), 100), 20)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		if limit < 0 || limit > 1<<16 {
			return
		}
		line, err := readLine(bufio.NewReaderSize(bytes.NewReader(data), 16), limit)
		if err != nil {
			require.True(t, errors.Is(err, io.EOF) || fault.Is(err, fault.TooLarge), "%v", err)
			return
		}
		require.LessOrEqual(t, len(line), limit)
		require.Equal(t, string(data[:len(line)+1]), string(line)+"\n")
	})
}

// The log of a task passes in lines, each whole or cut off.
func FuzzLog(f *testing.F) {
	f.Add([]byte("[deploy][INFO] a\nb"))
	f.Add(bytes.Repeat([]byte("x"), 2*maxLogLine+1))
	f.Fuzz(func(t *testing.T, data []byte) {
		var lines [][]byte
		task := &Task{opts: TaskOptions{Log: writer(func(b []byte) { lines = append(lines, bytes.Clone(b)) })}}
		task.readers.Add(1)
		task.readLog(bytes.NewReader(data))
		n := 0
		for line := range bytes.Lines(data) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			require.Less(t, n, len(lines))
			require.Equal(t, string(line[:min(len(line), maxLogLine)])+"\n", string(lines[n]))
			n++
		}
		require.Len(t, lines, n)
	})
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

// The files by which an attempt's folder tells how far its command came: damage costs the answer, never more.
func FuzzFolder(f *testing.F) {
	f.Add([]byte(`{"exit_code":3,"started_at":"2026-01-02T03:04:05Z"}`), []byte("2026-01-02T03:04:05Z\n"), []byte(`{"argv":["/bin/true"],"time_limit":1}`), []byte(`{"pid":1,"program":"a/b"}`))
	f.Add([]byte(`{`), []byte(`x`), []byte(`{"argv":[]}`), []byte(`{"pid":0}`))
	f.Add([]byte{}, []byte{}, []byte(`{"argv":["a"],"time_limit":-1}`), []byte{})
	f.Fuzz(func(t *testing.T, status, started, command, holding []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{statusFile: status, startedFile: started, commandFile: command, lockName: holding} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		}
		if s, ok := readStatus(dir); ok {
			_, err := json.Marshal(s)
			require.NoError(t, err)
		}
		_ = readStarted(dir)
		r := &runner{dir: dir}
		if r.load() == nil {
			require.NoError(t, r.command.check())
			require.Positive(t, r.command.TimeLimit)
		}
		phase, s, err := Inspect(dir)
		require.NoError(t, err)
		require.Contains(t, []Phase{RunFinished, RunLost}, phase, "the command was begun, and nobody runs it")
		require.NotNil(t, s)
		file, err := os.Open(filepath.Join(dir, lockName))
		require.NoError(t, err)
		defer file.Close()
		require.NotEmpty(t, describeHolder(file))
	})
}
