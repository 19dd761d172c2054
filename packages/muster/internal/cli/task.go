package cli

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/muster/internal/client"
)

func (a *app) taskCommand() *cobra.Command {
	return group("task", "Show and end tasks of devices that are not deployments",
		a.taskListCommand(),
		a.taskStep("show", "Show a task with its timeline", (*client.Client).Task),
		a.taskStep("cancel", "End a task; what the device has begun of it is not stopped", (*client.Client).CancelTask))
}

func (a *app) taskListCommand() *cobra.Command {
	var device, kind, state string
	var open bool
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List tasks, the newest first", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			q := url.Values{"kind": {kind}, "state": {state}}
			if open {
				q.Set("open", "true")
			}
			if device != "" {
				d, err := findDevice(c.Context(), api, device)
				if err != nil {
					return err
				}
				q.Set("device_id", d.ID)
			}
			items, err := api.Tasks(c.Context(), q, limit)
			if err != nil {
				return err
			}
			return a.taskTable(items)
		},
	}
	c.Flags().StringVar(&device, "device", "", "only of this device: host `name` or id")
	c.Flags().StringVar(&kind, "kind", "", "only inventory, update, uninstall, remove or module")
	c.Flags().StringVar(&state, "state", "", "only in this state")
	c.Flags().BoolVar(&open, "open", false, "only those that are not over")
	limitFlag(c, &limit)
	return c
}

func (a *app) taskTable(items []client.Task) error {
	rows := make([][]string, 0, len(items))
	for _, t := range items {
		rows = append(rows, []string{t.Hostname, t.Kind, t.Summary, t.CreatedBy, when(&t.UpdatedAt), t.ID})
	}
	return a.table(items, []string{"HOST", "KIND", "STATE", "BY", "UPDATED", "ID"}, rows)
}

func (a *app) taskStep(name, short string, step func(*client.Client, context.Context, string) (client.Task, error)) *cobra.Command {
	return &cobra.Command{
		Use: name + " ID", Short: short, Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			t, err := step(api, c.Context(), argv[0])
			if err != nil {
				return err
			}
			return a.showTask(t)
		},
	}
}

func (a *app) showTask(t client.Task) error {
	if a.json {
		return a.printJSON(t)
	}
	fields := []field{
		{"Task", t.ID}, {"Kind", t.Kind}, {"Device", t.Hostname + " (" + t.DeviceID + ")"}, {"State", t.Summary}, {"Message", t.Message},
		{"Sections", strings.Join(t.Sections, ", ")}, {"Module", t.Module}, {"Parameters", string(t.Parameters)}, {"Next try", when(t.NextTry)},
		{"Created", when(&t.CreatedAt) + " by " + t.CreatedBy}, {"Finished", when(t.FinishedAt)},
	}
	if t.StopAtFailure {
		fields = append(fields, field{"Stops", "at the first failure"})
	}
	if t.LimitSeconds > 0 {
		fields = append(fields, field{"Limit", (time.Duration(t.LimitSeconds) * time.Second).String() + " a program"})
	}
	fields = append(fields, updateFields(t.Update)...)
	if err := a.fields(fields); err != nil {
		return err
	}
	if rows := programs(t); len(rows) > 0 {
		fmt.Fprintln(a.Out)
		if err := a.table(nil, []string{"PROGRAM", "STATUS", "MESSAGE"}, rows); err != nil {
			return err
		}
	}
	if len(t.Timeline) > 0 {
		rows := make([][]string, 0, len(t.Timeline))
		for _, e := range t.Timeline {
			text := e.Message
			if e.NextAt != nil {
				text = strings.TrimSpace(text + " (next: " + when(e.NextAt) + ")")
			}
			rows = append(rows, []string{when(&e.Time), e.Source, stateWords(e.State, e.Reason), text})
		}
		fmt.Fprintln(a.Out)
		if err := a.table(nil, []string{"TIME", "BY", "STATE", "MESSAGE"}, rows); err != nil {
			return err
		}
	}
	for _, i := range t.Items {
		if i.Output != "" {
			fmt.Fprintf(a.Out, "\nOutput of %s:\n%s\n", clean(i.ID), strings.TrimRight(cleanBlock(i.Output), "\n"))
		}
	}
	return nil
}

// programs is a line for each program of an uninstall task, also for those that have not had their turn.
func programs(t client.Task) [][]string {
	rows := make([][]string, 0, len(t.Software))
	told := map[string]bool{}
	for _, i := range t.Items {
		told[i.ID] = true
		text := i.Message
		if i.ExitCode != nil && !strings.Contains(text, "exit code") {
			text = strings.TrimSpace(text + " exit code " + strconv.Itoa(*i.ExitCode))
		}
		if len(i.Others) > 0 {
			text = strings.TrimSpace(text + " (" + strings.Join(i.Others, ", ") + ")")
		}
		rows = append(rows, []string{i.ID, strings.ReplaceAll(string(i.Status), "_", " "), text})
	}
	for _, key := range t.Software {
		if !told[key] {
			rows = append(rows, []string{key, "", ""})
		}
	}
	return rows
}

