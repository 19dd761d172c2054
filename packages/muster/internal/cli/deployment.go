package cli

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/muster/internal/client"
	"github.com/muster/muster/packages/protocol"
)

func (a *app) deploymentCommand() *cobra.Command {
	return group("deployment", "Show and steer deployments",
		a.deploymentListCommand(), a.deploymentShowCommand(), a.deploymentWatchCommand(),
		a.deploymentStep("retry", "Begin a new attempt", (*client.Client).RetryDeployment),
		a.deploymentStep("cancel", "End a deployment", (*client.Client).CancelDeployment))
}

// filter are the flags that choose deployments.
type filter struct {
	device, pkg, assignment, state string
	open                           bool
}

func (f *filter) register(c *cobra.Command) {
	c.Flags().StringVar(&f.device, "device", "", "only of this device: host `name` or id")
	c.Flags().StringVar(&f.pkg, "package", "", "only of this package: `name`, name@version or id")
	c.Flags().StringVar(&f.assignment, "assignment", "", "only of this assignment, `id`")
}

func (f *filter) query(ctx context.Context, api *client.Client) (url.Values, error) {
	q := url.Values{"assignment_id": {f.assignment}, "state": {f.state}}
	if f.open {
		q.Set("open", "true")
	}
	if f.device != "" {
		d, err := findDevice(ctx, api, f.device)
		if err != nil {
			return nil, err
		}
		q.Set("device_id", d.ID)
	}
	if f.pkg != "" {
		p, err := findPackage(ctx, api, f.pkg)
		if err != nil {
			return nil, err
		}
		q.Set("package_id", p.ID)
	}
	return q, nil
}

func (a *app) deploymentListCommand() *cobra.Command {
	var f filter
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List deployments", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			q, err := f.query(c.Context(), api)
			if err != nil {
				return err
			}
			items, err := api.Deployments(c.Context(), q, limit)
			if err != nil {
				return err
			}
			return a.deploymentTable(items)
		},
	}
	f.register(c)
	c.Flags().StringVar(&f.state, "state", "", "only in this state")
	c.Flags().BoolVar(&f.open, "open", false, "only those that are not over")
	limitFlag(c, &limit)
	return c
}

func (a *app) deploymentTable(items []client.Deployment) error {
	rows := make([][]string, 0, len(items))
	for _, d := range items {
		rows = append(rows, []string{d.Hostname, d.PackageName, d.PackageVersion, strconv.Itoa(d.Priority), summary(d), strconv.Itoa(d.Attempt), when(&d.UpdatedAt), d.ID})
	}
	return a.table(items, []string{"HOST", "PACKAGE", "VERSION", "PRIORITY", "STATE", "ATTEMPT", "UPDATED", "ID"}, rows)
}

// summary is where a deployment stands, in words.
func summary(d client.Deployment) string {
	s := d.Summary
	if s == "" {
		s = stateWords(d.State, d.Reason)
	}
	if p := d.Progress; p != nil && p.Total > 0 && !d.State.Final() {
		s += fmt.Sprintf(", %s of %s", size(p.Done), size(p.Total))
	}
	return s
}

func stateWords(s protocol.State, r protocol.Reason) string {
	words := strings.ReplaceAll(string(s), "_", " ")
	if r != "" {
		words += " (" + strings.ReplaceAll(string(r), "_", " ") + ")"
	}
	return words
}

// stepWords names the state of a step, with the reason where people look it up or nothing else says it.
func stepWords(e client.TimelineEntry) string {
	switch e.State {
	case protocol.StateRefused, protocol.StateFailed, protocol.StateInterrupted:
		if e.Reason != protocol.ReasonExitCode {
			return stateWords(e.State, e.Reason)
		}
	default:
		if e.Message == "" {
			return stateWords(e.State, e.Reason)
		}
	}
	return stateWords(e.State, "")
}

func (a *app) deploymentShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a deployment with its timeline", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			d, err := api.Deployment(c.Context(), argv[0])
			if err != nil {
				return err
			}
			return a.showDeployment(d)
		},
	}
}

func (a *app) deploymentStep(name, short string, step func(*client.Client, context.Context, string) (client.Deployment, error)) *cobra.Command {
	return &cobra.Command{
		Use: name + " ID", Short: short, Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			d, err := step(api, c.Context(), argv[0])
			if err != nil {
				return err
			}
			return a.showDeployment(d)
		},
	}
}

func (a *app) showDeployment(d client.Deployment) error {
	if a.json {
		return a.printJSON(d)
	}
	fields := []field{
		{"Deployment", d.ID}, {"Package", d.PackageName + " " + d.PackageVersion}, {"Device", d.Hostname + " (" + d.DeviceID + ")"},
		{"State", summary(d)}, {"Message", d.Message}, {"Waits for", d.WaitsFor}, {"Attempt", strconv.Itoa(d.Attempt)}, {"Priority", strconv.Itoa(d.Priority)},
		{"Assignment", d.AssignmentID}, {"Not before", when(d.NotBefore)}, {"Created", when(&d.CreatedAt)}, {"Finished", when(d.FinishedAt)},
	}
	if d.ExitCode != nil {
		fields = append(fields, field{"Exit code", strconv.Itoa(*d.ExitCode)})
	}
	if err := a.fields(fields); err != nil {
		return err
	}
	if len(d.Timeline) > 0 {
		rows := make([][]string, 0, len(d.Timeline))
		for _, e := range d.Timeline {
			rows = append(rows, []string{when(&e.Time), e.Source, strconv.Itoa(e.Attempt), stepWords(e), timelineText(e)})
		}
		fmt.Fprintln(a.Out)
		if err := a.table(nil, []string{"TIME", "BY", "ATTEMPT", "STATE", "MESSAGE"}, rows); err != nil {
			return err
		}
	}
	if d.Output != "" {
		fmt.Fprintf(a.Out, "\nOutput:\n%s\n", strings.TrimRight(cleanBlock(d.Output), "\n"))
	}
	return nil
}

func timelineText(e client.TimelineEntry) string {
	s := e.Message
	if e.ExitCode != nil && !strings.Contains(s, "exit code") {
		s = strings.TrimSpace(s + " exit code " + strconv.Itoa(*e.ExitCode))
	}
	if e.WaitsFor != "" && !strings.Contains(s, e.WaitsFor) {
		s = strings.TrimSpace(s + " waits for: " + e.WaitsFor)
	}
	if e.NextAt != nil {
		s = strings.TrimSpace(s + " (next: " + when(e.NextAt) + ")")
	}
	return s
}

func (a *app) deploymentWatchCommand() *cobra.Command {
	var f filter
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "watch [ID…]",
		Short: "Follow deployments until they are over",
		Long: `Follow deployments, given by id or chosen by a flag, until every one is over.

Exit code 0: all succeeded or do not apply; 1: at least one did not; 4: --timeout ran out.`,
		RunE: func(c *cobra.Command, ids []string) error {
			chosen := f.device != "" || f.pkg != "" || f.assignment != ""
			if chosen == (len(ids) > 0) {
				return usage("say either ids, or --assignment, --package or --device")
			}
			if timeout < 0 {
				return usage("--timeout %s is negative", timeout)
			}
			api, err := a.connect()
			if err != nil {
				return err
			}
			t := target{ids: ids}
			if chosen {
				if t.query, err = f.query(c.Context(), api); err != nil {
					return err
				}
			}
			return a.watch(c.Context(), api, t.watched(api), timeout)
		},
	}
	f.register(c)
	c.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait; 0 is for ever")
	return c
}
