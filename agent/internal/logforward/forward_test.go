package logforward

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// bench is a Log whose own level is info, with a Forwarder for the server "one".
type bench struct {
	*Log
	t     *testing.T
	data  string
	file  *bytes.Buffer
	spool *spool.Spool
	one   *Forwarder
}

func newBench(t *testing.T, limits spool.Limits) *bench {
	t.Helper()
	return restart(t, t.TempDir(), limits)
}

// restart is what a new process does.
func restart(t *testing.T, data string, limits spool.Limits) *bench {
	t.Helper()
	b := &bench{t: t, data: data, file: &bytes.Buffer{}}
	b.Log = New(slog.LevelInfo, b.file)
	store := identity.Open(data, "one")
	var err error
	b.spool, err = spool.Open(filepath.Join(store.Dir(), "spool"), limits)
	require.NoError(t, err)
	b.one = b.Forward(Options{Store: store, Spool: b.spool, PerMinute: 60, Burst: 500, Except: protocol.TaskModule})
	t.Cleanup(func() {
		b.one.Close()
		require.NoError(t, b.spool.Close())
	})
	return b
}

// kill is what a kill is to the process.
func (b *bench) kill() {
	b.one.mu.Lock()
	defer b.one.mu.Unlock()
	b.one.closed = true
	b.one.timer.Stop()
}

func (b *bench) ask(s protocol.LogSetting) { b.one.Set(&s, time.Now()) }

// spooled is what the spool holds.
func (b *bench) spooled() (lines []string, dropped int64) {
	b.t.Helper()
	for _, r := range b.spool.Next(1000, 1<<30) {
		require.NoError(b.t, r.Validate())
		require.NotNil(b.t, r.Log)
		for _, l := range r.Log.Lines {
			lines = append(lines, "["+l.Task+"]["+l.Level+"] "+l.Message)
		}
		dropped += r.Log.Dropped
	}
	return lines, dropped
}

func TestLog_forwardsFromTheLevelThatIsAskedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t, spool.Limits{})
	log := b.Logger()
	log.Error("nobody has asked")
	b.one.Flush()
	require.Zero(t, b.spool.Len())
	require.NoDirExists(t, b.one.dir(), "what is off costs nothing")

	b.ask(protocol.LogSetting{Level: "warn"})
	log.Info("too low")
	log.Warn("a warning", "n", 1)
	b.ask(protocol.LogSetting{Level: "debug"})
	require.Equal(t, slog.LevelDebug, b.Level(), "tasks are to log from there on")
	log.Debug("in detail")
	_, err := b.Task("deploy", "one").Write([]byte(logging.Line{Time: time.Now(), Task: "deploy", Level: slog.LevelDebug, Text: "of a task\x1b[31m"}.String()))
	require.NoError(t, err)
	_, err = b.Task("deploy", "one").Write([]byte("panic: a bug\n"))
	require.NoError(t, err)
	b.Quiet().Error("about forwarding")
	log.Error("for another server", logging.Server, "two")
	_, err = b.Task("deploy", "two").Write([]byte(logging.Line{Time: time.Now(), Task: "deploy", Level: slog.LevelError, Text: "of another's task"}.String()))
	require.NoError(t, err)
	b.ask(protocol.LogSetting{Level: protocol.LogOff})
	log.Error("no more")
	b.one.Flush()
	lines, dropped := b.spooled()
	require.Equal(t, []string{
		"[core][warn] a warning n=1", "[core][debug] in detail", "[deploy][debug] of a task [31m", "[deploy][error] panic: a bug",
	}, lines)
	require.Zero(t, dropped)
	require.NotContains(t, b.file.String(), "in detail", "on this computer its own level holds")
	for _, own := range []string{"[core][ERROR] nobody has asked", "[core][INFO] too low", "[deploy][ERROR] panic: a bug", "about forwarding", "of another's task"} {
		require.Contains(t, b.file.String(), own)
	}
	require.Equal(t, slog.LevelInfo, b.Level())
}

