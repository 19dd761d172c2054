package devicelog_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/devicelog"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// live stands for the hub and remembers what it was told.
type live struct {
	mu    sync.Mutex
	woken []string
	logs  []string // devices of which browsers heard that lines arrived
}

func (l *live) Wake(id string) { l.WakeMany([]string{id}) }

func (l *live) WakeMany(ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.woken = append(l.woken, ids...)
}

func (l *live) Notify(e hub.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Type == "log" {
		l.logs = append(l.logs, e.DeviceID)
	}
}

func (l *live) Connected(string) bool  { return false }
func (l *live) ConnectedIDs() []string { return nil }
func (l *live) Disconnect(string)      {}

// take returns who was woken, and of whom lines were told, since the last call.
func (l *live) take() (woken, logs []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	woken, logs = l.woken, l.logs
	l.woken, l.logs = nil, nil
	return woken, logs
}

// env is the feature over a real database.
type env struct {
	t       testing.TB
	svc     *devicelog.Service
	devices *device.Service
	live    *live
	db      *store.DB
}

func newEnv(t testing.TB, db *store.DB, opt devicelog.Options) *env {
	t.Helper()
	e := &env{t: t, live: &live{}, db: db}
	e.devices = device.New(device.Options{DB: db, Live: e.live, Log: slog.New(slog.DiscardHandler)})
	e.restart(opt)
	return e
}

func (e *env) restart(opt devicelog.Options) {
	opt.DB, opt.Live, opt.Devices, opt.Log = e.db, e.live, e.devices, slog.New(slog.DiscardHandler)
	e.svc = devicelog.New(opt)
}

func each(t *testing.T, opt devicelog.Options, fn func(t *testing.T, e *env)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { fn(t, newEnv(t, db, opt)) })
}

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (e *env) enroll(hostname string, approval bool, allowed ...string) string {
	e.t.Helper()
	_, secret, err := e.devices.CreateToken(e.t.Context(), device.Token{Name: "t", NeedsApproval: approval, ExpiresAt: time.Now().Add(time.Hour)})
	require.NoError(e.t, err)
	d, err := e.devices.Enroll(e.t.Context(), protocol.EnrollRequest{
		Token: secret, Nonce: random(), SecretSHA256: protocol.HashSecret(random()), Facts: protocol.Facts{Hostname: hostname, TasksAllowed: allowed},
	}, "127.0.0.1")
	require.NoError(e.t, err)
	return d.ID
}

func (e *env) device(hostname string) string { return e.enroll(hostname, false) }

func line(at time.Time, level, task, message string) protocol.LogLine {
	return protocol.LogLine{Time: at, Level: level, Task: task, Message: message}
}

// lines are those of the messages, a second apart, the last one at the time.
func lines(last time.Time, messages ...string) (out []protocol.LogLine) {
	for i, m := range messages {
		out = append(out, line(last.Add(time.Duration(i+1-len(messages))*time.Second), "info", "core", m))
	}
	return out
}

func report(lines ...protocol.LogLine) protocol.Report {
	id, err := uuid.NewV7()
	if err != nil {
		return protocol.Report{}
	}
	return protocol.Report{ID: id.String(), Kind: protocol.ReportLog, Time: time.Now(), Log: &protocol.LogReport{Lines: lines}}
}

// say sends reports that must be acknowledged.
func (e *env) say(deviceID string, reports ...protocol.Report) {
	e.t.Helper()
	ack, err := e.svc.Ingest(e.t.Context(), deviceID, reports)
	require.NoError(e.t, err)
	require.Empty(e.t, ack.Refused)
	require.Len(e.t, ack.IDs, len(reports))
}

// list shows lines as "host level task message"; it follows the pages.
func (e *env) list(f devicelog.Filter) (out []string) {
	e.t.Helper()
	if f.Limit == 0 {
		f.Limit = 1000
	}
	for {
		found, err := e.svc.List(context.Background(), f)
		require.NoError(e.t, err)
		require.LessOrEqual(e.t, len(found.Lines), f.Limit)
		for _, l := range found.Lines {
			out = append(out, strings.Join([]string{l.Hostname, l.Level, l.Task, l.Message}, " "))
		}
		if found.Next == "" {
			return out
		}
		f.After = found.Next
	}
}

