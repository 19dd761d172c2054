package spool

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/journal"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// TestMain offers the process that TestSpool_killedAtAnyPoint kills.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "spool-until-killed" {
		os.Exit(spoolUntilKilled(os.Args[2]))
	}
	os.Exit(m.Run())
}

func report(id string, state protocol.State, output string) protocol.Report {
	return protocol.Report{
		ID: id, Kind: protocol.ReportDeployment, Time: time.Unix(1_800_000_000, 0).UTC(),
		Deployment: &protocol.DeploymentReport{DeploymentID: "d-" + id, State: state, Output: output},
	}
}

func step(id string) protocol.Report { return report(id, protocol.StateFetching, "") }
func end(id string) protocol.Report  { return report(id, protocol.StateSucceeded, "") }

func open(t *testing.T, dir string, limits Limits) *Spool {
	t.Helper()
	s, err := Open(dir, limits)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func ids(s *Spool) []string {
	var all []string
	for _, r := range s.Next(1<<30, 1<<30) {
		all = append(all, r.ID)
	}
	return all
}

func files(t *testing.T, dir, suffix string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	require.NoError(t, err)
	return names
}

func TestSpool_keepsUntilAcknowledged(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	s := open(t, dir, Limits{})
	require.Empty(t, s.Next(10, 1<<20))
	first := report("1", protocol.StateFailed, "out\x00put\u2028\n")
	require.NoError(t, s.Add(ctx, first, step("2")))
	require.NoError(t, s.Add(ctx, step("3")))
	require.Equal(t, first, s.Next(1, 1<<20)[0])
	require.Equal(t, []string{"1", "2", "3"}, ids(s), "asking takes nothing away")
	require.NoError(t, s.Ack("2", "unknown", "2"))
	require.Equal(t, []string{"1", "3"}, ids(s))
	require.NoError(t, s.Close())

	s = open(t, dir, Limits{})
	require.Equal(t, []string{"1", "3"}, ids(s))
	require.NoError(t, s.Ack("1", "3"))
	require.Zero(t, s.Len())
	require.NoError(t, s.Close())
	s = open(t, dir, Limits{})
	require.Zero(t, s.Len())
	require.Zero(t, s.Loss())
}

func TestSpool_oneReportPerID(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	s := open(t, dir, Limits{})
	require.NoError(t, s.Add(ctx, step("1"), step("1")))
	require.NoError(t, s.Add(ctx, step("1"), step("2")))
	require.Equal(t, []string{"1", "2"}, ids(s))
	require.NoError(t, s.Close())
	require.Equal(t, 2, open(t, dir, Limits{}).Len())
}

func TestSpool_next(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Limits{})
	for i := range 5 {
		require.NoError(t, s.Add(context.Background(), report(fmt.Sprint(i), protocol.StateStarted, strings.Repeat("x", 1000))))
	}
	require.Len(t, s.Next(2, 1<<20), 2)
	require.Empty(t, s.Next(0, 1<<20))
	require.Len(t, s.Next(10, 3000), 2)
	require.Len(t, s.Next(10, 1), 1, "one is always handed out")
}

func TestSpool_wait(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Limits{})
	require.Empty(t, s.Wait())
	require.NoError(t, s.Add(context.Background(), step("1")))
	require.NoError(t, s.Add(context.Background(), step("2")))
	<-s.Wait()
	require.Empty(t, s.Wait())
	require.NoError(t, s.Close())
	<-open(t, dir, Limits{}).Wait() // there are some
}

func TestSpool_refuses(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Limits{})
	err := s.Add(context.Background(), step("1"), report("2", protocol.StateFailed, strings.Repeat("x", MaxReport)))
	require.True(t, fault.Is(err, fault.TooLarge), err)
	require.True(t, fault.Is(s.Add(context.Background(), step("")), fault.Invalid))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.Add(ctx, step("1")), context.Canceled)
	require.Zero(t, s.Len())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Add(context.Background(), step("1")), os.ErrClosed)
	require.ErrorIs(t, s.Ack("1"), os.ErrClosed)
	require.Empty(t, s.Next(1, 1))
}

func TestSpool_fullDropsTheOldestThatAreNotFinal(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	s := open(t, dir, Limits{Reports: 4})
	require.NoError(t, s.Add(ctx, end("end1"), step("1"), step("2"), step("3")))
	require.NoError(t, s.Add(ctx, step("4")))
	require.Equal(t, []string{"end1", "2", "3", "4"}, ids(s))
	require.NoError(t, s.Add(ctx, end("end2"), end("end3"), end("end4")))
	require.Equal(t, []string{"end1", "end2", "end3", "end4"}, ids(s))
	require.NoError(t, s.Add(ctx, step("5"), end("end5")))
	require.Equal(t, []string{"end1", "end2", "end3", "end4", "end5"}, ids(s), "the end of a deployment is never dropped")
	require.EqualValues(t, 5, s.Loss().Dropped)
	require.NoError(t, s.Close())
	s = open(t, dir, Limits{Reports: 4})
	require.EqualValues(t, 5, s.Loss().Dropped)
	require.WithinDuration(t, time.Now(), s.Loss().Last, time.Minute)
	require.Len(t, ids(s), 5)
}

