package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
	"github.com/muster/muster/packages/protocol"
)

// followFor is how long a device is asked to forward at once; it is asked again before that ends, and stops by
// itself soon after nobody asks any more.
const followFor = 15 * time.Minute

// logFlags narrow what `muster device log` shows.
type logFlags struct {
	follow             bool
	task, level, since string
	grep               string
	limit              int
}

func (a *app) deviceLogCommand() *cobra.Command {
	var f logFlags
	c := &cobra.Command{
		Use: "log DEVICE", Short: "Show the log lines that a device's agent has forwarded",
		Long: `Show the log lines that a device's agent has forwarded to the server, the newest last.

What an agent forwards is set by muster device log-level. With --follow, lines are shown as they come, until
interrupted; with --json as well, each is one line of JSON.`,
		Example: `  muster device log pc-17 --level warn --since 24h
  muster device log pc-17 --task deploy --grep "exit code"
  muster device log pc-17 --follow`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			query, err := a.logQuery(f)
			if err != nil {
				return err
			}
			api, err := a.connect()
			if err != nil {
				return err
			}
			d, err := findDevice(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			query.Set("device_id", d.ID)
			if f.follow {
				return a.followLog(c.Context(), api, d, query, f.limit)
			}
			lines, err := api.Logs(c.Context(), query, f.limit)
			if err != nil {
				return err
			}
			slices.Reverse(lines)
			switch {
			case a.json:
				return a.printJSON(lines)
			case len(lines) == 0:
				a.say("none")
				return nil
			default:
				return a.logLines(lines)
			}
		},
	}
	c.Flags().BoolVarP(&f.follow, "follow", "f", false, "show lines as they come")
	c.Flags().StringVar(&f.task, "task", "", "only lines of this `kind` of task; core is the agent itself")
	c.Flags().StringVar(&f.level, "level", "", "only lines of this `level` and worse: debug, info, warn, error")
	c.Flags().StringVar(&f.since, "since", "", "only lines since a `time`, like 2026-12-01T22:00:00Z, or for so long: 90m, 24h")
	c.Flags().StringVar(&f.grep, "grep", "", "only lines that contain `text`")
	limitFlag(c, &f.limit)
	return c
}

// logQuery is what the flags ask the server for, the newest lines first.
func (a *app) logQuery(f logFlags) (url.Values, error) {
	if f.level != "" && !slices.Contains(protocol.LogLevels, f.level) {
		return nil, usage("--level %q is none of %s", f.level, strings.Join(protocol.LogLevels, ", "))
	}
	q := url.Values{"task": {f.task}, "level": {f.level}, "q": {f.grep}}
	if f.since != "" {
		t, err := time.Parse(time.RFC3339, f.since)
		if err != nil {
			d, err := time.ParseDuration(f.since)
			if err != nil || d < 0 {
				return nil, usage("--since %q is neither a time like 2026-12-01T22:00:00Z nor a duration like 24h", f.since)
			}
			t = a.Now().Add(-d)
		}
		if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
			return nil, usage("--since %q is no time that can be written", f.since)
		}
		q.Set("from", t.Format(time.RFC3339Nano))
	}
	return q, nil
}

// logLines prints lines as an agent writes them.
func (a *app) logLines(lines []client.LogLine) error {
	for _, l := range lines {
		if a.json {
			data, err := json.Marshal(l)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "%s\n", data)
			continue
		}
		fmt.Fprintf(a.Out, "%s [%s][%s] %s\n", when(&l.Time), clean(l.Task), strings.ToUpper(clean(l.Level)), clean(l.Message))
	}
	return nil
}

// tail is a device's log that is followed.
type tail struct {
	app   *app
	api   *client.Client
	id    string
	query url.Values // lines after the last one seen, oldest first
	asked time.Time  // when the device was asked to forward at once
	away  bool       // the server did not answer the last time
}

// followLog shows the newest lines and then each that comes, until ctx ends, which is no error. Events of the
// server are hints to look at once; without them it looks every Poll.
func (a *app) followLog(ctx context.Context, api *client.Client, d client.Device, query url.Values, limit int) error {
	newest, err := api.Logs(ctx, url.Values{"device_id": {d.ID}}, 1) // before the rest, so that nothing is passed over
	if err != nil {
		return err
	}
	lines, err := api.Logs(ctx, query, limit)
	if err != nil {
		return err
	}
	query.Set("order", "oldest")
	switch {
	case len(lines) > 0:
		query.Set("after", lines[0].ID)
	case len(newest) > 0:
		query.Set("after", newest[0].ID)
	}
	slices.Reverse(lines)
	if err := a.logLines(lines); err != nil {
		return err
	}
	n := a.listenTo(ctx, api, func(e client.Event) bool { return e.Type == "log" && (e.DeviceID == "" || e.DeviceID == d.ID) })
	t := &tail{app: a, api: api, id: d.ID, query: query}
	for ctx.Err() == nil {
		err := t.look(ctx)
		if err != nil && !fault.Retryable(err) && ctx.Err() == nil {
			return err
		}
		if err != nil && !t.away && ctx.Err() == nil {
			a.note("muster: %s; waiting for it to come back", sentence(err))
		}
		t.away = err != nil
		pause := a.Poll
		if err == nil && n.connected() {
			pause *= slowdown
		}
		select {
		case <-ctx.Done():
		case <-n.nudge:
		case <-time.After(pause):
		}
	}
	return nil
}