func TestIngest_keepsEachReportOnce(t *testing.T) {
	t.Parallel()
	each(t, devicelog.Options{}, func(t *testing.T, e *env) {
		now := time.Now()
		id := e.device("pc")
		first, second := report(lines(now.Add(-time.Minute), "a", "b")...), report(lines(now, "c", "d")...)
		second.Log.Dropped = 7
		e.say(id, first, first)
		e.say(id, second, first)
		e.say(id, second)
		gap := "pc warn core 7 lines before this one were not forwarded by the device: there were too many"
		want := []string{"pc info core a", "pc info core b", gap, "pc info core c", "pc info core d"}
		require.Equal(t, want, e.list(devicelog.Filter{DeviceID: id, Oldest: true}))
		_, logs := e.live.take()
		require.Equal(t, []string{id, id}, logs, "browsers hear of lines that are new")
		got, err := e.svc.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, []int64{5, 7, 0}, []int64{got.Lines, got.DroppedByDevice, got.DroppedByServer})

		other := e.device("other") // whose report has the same id
		e.say(other, first)
		require.Len(t, e.list(devicelog.Filter{DeviceID: other}), 2)
		e.say(id, report())
		require.Len(t, e.list(devicelog.Filter{}), 7)
	})
}

func TestIngest_manyAtOnce(t *testing.T) {
	t.Parallel()
	each(t, devicelog.Options{}, func(t *testing.T, e *env) {
		other := newEnv(t, e.db, devicelog.Options{}) // a second node
		id, second := e.device("a"), e.device("b")
		var wg sync.WaitGroup
		for i := range 40 {
			r := report(lines(time.Now(), fmt.Sprint("line ", i), "x")...)
			for _, node := range []*env{e, other} {
				wg.Go(func() {
					for _, d := range []string{id, second} {
						ack, err := node.svc.Ingest(context.Background(), d, []protocol.Report{r})
						if err != nil || len(ack.IDs) != 1 {
							t.Errorf("ingest: %v %v", ack, err)
						}
					}
				})
			}
		}
		wg.Wait()
		for _, d := range []string{id, second} {
			require.Len(t, e.list(devicelog.Filter{DeviceID: d, Limit: 30}), 80)
			got, err := e.svc.Get(t.Context(), d)
			require.NoError(t, err)
			require.EqualValues(t, 80, got.Lines)
		}
	})
}

func TestIngest_refusesAndCleans(t *testing.T) {
	t.Parallel()
	each(t, devicelog.Options{}, func(t *testing.T, e *env) {
		id := e.device("pc")
		now := time.Now()
		bad := report(line(now, "loud", "core", "x"))
		odd := report(line(now, "info", "core", "x"))
		odd.ID = strings.Repeat("x", 500)
		many := report(make([]protocol.LogLine, protocol.MaxLogLines+1)...)
		good := report(
			line(now, "error", "de\x1bploy", "red \x1b[31m\u202e\xff alert\nnext"), line(time.Time{}, "info", "", strings.Repeat("ä", 5000)),
			line(now.Add(1000*time.Hour), "info", "core", "tomorrow"), line(now.Add(-90*24*time.Hour), "info", "core", "long ago"),
		)
		good.Log.Dropped = -5
		ack, err := e.svc.Ingest(t.Context(), id, []protocol.Report{bad, odd, many, good})
		require.NoError(t, err)
		require.Equal(t, []string{good.ID}, ack.IDs)
		require.Len(t, ack.Refused, 3)
		for _, r := range ack.Refused {
			require.LessOrEqual(t, len(r.ID), 64)
		}
		found, err := e.svc.List(t.Context(), devicelog.Filter{DeviceID: id, Oldest: true, Limit: 10})
		require.NoError(t, err)
		require.Len(t, found.Lines, 4)
		require.Equal(t, []string{"deploy", "red [31m alert next"}, []string{found.Lines[0].Task, found.Lines[0].Message})
		require.Len(t, found.Lines[1].Message, protocol.MaxLogMessage)
		for _, l := range found.Lines[1:3] {
			require.WithinDuration(t, now, l.Time, time.Minute, "a time that cannot be true is that of arrival")
		}
		require.WithinDuration(t, now.Add(-90*24*time.Hour), found.Lines[3].Time, time.Minute)
		require.NoError(t, e.svc.Clean(t.Context(), store.Now()))
		require.Len(t, e.list(devicelog.Filter{DeviceID: id}), 4, "a device whose clock is wrong keeps its lines as long as others")
	})
}