func TestSpool_fullDropsLogLinesFirst(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	s := open(t, dir, Limits{Reports: 8})
	logs := func(id string, dropped int64) protocol.Report {
		return protocol.Report{ID: id, Kind: protocol.ReportLog, Log: &protocol.LogReport{Lines: make([]protocol.LogLine, 3), Dropped: dropped}}
	}
	task := func(id string, state protocol.State) protocol.Report {
		return protocol.Report{ID: id, Kind: protocol.ReportTask, Task: &protocol.TaskReport{Kind: protocol.TaskUninstall, State: state}}
	}
	require.NoError(t, s.Add(ctx, logs("log1", 0), step("1"), logs("log2", 4), task("not begun", "")))
	require.NoError(t, s.Add(ctx, logs("log3", 0)))
	require.Equal(t, []string{"1", "log2", "not begun", "log3"}, ids(s), "they have a quarter of it at most")
	require.EqualValues(t, 3, s.Loss().Lines)
	require.NoError(t, s.Add(ctx, task("2", protocol.StateWaiting), end("end1"), end("end2"), task("end3", protocol.StateSucceeded), task("end4", protocol.StateRefused)))
	require.Equal(t, []string{"1", "not begun", "log3", "2", "end1", "end2", "end3", "end4"}, ids(s))
	require.NoError(t, s.Add(ctx, end("end5"), logs("log4", 0)))
	require.Equal(t, []string{"1", "not begun", "2", "end1", "end2", "end3", "end4", "end5"}, ids(s), "a step is worth more than any line")
	require.NoError(t, s.Add(ctx, end("end6"), end("end7")))
	require.Equal(t, []string{"not begun", "end1", "end2", "end3", "end4", "end5", "end6", "end7"}, ids(s))
	require.NoError(t, s.Close())
	s = open(t, dir, Limits{Reports: 8})
	require.EqualValues(t, 3+7+3+3, s.TakeDroppedLines())
	require.NoError(t, s.Close())
	require.Zero(t, open(t, dir, Limits{Reports: 8}).TakeDroppedLines(), "told once")
}

func TestSpool_boundedInBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limits := Limits{Bytes: 50_000, SegmentBytes: 10_000}
	s := open(t, dir, limits)
	for i := range 300 {
		require.NoError(t, s.Add(context.Background(), report(fmt.Sprint(i), protocol.StateStarted, strings.Repeat("x", 1000))))
	}
	require.InDelta(t, 43, s.Len(), 4)
	require.EqualValues(t, 300-s.Len(), s.Loss().Dropped)
	require.Equal(t, "299", ids(s)[s.Len()-1])
	var size int64
	for _, name := range files(t, dir, "") {
		info, err := os.Stat(name)
		require.NoError(t, err)
		size += info.Size()
	}
	require.Less(t, size, 2*limits.Bytes, "what was dropped does not stay on the disk")
}

func TestSpool_segmentsGoWhenTheyAreDone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limits := Limits{SegmentBytes: 2000}
	s := open(t, dir, limits)
	var all []string
	for i := range 100 {
		all = append(all, fmt.Sprint(i))
		require.NoError(t, s.Add(context.Background(), step(all[i])))
	}
	require.Greater(t, len(files(t, dir, segmentSuffix)), 5)
	require.NoError(t, s.Ack(all[1:99]...))
	require.LessOrEqual(t, len(files(t, dir, segmentSuffix)), 2)
	require.Equal(t, []string{"0", "99"}, ids(s), "a rewritten segment keeps what is needed")
	require.NoError(t, s.Close())
	s = open(t, dir, limits)
	require.Equal(t, []string{"0", "99"}, ids(s))
	require.NoError(t, s.Ack("0"))
	require.Len(t, files(t, dir, segmentSuffix), 1)
	require.NoError(t, s.Add(context.Background(), step("new")))
	require.Equal(t, []string{"99", "new"}, ids(s))
}