// What a module says tells what it finds: a server that may not have that gets none of it.
func TestLog_keepsTasksThatAServerMayNotHave(t *testing.T) {
	t.Parallel()
	b := newBench(t, spool.Limits{})
	b.ask(protocol.LogSetting{Level: "info"})
	for _, kind := range []string{protocol.TaskModule, protocol.TaskInventory} {
		line := logging.Line{Time: time.Now(), Task: kind, Level: slog.LevelInfo, Text: "said by a " + kind}
		_, err := b.Task(kind, "").Write([]byte(line.String()))
		require.NoError(t, err)
	}
	b.one.Flush()
	lines, dropped := b.spooled()
	require.Equal(t, []string{"[inventory][info] said by a inventory"}, lines)
	require.Zero(t, dropped)
	require.Contains(t, b.file.String(), "said by a module")
}

func TestLog_aLevelForATimeEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t, spool.Limits{})
	clock := time.Now().AddDate(-20, 0, 0) // the server's; what counts is how long it is from there
	soon := clock.Add(time.Hour)
	b.one.Set(&protocol.LogSetting{Level: "debug", Until: &soon, After: "error"}, clock)
	require.Equal(t, "debug", b.one.Level())
	log := b.Logger()
	log.Debug("first")
	b.one.mu.Lock()
	require.WithinDuration(t, time.Now().Add(time.Hour), b.one.levelEnd, 10*time.Minute)
	b.one.levelEnd = time.Now() // an hour later
	b.one.mu.Unlock()
	require.Equal(t, "error", b.one.Level())
	log.Debug("second")
	require.False(t, log.Enabled(t.Context(), slog.LevelDebug), "the line that came too late has ended the detail")
	log.Error("third")
	b.one.Flush()
	lines, _ := b.spooled()
	require.Equal(t, []string{"[core][debug] first", "[core][error] third"}, lines)
}

func TestLog_whatIsAskedForOutlivesARestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, spool.Limits{})
	at := time.Now()
	until := at.Add(time.Hour)
	b.one.Set(&protocol.LogSetting{Level: "debug", Until: &until, After: "off", Follow: &until}, at)
	b.kill()
	require.Equal(t, "debug", restart(t, b.data, spool.Limits{}).one.Level())

	store := identity.Open(b.data, "one")
	kept := store.LoadForwarding()
	require.InDelta(t, time.Hour, kept.LevelFor, float64(time.Minute))
	for passed, want := range map[time.Duration]string{59 * time.Minute: "debug", 61 * time.Minute: "off", -1000 * time.Hour: "debug"} {
		f := &Forwarder{o: Options{Store: store}}
		now := at.Add(passed)
		f.resume(now)
		require.Equal(t, want, f.name(now), "after %s", passed)
		require.Equal(t, "off", f.name(now.Add(time.Hour+time.Second)), "a clock that was set back makes no time longer")
		slept := now.Round(0).Add(2 * time.Hour) // by the wall clock alone
		require.Equal(t, "off", f.name(slept))
	}
}

func TestLog_isLimited(t *testing.T) {
	t.Parallel()
	b := newBench(t, spool.Limits{})
	b.ask(protocol.LogSetting{Level: "info"})
	const lines = 3000
	var wg sync.WaitGroup
	for range 3 {
		log := b.Logger()
		wg.Go(func() {
			for range lines / 3 {
				log.Info("many", "x", strings.Repeat("x", 100))
			}
		})
	}
	wg.Wait()
	b.one.Flush()
	got, dropped := b.spooled()
	require.GreaterOrEqual(t, len(got), 500, "so many at once")
	require.Less(t, len(got), 1500, "one a second after that")
	require.EqualValues(t, lines, int64(len(got))+dropped, "each line was sent or counted")
	entries, err := os.ReadDir(b.one.dir())
	require.NoError(t, err)
	require.Empty(t, entries)
}