func TestIngest_whoseLinesAreTaken(t *testing.T) {
	t.Parallel()
	each(t, devicelog.Options{}, func(t *testing.T, e *env) {
		id := e.enroll("pc", true)
		taken := func() bool {
			ack, err := e.svc.Ingest(t.Context(), id, []protocol.Report{report(lines(time.Now(), "x")...)})
			require.NoError(t, err)
			if len(ack.Refused) == 1 {
				require.Equal(t, string(fault.Forbidden), ack.Refused[0].Code)
			}
			return len(ack.IDs) == 1
		}
		require.False(t, taken(), "who waits for approval sends inventories only")
		_, err := e.devices.Approve(t.Context(), id)
		require.NoError(t, err)
		require.True(t, taken())
		require.NoError(t, e.db.Exec("UPDATE devices SET state = 'quarantined'").Error)
		require.True(t, taken())
		_, err = e.devices.Revoke(t.Context(), id)
		require.NoError(t, err)
		require.False(t, taken())
		require.Len(t, e.list(devicelog.Filter{}), 2)
	})
}

func TestIngest_boundsTheLinesOfAnHour(t *testing.T) {
	t.Parallel()
	now := store.Now().Truncate(time.Hour)
	each(t, devicelog.Options{MaxHourly: 5}, func(t *testing.T, e *env) {
		now := now
		e.restart(devicelog.Options{MaxHourly: 5, Now: func() time.Time { return now }})
		id := e.device("pc")
		second := report(lines(now, "5", "6", "7")...)
		e.say(id, report(lines(now, "1", "2", "3", "4")...))
		e.say(id, second)
		e.say(id, second, report(lines(now, "8", "9")...))
		want := []string{"pc info core 1", "pc info core 2", "pc info core 3", "pc info core 4", "pc info core 5"}
		require.Equal(t, want, e.list(devicelog.Filter{DeviceID: id, Oldest: true}))
		got, err := e.svc.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, []int64{5, 0, 4}, []int64{got.Lines, got.DroppedByDevice, got.DroppedByServer})

		now = now.Add(time.Hour)
		e.say(id, report(lines(now, "10")...))
		want = append(want, "pc warn core 4 lines of this device were not kept here: there were over 5 in an hour", "pc info core 10")
		require.Equal(t, want, e.list(devicelog.Filter{DeviceID: id, Oldest: true}))
	})
}