// waiting are the flags of commands that can wait for the tasks that they make.
type waiting struct {
	wait    bool
	timeout time.Duration
}

func (w *waiting) register(c *cobra.Command, what string) {
	c.Flags().BoolVar(&w.wait, "wait", false, "wait until "+what)
	c.Flags().DurationVar(&w.timeout, "timeout", 0, "how long to wait; 0 is for ever")
}

func (w *waiting) check() error {
	if w.timeout != 0 && !w.wait || w.timeout < 0 {
		return usage("--timeout is used with --wait, and not negative")
	}
	return nil
}

// watchTasks waits for the end of tasks.
func (a *app) watchTasks(ctx context.Context, api *client.Client, ids []string, timeout time.Duration) error {
	return a.watch(ctx, api, tasksOf(func(ctx context.Context) ([]client.Task, error) { return each(ctx, ids, api.Task) }), timeout)
}

func tasksOf(load func(context.Context) ([]client.Task, error)) watched {
	return watched{"task", func(ctx context.Context) ([]subject, error) {
		found, err := load(ctx)
		out := make([]subject, 0, len(found))
		for _, t := range found {
			out = append(out, subject{t.ID, t.Hostname + "  " + t.Kind, t.Summary, t.State, t})
		}
		return out, err
	}}
}

func (a *app) deviceUninstallCommand() *cobra.Command {
	var in client.NewUninstall
	var limit time.Duration
	var w waiting
	var yes bool
	c := &cobra.Command{
		Use:   "uninstall DEVICE… --software KEY…",
		Short: "Uninstall programs from devices",
		Long: `Uninstall programs from devices, one after another. Programs are named by the keys that
muster device software shows; each device gets those that it has reported.

With --wait, exit code 0: all were removed or not there; 1: at least one was not removed; 4: --timeout ran out.`,
		Example: `  muster device uninstall pc-17 --software 'pkg:deb/debian/nano@7.2-1?arch=amd64' --wait`,
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, refs []string) error {
			if len(in.Software) == 0 {
				return usage("say --software KEY; see: muster device software DEVICE")
			}
			if limit < 0 || limit%time.Second != 0 {
				return usage("--limit %s is not a number of seconds", limit)
			}
			in.LimitSeconds = int(limit / time.Second)
			if err := w.check(); err != nil {
				return err
			}
			return a.uninstall(c.Context(), refs, in, w, yes)
		},
	}
	c.Flags().StringArrayVar(&in.Software, "software", nil, "`key` of a program, repeatable")
	c.Flags().BoolVar(&in.StopAtFailure, "stop-at-failure", false, "leave the rest alone after the first that was not removed")
	c.Flags().DurationVar(&limit, "limit", 0, "how long each program may take (default 10m)")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	w.register(c, "every device is done")
	return c
}

func (a *app) uninstall(ctx context.Context, refs []string, in client.NewUninstall, w waiting, yes bool) error {
	api, err := a.connect()
	if err != nil {
		return err
	}
	var names []string
	for _, ref := range refs {
		d, err := findDevice(ctx, api, ref)
		if err != nil {
			return err
		}
		if !slices.Contains(in.DeviceIDs, d.ID) {
			in.DeviceIDs, names = append(in.DeviceIDs, d.ID), append(names, d.Hostname)
		}
	}
	// Scripts have decided already; only a person is asked.
	if a.Terminal {
		question := "Uninstall " + strings.Join(in.Software, ", ") + " from " + strings.Join(names, ", ") + "?"
		if err := a.confirm(question, yes); err != nil {
			return err
		}
	}
	made, err := api.Uninstall(ctx, in)
	if err != nil {
		return err
	}
	if !w.wait {
		return a.taskTable(made.Tasks)
	}
	ids := make([]string, 0, len(made.Tasks))
	for _, t := range made.Tasks {
		ids = append(ids, t.ID)
	}
	return a.watchTasks(ctx, api, ids, w.timeout)
}

func (a *app) deviceRemoveCommand() *cobra.Command {
	var w waiting
	var yes bool
	c := &cobra.Command{
		Use: "remove DEVICE", Short: "Ask a device's agent to leave this server, and its computer when this was its last",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			if err := w.check(); err != nil {
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
			if a.Terminal {
				if err := a.confirm("Remove the agent from "+d.Hostname+" ("+d.ID+")?", yes); err != nil {
					return err
				}
			}
			t, err := api.RemoveDevice(c.Context(), d.ID)
			if err != nil {
				return err
			}
			if w.wait {
				return a.watchTasks(c.Context(), api, []string{t.ID}, w.timeout)
			}
			return a.showTask(t)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	w.register(c, "the agent has left")
	return c
}