// TestLog_aKillCostsNothing: what was collected when a process ended arrives, once, whenever that was.
func TestLog_aKillCostsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, spool.Limits{})
	b.ask(protocol.LogSetting{Level: "info"})
	b.Logger().Info("one")
	b.Logger().Info("two")
	entries, err := os.ReadDir(b.one.dir())
	require.NoError(t, err)
	require.Len(t, entries, 1)
	path := filepath.Join(b.one.dir(), entries[0].Name())
	data, err := os.ReadFile(path)
	require.NoError(t, err)

	b.kill()
	next := restart(t, b.data, spool.Limits{})
	require.Eventually(t, func() bool { return next.spool.Len() == 1 }, time.Minute, 5*time.Millisecond)
	next.one.Flush()
	require.NoFileExists(t, path)
	lines, _ := next.spooled()
	require.Equal(t, []string{"[core][info] one", "[core][info] two"}, lines)

	// Killed after the spool had it, before the file was gone, and in the middle of a third line.
	require.NoError(t, os.WriteFile(path, append(data, data[:10]...), 0o600))
	next.kill()
	last := restart(t, b.data, spool.Limits{})
	last.one.Flush()
	require.NoFileExists(t, path)
	again, _ := last.spooled()
	require.Equal(t, lines, again)
}

func TestLog_comesQuicklyWhileSomebodyLooksOn(t *testing.T) {
	t.Parallel()
	b := newBench(t, spool.Limits{})
	b.ask(protocol.LogSetting{Level: "info"})
	b.Logger().Info("before anybody looked")
	dueAt := func() time.Time {
		b.one.mu.Lock()
		defer b.one.mu.Unlock()
		return b.one.due
	}
	before := dueAt()
	later := time.Now().Add(time.Hour)
	b.ask(protocol.LogSetting{Level: "info", Follow: &later})
	require.True(t, dueAt().Before(before))
	require.Eventually(t, func() bool { return b.spool.Len() == 1 }, time.Minute, 5*time.Millisecond)
	b.Logger().Info("and after")
	require.Eventually(t, func() bool { return b.spool.Len() == 2 }, time.Minute, 5*time.Millisecond)
}

func TestLog_countsWhatTheDiskDoesNotTake(t *testing.T) {
	t.Parallel()
	b := newBench(t, spool.Limits{})
	b.ask(protocol.LogSetting{Level: "info"})
	require.NoError(t, os.MkdirAll(identity.Open(b.data, "one").Dir(), 0o700))
	require.NoError(t, os.WriteFile(b.one.dir(), nil, 0o600)) // no folder can be made there
	b.Logger().Info("lost")
	b.Logger().Info("lost as well")
	require.Equal(t, 1, strings.Count(b.file.String(), "log lines are not forwarded"), "said once")
	require.NoError(t, os.Remove(b.one.dir()))
	b.Logger().Info("kept")
	b.one.Flush()
	lines, dropped := b.spooled()
	require.Equal(t, []string{"[core][info] kept"}, lines)
	require.EqualValues(t, 2, dropped)
}

// A device that is away for long keeps the newest lines, and what it gave up is counted, over restarts too.
func TestLog_tellsWhatAFullSpoolHasDropped(t *testing.T) {
	t.Parallel()
	limits := spool.Limits{Reports: 8} // two of them with log lines
	b := newBench(t, limits)
	b.ask(protocol.LogSetting{Level: "info"})
	for _, text := range []string{"one", "two", "three"} {
		b.Logger().Info(text)
		b.one.Flush()
	}
	b.kill()
	next := restart(t, b.data, limits)
	next.Logger().Info("four")
	next.one.Flush()
	lines, dropped := next.spooled()
	require.Equal(t, []string{"[core][info] three", "[core][info] four"}, lines)
	require.EqualValues(t, 1, dropped, "the line of the first report; that of the second is told next")
}

func TestLog_linesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, spool.Limits{})
	b.ask(protocol.LogSetting{Level: "info"})
	for range 60 {
		b.Logger().Info(strings.Repeat("ü<", 3_000))
	}
	b.one.Flush()
	reports := b.spool.Next(1000, 1<<30)
	require.Greater(t, len(reports), 1)
	for _, r := range reports {
		require.NoError(t, r.Validate())
		for _, l := range r.Log.Lines {
			require.LessOrEqual(t, len(l.Message), protocol.MaxLogMessage)
		}
	}
	lines, _ := b.spooled()
	require.Len(t, lines, 60)
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte("0000000d 00000000 {\"dropped\":1}\n"))
	f.Add([]byte(`{"line":{"time":"2026-01-02T03:04:05Z","task":"core","level":"info","message":"m"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := decode(data)
		require.GreaterOrEqual(t, r.Dropped, int64(0))
		require.LessOrEqual(t, len(r.Lines), protocol.MaxLogLines)
	})
}
