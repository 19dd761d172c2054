package logfile_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/logfile"
)

// TestMain also is the program that is killed while it writes.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LOGFILE_WRITES_TO"); dir != "" {
		w := logfile.New(dir, 2000, 3)
		for n := 0; ; n++ {
			if _, err := fmt.Fprintf(w, "line %06d of %s\n", n, strings.Repeat("x", n%50)); err != nil {
				os.Exit(1)
			}
			if n == 200 {
				fmt.Println("enough to be killed")
			}
		}
	}
	os.Exit(m.Run())
}

func all(t *testing.T, dir string) (lines []string) {
	t.Helper()
	_, err := logfile.Read(dir, logfile.Position{}, func(line []byte) error {
		lines = append(lines, string(line))
		return nil
	})
	require.NoError(t, err)
	return lines
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, logfile.Dir))
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWriter_keepsSoManyBytesInSoManyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := logfile.New(dir, 100, 3)
	require.Empty(t, all(t, dir), "nothing is made before a line is written")
	for n := range 100 {
		_, err := fmt.Fprintf(w, "line %03d\n", n) // 9 bytes: 11 in a file
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.Equal(t, []string{"agent.log", "agent.log.1", "agent.log.2"}, files(t, dir))
	lines := all(t, dir)
	require.Equal(t, "line 099", lines[len(lines)-1])
	require.Equal(t, "line 077", lines[0], "two full files and the last one, without a gap")
	require.Len(t, lines, 23)
	for _, name := range files(t, dir) {
		info, err := os.Stat(filepath.Join(dir, logfile.Dir, name))
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(100))
		if runtime.GOOS != "windows" { // which has no such modes
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		}
	}

	w = logfile.New(dir, 100, 1) // the administrator wants fewer now
	_, err := w.Write([]byte("one more\n"))
	require.NoError(t, err)
	require.Equal(t, []string{"agent.log"}, files(t, dir))
	_, err = w.Write([]byte(strings.Repeat("y", 150) + "\n"))
	require.NoError(t, err, "a line that is longer than a file is written all the same")
	require.Equal(t, []string{strings.Repeat("y", 150)}, all(t, dir))
	require.NoError(t, w.Close())
}

func TestWriter_endsALineThatACrashCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, logfile.Dir), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, logfile.Dir, "agent.log"), []byte("whole\ncut o"), 0o600))
	w := logfile.New(dir, 1000, 2)
	_, err := w.Write([]byte("next\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Equal(t, []string{"whole", "cut o", "next"}, all(t, dir))
}

// TestWriter_survivesKills: whatever the moment, what is read afterwards are whole lines in their order.
func TestWriter_survivesKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, err := os.Executable()
	require.NoError(t, err)
	for range 5 {
		c := exec.Command(program)
		c.Env = append(os.Environ(), "LOGFILE_WRITES_TO="+dir)
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		_, err = out.Read(make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, c.Process.Kill())
		_ = c.Wait()
		last := -1
		for _, line := range all(t, dir) {
			number, rest, ok := strings.Cut(strings.TrimPrefix(line, "line "), " of ")
			n, err := strconv.Atoi(number)
			if err != nil || !ok || rest != strings.Repeat("x", n%50) {
				continue // what a kill has left
			}
			require.True(t, n == last+1 || last == -1 || n == 0, "%d after %d", n, last)
			last = n
		}
		require.GreaterOrEqual(t, last, 0)
	}
	require.LessOrEqual(t, len(files(t, dir)), 3)
}

func TestAppend_movesNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := logfile.New(dir, 30, 3)
	_, err := w.Write([]byte("of the agent, twenty\n"))
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, logfile.Append(dir, []byte("of the launcher\n")))
	}
	require.Equal(t, []string{"agent.log"}, files(t, dir))
	_, err = w.Write([]byte("of the agent again\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Equal(t, []string{"of the agent, twenty", "of the launcher", "of the launcher", "of the launcher", "of the agent again"}, all(t, dir))
	require.Equal(t, []string{"agent.log", "agent.log.1"}, files(t, dir))
}

func TestFollow_losesNothingOverRotations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := logfile.New(dir, 300, 50)
	const lines = 400
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range lines {
			_, _ = fmt.Fprintf(w, "line %d\n", n)
		}
	})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var got []string
	require.NoError(t, logfile.Follow(ctx, dir, logfile.Position{}, func(line []byte) error {
		got = append(got, string(line))
		if len(got) == lines {
			stop()
		}
		return nil
	}))
	wg.Wait()
	require.NoError(t, w.Close())
	require.Len(t, got, lines)
	for n, line := range got {
		require.Equal(t, fmt.Sprintf("line %d", n), line)
	}
}

// What is in the files is handed on as it is, but for where lines end.
func FuzzRead(f *testing.F) {
	f.Add([]byte("old\n"), []byte("a\nb"))
	f.Add([]byte{}, bytes.Repeat([]byte("x"), 100_000))
	f.Fuzz(func(t *testing.T, old, newest []byte) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, logfile.Dir), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, logfile.Dir, "agent.log.1"), old, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, logfile.Dir, "agent.log"), newest, 0o600))
		var got []byte
		_, err := logfile.Read(dir, logfile.Position{}, func(line []byte) error {
			got = append(got, line...)
			return nil
		})
		require.NoError(t, err)
		joined := func(b []byte) string { return string(bytes.ReplaceAll(b, []byte("\n"), nil)) }
		whole := newest[:bytes.LastIndexByte(newest, '\n')+1]
		require.True(t, strings.HasPrefix(joined(old)+joined(newest), string(got)))
		require.GreaterOrEqual(t, len(got), len(joined(old))+len(joined(whole)))
		tail, err := logfile.Tail(dir, 10, 1000)
		require.NoError(t, err)
		require.LessOrEqual(t, len(tail), 1000)
		require.LessOrEqual(t, bytes.Count(tail, []byte("\n")), 10)
		require.True(t, bytes.HasSuffix(append(old, newest...), tail))
	})
}

func TestTail_isWholeLinesWithinBounds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tail, err := logfile.Tail(dir, 3, 100)
	require.NoError(t, err)
	require.Empty(t, tail)
	w := logfile.New(dir, 25, 3)
	for n := range 10 {
		_, err := fmt.Fprintf(w, "line %d\n", n) // 3 in a file
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	for _, c := range []struct {
		lines int
		most  int64
		want  string
	}{
		{100, 1000, "line 6\nline 7\nline 8\nline 9\n"},
		{2, 1000, "line 8\nline 9\n"},
		{100, 10, "line 9\n"},
		{1, 1000, "line 9\n"},
	} {
		tail, err := logfile.Tail(dir, c.lines, c.most)
		require.NoError(t, err)
		require.Equal(t, c.want, string(tail), "%+v", c)
	}
}