// look shows the lines that have come, and now and then asks the device for more.
func (t *tail) look(ctx context.Context) error {
	if t.app.Now().Sub(t.asked) > followFor/2 {
		setting, err := t.api.FollowDeviceLog(ctx, t.id, followFor)
		if err != nil {
			return err
		}
		t.app.saySilent(setting, t.asked.IsZero())
		t.asked = t.app.Now()
	}
	lines, err := t.api.Logs(ctx, t.query, 0)
	if err != nil {
		return err
	}
	if len(lines) > 0 {
		t.query.Set("after", lines[len(lines)-1].ID)
	}
	return t.app.logLines(lines)
}

// saySilent tells, once, why no lines will come.
func (a *app) saySilent(s client.LogSetting, first bool) {
	switch {
	case !first:
	case !s.Allowed:
		a.note("muster: %s does not forward log lines: its own configuration does not allow this server the task log", s.Hostname)
	case s.Level == protocol.LogOff:
		a.note("muster: %s forwards no log lines; to change that for an hour: muster device log-level %s info --for 1h", s.Hostname, s.Hostname)
	}
}

func (a *app) deviceLogLevelCommand() *cobra.Command {
	var in client.NewLogLevel
	var period time.Duration
	levels := append([]string{"groups", protocol.LogOff}, protocol.LogLevels...)
	c := &cobra.Command{
		Use: "log-level DEVICE [LEVEL]", Short: "Show or set from which level on a device forwards log lines",
		Long: `Show or set from which level on a device's agent forwards its log lines to the server: ` + strings.Join(levels, ", ") + `.

groups leaves it to the device's groups, of which the most talkative level holds; any other level is set on the
device itself and wins over them. A level for some time ends by itself, also when the server cannot be reached then.`,
		Example: `  muster device log-level pc-17 debug --for 1h`,
		Args:    args(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, argv []string) error {
			if len(argv) == 1 && (period != 0 || in.After != "") {
				return usage("--for and --after go with a level")
			}
			if period < 0 || period%time.Second != 0 {
				return usage("--for %s is not a number of seconds", period)
			}
			api, err := a.connect()
			if err != nil {
				return err
			}
			d, err := findDevice(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			var got client.LogSetting
			if len(argv) == 1 {
				got, err = api.DeviceLog(c.Context(), d.ID)
			} else {
				in.Level, in.ForSeconds = argv[1], int(period/time.Second)
				if !slices.Contains(levels, in.Level) {
					return usage("%q is none of %s", in.Level, strings.Join(levels, ", "))
				}
				got, err = api.SetDeviceLog(c.Context(), d.ID, in)
			}
			if err != nil {
				return err
			}
			return a.showLogSetting(got)
		},
	}
	c.Flags().DurationVar(&period, "for", 0, "for how long, at most 168h; 0 is for good")
	c.Flags().StringVar(&in.After, "after", "", "`level` after that time (default: what was set for good before)")
	return c
}

func (a *app) showLogSetting(s client.LogSetting) error {
	level := s.Level
	if s.FromGroups {
		level += ", by its groups"
	}
	if s.Until != nil {
		level += " until " + when(s.Until) + ", then " + s.After
	}
	allowed := "by the device's own configuration"
	if !s.Allowed {
		allowed = "no: the device's own configuration does not allow this server the task log, so no lines come"
	}
	missing := ""
	if s.DroppedByDevice+s.DroppedByServer > 0 {
		missing = fmt.Sprintf("%d were too many for the device, %d for the server", s.DroppedByDevice, s.DroppedByServer)
	}
	return a.details(s, []field{
		{"Device", s.Hostname + " (" + s.DeviceID + ")"}, {"Level", level}, {"Set by", s.SetBy}, {"Followed until", when(s.FollowUntil)},
		{"Allowed", allowed}, {"Lines kept", strconv.FormatInt(s.Lines, 10)}, {"Lines missing", missing},
	})
}
