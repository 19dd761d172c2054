package cli

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/muster/internal/client"
)

func (a *app) updateCommand() *cobra.Command {
	return group("update", "Bring the agents of devices to another release", a.updateStartCommand())
}

func (a *app) updateStartCommand() *cobra.Command {
	var devices []string
	var in client.NewUpdate
	var probation time.Duration
	var w waiting
	c := &cobra.Command{
		Use:   "start RELEASE {--device DEVICE… | --group GROUP}",
		Short: "Bring the agents of devices to a release, by its id or version",
		Long: `Bring the agents of devices to a release, by its id or version.

A device fetches and verifies the release and starts it beside the agent that runs. The new agent must check
in within the probation, or the old one comes back by itself; either way the outcome is reported. Of a group,
devices that cannot have the release or run it already are left out, and named.

With --wait, exit code 0: all devices run the release; 1: at least one does not; 4: --timeout ran out.`,
		Example: `  muster update start 1.1.0 --device pc-17 --probation 10m --wait`,
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			if probation < 0 || probation%time.Second != 0 {
				return usage("--probation %s is not a number of seconds", probation)
			}
			if (len(devices) == 0) == (in.GroupID == "") {
				return usage("say --device DEVICE, once or more, or --group GROUP")
			}
			if err := w.check(); err != nil {
				return err
			}
			in.ProbationSeconds = int(probation / time.Second)
			return a.startUpdate(c.Context(), argv[0], devices, in, w)
		},
	}
	c.Flags().StringArrayVar(&devices, "device", nil, "host `name` or id, repeatable")
	c.Flags().StringVar(&in.GroupID, "group", "", "members of this group, by `name` or id")
	c.Flags().DurationVar(&probation, "probation", 0, "how long the new agent may take until it has checked in (default 10m)")
	w.register(c, "every device is done")
	return c
}

func (a *app) startUpdate(ctx context.Context, ref string, devices []string, in client.NewUpdate, w waiting) error {
	api, err := a.connect()
	if err != nil {
		return err
	}
	r, err := findRelease(ctx, api, ref)
	if err != nil {
		return err
	}
	in.ReleaseID = r.ID
	if in.GroupID != "" {
		g, err := findGroup(ctx, api, in.GroupID)
		if err != nil {
			return err
		}
		in.GroupID = g.ID
	}
	for _, name := range devices {
		d, err := findDevice(ctx, api, name)
		if err != nil {
			return err
		}
		if !slices.Contains(in.DeviceIDs, d.ID) {
			in.DeviceIDs = append(in.DeviceIDs, d.ID)
		}
	}
	made, err := api.StartUpdate(ctx, in)
	if err != nil {
		return err
	}
	for _, l := range made.LeftOut {
		a.note("left out: %s", l.Why)
	}
	all := func(ctx context.Context) ([]client.Task, error) { // the answer does not name all of a large group
		return api.Tasks(ctx, url.Values{"batch_id": {made.BatchID}}, 0)
	}
	if w.wait && made.Made > 0 {
		return a.watch(ctx, api, tasksOf(all), w.timeout)
	}
	if made.Made > len(made.Tasks) {
		if made.Tasks, err = all(ctx); err != nil {
			return err
		}
	}
	return a.taskTable(made.Tasks)
}

// updateFields shows what an update asked for and how it ended.
func updateFields(u *client.Update) []field {
	if u == nil {
		return nil
	}
	fields := []field{{"Release", u.Version + " (" + u.ReleaseID + ")"}, {"Probation", (time.Duration(u.ProbationSeconds) * time.Second).String()}}
	if r := u.Result; r != nil {
		fields = append(fields, field{"Outcome", strings.ReplaceAll(string(r.Outcome), "_", " ")}, field{"From", r.From}, field{"To", r.To})
	}
	return fields
}