func TestSpool_damage(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change  func(data []byte) []byte
		survive []string
		damaged int64
	}{
		"torn end":         {func(d []byte) []byte { return d[:len(d)-5] }, []string{"1", "2"}, 0},
		"bad byte":         {func(d []byte) []byte { d[60]++; return d }, []string{"2", "3"}, 1},
		"garbage in front": {func(d []byte) []byte { return append([]byte("garbage\n"), d...) }, []string{"1", "2", "3"}, 1},
		"empty":            {func([]byte) []byte { return nil }, nil, 0},
		"not a report":     {func(d []byte) []byte { return journal.AppendLine(d, []byte(`[1]`)) }, []string{"1", "2", "3"}, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir, Limits{})
			require.NoError(t, s.Add(context.Background(), step("1"), step("2"), step("3")))
			require.NoError(t, s.Close())
			path := files(t, dir, segmentSuffix)[0]
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, tc.change(data), 0o600))
			for range 2 { // the same damage is counted once
				s = open(t, dir, Limits{})
				require.Equal(t, tc.survive, ids(s))
				require.Equal(t, tc.damaged, s.Loss().Damaged)
				require.NoError(t, s.Close())
			}
			s = open(t, dir, Limits{})
			require.NoError(t, s.Add(context.Background(), step("4")))
			require.NoError(t, s.Close())
			require.Equal(t, append(tc.survive, "4"), ids(open(t, dir, Limits{})))
		})
	}
}

func TestSpool_damageWhileOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Limits{})
	require.NoError(t, s.Add(context.Background(), step("1"), step("2")))
	path := files(t, dir, segmentSuffix)[0]
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[60]++
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.Equal(t, []string{"2"}, ids(s), "what cannot be read does not stop the rest")
	require.EqualValues(t, 1, s.Loss().Damaged)
	require.Equal(t, 1, s.Len())
}

// spoolUntilKilled adds and acknowledges without end, and prints what it did: "add ID" when Add has
// returned, "ack ID" before and "acked ID" after Ack.
func spoolUntilKilled(dir string) int {
	s, err := Open(dir, Limits{SegmentBytes: 3000})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	prefix := fmt.Sprint(os.Getpid())
	for i := 0; ; i++ {
		id := fmt.Sprintf("%s-%d", prefix, i)
		if err := s.Add(context.Background(), end(id)); err != nil {
			fmt.Println("error", err)
			return 1
		}
		fmt.Println("add", id)
		if next := s.Next(3, 1<<20); i%2 == 1 && len(next) == 3 {
			fmt.Println("ack", next[1].ID)
			if err := s.Ack(next[1].ID); err != nil {
				fmt.Println("error", err)
				return 1
			}
			fmt.Println("acked", next[1].ID)
		}
	}
}

func TestSpool_killedAtAnyPoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	want, may := map[string]bool{}, map[string]bool{} // must be there; may be there
	for round := range 12 {
		cmd := exec.Command(self, "spool-until-killed", dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		last := 1 + rand.IntN(150)
		for n := 0; lines.Scan(); n++ {
			verb, id, _ := strings.Cut(lines.Text(), " ")
			switch verb {
			case "add":
				want[id] = true
			case "ack":
				delete(want, id)
				may[id] = true
			case "acked":
				delete(may, id)
			default:
				require.Fail(t, lines.Text())
			}
			if n == last {
				require.NoError(t, cmd.Process.Kill()) // what it still printed is read to the end
			}
		}
		_ = cmd.Wait()
		s, err := Open(dir, Limits{SegmentBytes: 3000})
		require.NoError(t, err, "round %d", round)
		got := map[string]bool{}
		for _, id := range ids(s) {
			require.False(t, got[id], "%s twice", id)
			got[id] = true
		}
		for id := range want {
			require.True(t, got[id], "%s was accepted and is lost", id)
		}
		extra := 0
		for id := range got {
			if !want[id] && !may[id] {
				extra++ // its Add was on the disk, but its line not yet printed
				want[id] = true
			}
		}
		require.LessOrEqual(t, extra, 1, "acknowledged reports came back")
		require.Zero(t, s.Loss())
		require.NoError(t, s.Close())
	}
	require.NotEmpty(t, want)
}

func FuzzSegment(f *testing.F) {
	line := journal.AppendLine(nil, []byte(`{"id":"1","kind":"deployment","deployment":{"state":"failed"}}`))
	f.Add(line, journal.AppendLine(nil, []byte(`["1"]`)))
	f.Add(append([]byte("junk\n"), line...), []byte("junk"))
	f.Add(journal.AppendLine(line, []byte(`{"id":1}`)), []byte(nil))
	f.Fuzz(func(t *testing.T, segmentData, noteData []byte) {
		decodeNotes(noteData)
		content := (&segment{}).decode(segmentData)
		require.LessOrEqual(t, content.end, int64(len(segmentData)))
		for _, e := range content.entries {
			payload, err := journal.ParseLine(segmentData[e.offset:content.end])
			require.NoError(t, err)
			require.Len(t, payload, e.length)
			require.NotEmpty(t, e.id)
		}
	})
}

func BenchmarkAddAck(b *testing.B) {
	s, err := Open(b.TempDir(), Limits{})
	require.NoError(b, err)
	for i := 0; b.Loop(); i++ {
		id := fmt.Sprint(i)
		require.NoError(b, s.Add(context.Background(), end(id)))
		require.NoError(b, s.Ack(id))
	}
}