func TestList_filtersAndPages(t *testing.T) {
	t.Parallel()
	each(t, devicelog.Options{Window: 8}, func(t *testing.T, e *env) {
		now := store.Now().Add(-time.Hour)
		at := func(second int) time.Time { return now.Add(time.Duration(second) * time.Second) }
		a, b := e.device("a"), e.device("b")
		e.say(a, report(line(at(1), "info", "core", "one"), line(at(3), "error", "deploy", "disk FULL: 100%"), line(at(5), "debug", "deploy", "five")))
		e.say(b, report(line(at(2), "warn", "inventory", "two"), line(at(4), "info", "core", "four_"), line(at(4), "debug", "core", "again"))) // one time twice
		all := []string{"a info core one", "b warn inventory two", "a error deploy disk FULL: 100%", "b info core four_", "b debug core again", "a debug deploy five"}
		for _, limit := range []int{1, 2, 5, 6, 100} {
			require.Equal(t, all, e.list(devicelog.Filter{Oldest: true, Limit: limit}), "limit %d", limit)
			newest := e.list(devicelog.Filter{Limit: limit})
			slices.Reverse(newest)
			require.Equal(t, all, newest, "limit %d", limit)
		}
		for name, c := range map[string]struct {
			f    devicelog.Filter
			want []int
		}{
			"device":              {devicelog.Filter{DeviceID: a}, []int{0, 2, 5}},
			"device and level":    {devicelog.Filter{DeviceID: a, Level: "info"}, []int{0, 2}},
			"level":               {devicelog.Filter{Level: "warn"}, []int{1, 2}},
			"task":                {devicelog.Filter{Task: "deploy"}, []int{2, 5}},
			"text":                {devicelog.Filter{Text: "Full: 100%"}, []int{2}},
			"text is no pattern":  {devicelog.Filter{Text: "r_"}, []int{3}},
			"from":                {devicelog.Filter{From: at(4)}, []int{3, 4, 5}},
			"to":                  {devicelog.Filter{To: at(4)}, []int{0, 1, 2}},
			"from, to and text":   {devicelog.Filter{From: at(2), To: at(5), Text: "o"}, []int{1, 3}},
			"nothing in between":  {devicelog.Filter{From: at(9), To: at(4)}, nil},
			"an unknown device":   {devicelog.Filter{DeviceID: uuid.NewString()}, nil},
			"far away":            {devicelog.Filter{From: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
			"everything there is": {devicelog.Filter{From: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, []int{0, 1, 2, 3, 4, 5}},
		} {
			var want []string
			for _, i := range c.want {
				want = append(want, all[i])
			}
			c.f.Oldest = true
			require.Equal(t, want, e.list(c.f), name)
			c.f.Oldest = false
			found := e.list(c.f)
			slices.Reverse(found)
			require.Equal(t, want, found, name)
		}
		_, err := e.svc.List(t.Context(), devicelog.Filter{After: "x", Limit: 1})
		require.True(t, fault.Is(err, fault.Invalid))
	})
}

// A search for what is rare looks at a bounded number of lines, says how far it has come, and goes on there.
func TestList_aSearchIsBounded(t *testing.T) {
	t.Parallel()
	each(t, devicelog.Options{Window: 40}, func(t *testing.T, e *env) {
		now := store.Now().Add(-time.Hour)
		id := e.device("pc")
		var all []protocol.LogLine
		for i := range 200 {
			message := "hay"
			if i == 3 || i == 190 {
				message = fmt.Sprint("needle ", i)
			}
			all = append(all, line(now.Add(time.Duration(i)*time.Second), "info", "core", message))
		}
		e.say(id, report(all...))
		for _, f := range []devicelog.Filter{{Text: "needle", Limit: 10}, {DeviceID: id, Text: "needle", Limit: 10}} {
			found, err := e.svc.List(t.Context(), f)
			require.NoError(t, err)
			require.Len(t, found.Lines, 1)
			require.Equal(t, "needle 190", found.Lines[0].Message)
			require.NotNil(t, found.Until)
			require.True(t, found.Until.After(now) && found.Until.Before(found.Lines[0].Time), "it has not looked at all")
			searches := 1
			for f.After = found.Next; f.After != ""; f.After = found.Next {
				found, err = e.svc.List(t.Context(), f)
				require.NoError(t, err)
				searches++
			}
			require.Greater(t, searches, 3)
			require.Nil(t, found.Until, "the last one has looked at all")
			f.After = ""
			require.Equal(t, []string{"pc info core needle 190", "pc info core needle 3"}, e.list(f))
			f.Oldest = true
			require.Equal(t, []string{"pc info core needle 3", "pc info core needle 190"}, e.list(f))
		}
	})
}

// Who follows a device reads on after the last line seen, also when the device's clock is set back meanwhile.
func TestList_following(t *testing.T) {
	t.Parallel()
	each(t, devicelog.Options{}, func(t *testing.T, e *env) {
		now := store.Now()
		id := e.device("pc")
		e.say(id, report(lines(now, "a", "b")...))
		found, err := e.svc.List(t.Context(), devicelog.Filter{DeviceID: id, Limit: 1})
		require.NoError(t, err)
		last := found.Lines[0].ID
		e.say(id, report(lines(now.Add(-48*time.Hour), "c", "d")...))
		require.Equal(t, []string{"pc info core c", "pc info core d"}, e.list(devicelog.Filter{DeviceID: id, Oldest: true, After: last}))
	})
}

func TestClean_keepsTheNewestAndTheYoung(t *testing.T) {
	t.Parallel()
	each(t, devicelog.Options{Keep: 24 * time.Hour, MaxLines: 550}, func(t *testing.T, e *env) {
		now := store.Now()
		many, few := e.device("many"), e.device("few")
		var reports []protocol.Report
		for i := range 6 {
			r := report()
			for j := range 200 {
				r.Log.Lines = append(r.Log.Lines, line(now.Add(time.Duration(i*200+j-1300)*time.Second), "info", "core", fmt.Sprint(i*200+j)))
			}
			reports = append(reports, r)
		}
		e.say(many, reports...)
		old := report(lines(now.Add(-23*time.Hour), "old")...)
		young := report(lines(now, "young")...)
		e.say(few, old, young)
		require.NoError(t, e.svc.Clean(t.Context(), now))
		kept := e.list(devicelog.Filter{DeviceID: many, Oldest: true})
		require.Len(t, kept, 550)
		require.Equal(t, []string{"many info core 650", "many info core 1199"}, []string{kept[0], kept[549]})
		e.say(many, reports[3:]...)
		require.Equal(t, kept, e.list(devicelog.Filter{DeviceID: many, Oldest: true}), "a report is known as long as any of its lines is kept")

		later := now.Add(2 * time.Hour)
		require.NoError(t, e.svc.Clean(t.Context(), later))
		require.Equal(t, []string{"few info core young"}, e.list(devicelog.Filter{DeviceID: few}))
		require.NoError(t, e.svc.Clean(t.Context(), later.Add(48*time.Hour)))
		require.Empty(t, e.list(devicelog.Filter{}))
		for _, id := range []string{many, few} {
			got, err := e.svc.Get(t.Context(), id)
			require.NoError(t, err)
			require.Zero(t, got.Lines)
		}
		var left int64
		require.NoError(t, e.db.Table("log_reports").Count(&left).Error)
		require.Zero(t, left)
		e.say(few, report(lines(now, "again")...))
		require.Len(t, e.list(devicelog.Filter{}), 1)
	})
}

func TestSetting(t *testing.T) {
	t.Parallel()
	each(t, devicelog.Options{}, func(t *testing.T, e *env) {
		id := e.enroll("pc", false, protocol.TaskDeploy, protocol.TaskLog)
		denies := e.device("denies")
		get := func(id string) devicelog.Setting {
			got, err := e.svc.Get(t.Context(), id)
			require.NoError(t, err)
			return got
		}
		require.Equal(t, devicelog.Setting{DeviceID: id, Hostname: "pc", Level: "off", FromGroups: true, Allowed: true}, get(id))
		require.False(t, get(denies).Allowed)

		_, err := e.svc.SetFor(t.Context(), id, "debug", time.Hour, "error", "ann")
		require.NoError(t, err)
		woken, _ := e.live.take()
		require.Equal(t, []string{id}, woken)
		got := get(id)
		require.Equal(t, []string{"debug", "error", "ann"}, []string{got.Level, got.After, got.SetBy})
		require.WithinDuration(t, time.Now().Add(time.Hour), *got.Until, time.Minute)

		_, err = e.svc.Follow(t.Context(), id, time.Hour)
		require.NoError(t, err)
		got, err = e.svc.Follow(t.Context(), id, time.Minute)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(time.Hour), *got.FollowUntil, time.Minute, "somebody else follows for longer")
		woken, _ = e.live.take()
		require.Equal(t, []string{id}, woken)

		for _, bad := range []struct {
			level, after string
			period       time.Duration
		}{{"loud", "", 0}, {"info", "off", 0}, {"info", "loud", time.Hour}} {
			_, err = e.svc.SetFor(t.Context(), id, bad.level, bad.period, bad.after, "ann")
			require.True(t, fault.Is(err, fault.Invalid), "%v", bad)
		}
		_, err = e.devices.Revoke(t.Context(), id)
		require.NoError(t, err)
		_, err = e.svc.SetFor(t.Context(), id, "info", 0, "", "ann")
		require.True(t, fault.Is(err, fault.Conflict))
		_, err = e.svc.Follow(t.Context(), id, time.Minute)
		require.True(t, fault.Is(err, fault.Conflict))
		require.Equal(t, "debug", get(id).Level, "a revoked device keeps what it had")
	})
}

// A level that is set on the device itself wins over that of its groups, which holds before, after and without it.
func TestSetting_ofGroups(t *testing.T) {
	t.Parallel()
	each(t, devicelog.Options{}, func(t *testing.T, e *env) {
		id := e.enroll("pc", false, protocol.TaskLog)
		require.NoError(t, e.db.Exec("UPDATE devices SET log_group_level = 'warn' WHERE id = ?", id).Error)
		set := func(level string, period time.Duration, after string) devicelog.Setting {
			t.Helper()
			got, err := e.svc.SetFor(t.Context(), id, level, period, after, "ann")
			require.NoError(t, err)
			return got
		}
		got, err := e.svc.Get(t.Context(), id)
		require.NoError(t, err)
		require.True(t, got.FromGroups)
		require.Equal(t, "warn", got.Level)

		got = set("debug", time.Hour, "")
		require.False(t, got.FromGroups)
		require.Equal(t, []string{"debug", "warn"}, []string{got.Level, got.After}, "then the groups' level holds again")
		require.NoError(t, e.db.Exec("UPDATE devices SET log_group_level = 'error' WHERE id = ?", id).Error)
		got = set("info", time.Hour, "")
		require.Equal(t, "error", got.After, "as it is then, not as it was")
		require.NoError(t, e.db.Exec("UPDATE devices SET log_until = ? WHERE id = ?", time.Now().Add(-time.Hour).UTC(), id).Error)
		got, err = e.svc.Get(t.Context(), id)
		require.NoError(t, err)
		require.True(t, got.FromGroups)
		require.Equal(t, "error", got.Level)

		require.Equal(t, "off", set("off", 0, "").Level, "also off is set on the device itself")
		got = set("info", time.Hour, "")
		require.Equal(t, "off", got.After)
		require.Equal(t, "error", set("info", time.Hour, devicelog.LogGroups).After)
		got = set(devicelog.LogGroups, 0, "")
		require.True(t, got.FromGroups)
		require.Equal(t, "error", got.Level)
		_, err = e.svc.SetFor(t.Context(), id, devicelog.LogGroups, time.Hour, "", "ann")
		require.True(t, fault.Is(err, fault.Invalid))
	})
}
