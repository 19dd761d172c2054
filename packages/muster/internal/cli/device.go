package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/muster/internal/client"
)

func (a *app) deviceCommand() *cobra.Command {
	return group("device", "Show, admit and manage devices",
		a.deviceListCommand(),
		a.deviceStep("show", "Show a device, by id or host name", "", (*client.Client).Device),
		a.deviceStep("approve", "Let a pending or quarantined device work", "", (*client.Client).ApproveDevice),
		a.deviceStep("revoke", "End a device's identity: it must be enrolled anew", "Revoke", (*client.Client).RevokeDevice),
		a.deviceSoftwareCommand(), a.deviceInventoryCommand(), a.deviceUninstallCommand(), a.deviceModuleCommand(), a.deviceRemoveCommand(),
		a.deviceLogCommand(), a.deviceLogLevelCommand())
}

func (a *app) deviceListCommand() *cobra.Command {
	var f searchFlags
	var group string
	var connected bool
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List devices", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			query := f.query()
			if group != "" {
				g, err := findGroup(c.Context(), api, group)
				if err != nil {
					return err
				}
				query.Set("group", g.ID)
			}
			if c.Flags().Changed("connected") {
				query.Set("connected", strconv.FormatBool(connected))
			}
			items, err := api.Devices(c.Context(), query, limit)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(items))
			for _, d := range items {
				rows = append(rows, []string{
					d.Hostname, d.State, yesNo(d.Connected), strings.TrimSpace(d.OSName + " " + d.OSVersion),
					d.Arch, d.AgentVersion, when(d.LastSeenAt), strconv.Itoa(d.OpenDeployments), d.ID,
				})
			}
			return a.table(items, []string{"HOST", "STATE", "CONNECTED", "SYSTEM", "ARCH", "AGENT", "LAST SEEN", "OPEN", "ID"}, rows)
		},
	}
	f.register(c)
	c.Flags().StringVar(&group, "group", "", "only devices of this group, by `name` or id")
	c.Flags().BoolVar(&connected, "connected", false, "only devices that are connected now (=false: that are not)")
	limitFlag(c, &limit)
	return c
}

// deviceStep does one thing with one device and shows it. With a verb it asks first.
func (a *app) deviceStep(name, short, verb string, step func(*client.Client, context.Context, string) (client.Device, error)) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: name + " DEVICE", Short: short, Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			d, err := findDevice(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			// Scripts have decided already; only a person is asked.
			if verb != "" && a.Terminal {
				if err := a.confirm(verb+" "+d.Hostname+" ("+d.ID+")?", yes); err != nil {
					return err
				}
			}
			if d, err = step(api, c.Context(), d.ID); err != nil {
				return err
			}
			return a.showDevice(d)
		},
	}
	if verb != "" {
		c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	return c
}

func (a *app) showDevice(d client.Device) error {
	fields := []field{
		{"Device", d.Hostname}, {"Id", d.ID}, {"State", d.State}, {"Connected", yesNo(d.Connected)},
		{"System", strings.TrimSpace(d.OSName + " " + d.OSVersion)}, {"Platform", d.OS + "/" + d.Arch}, {"Agent", d.AgentVersion},
		{"Addresses", strings.Join(d.IPs, ", ")}, {"Last seen", when(d.LastSeenAt)}, {"Enrolled", when(d.EnrolledAt)},
		{"Open deployments", strconv.Itoa(d.OpenDeployments)}, {"Open tasks", strconv.Itoa(d.OpenTasks)},
	}
	fields = append(fields, field{"Groups", groupNames(d.Groups)})
	if f := d.Facts; f != nil {
		fields = append(fields, field{"Kernel", f.Kernel}, field{"CPU", f.CPU}, field{"Cores", strconv.Itoa(f.Cores)},
			field{"Memory", size(f.MemoryBytes)}, field{"Hardware addresses", strings.Join(f.MACs, ", ")}, field{"Time zone", f.Timezone},
			field{"Booted", when(&f.BootedAt)}, field{"Allows", strings.Join(f.TasksAllowed, ", ")})
		if f.ClockSkewSeconds != 0 {
			fields = append(fields, field{"Clock", clockSkew(f.ClockSkewSeconds)})
		}
	}
	if f := d.Footprint; f != nil {
		fields = append(fields, field{"Agent costs", footprint(*f)})
	}
	return a.details(d, fields)
}

// footprint says what an agent has cost its computer.
func footprint(f client.Footprint) string {
	return fmt.Sprintf("%s of processor time since %s, %s of memory now, %s at most, %s a task; %s sent, %s received",
		time.Duration(f.CPUMS)*time.Millisecond, when(&f.Since), size(f.RSSBytes), size(f.RSSHighBytes), size(f.TaskHighBytes),
		size(f.SentBytes), size(f.ReceivedBytes))
}

// clockSkew says how far a device's clock is from the server's.
func clockSkew(seconds int64) string {
	skew, word := time.Duration(seconds)*time.Second, "ahead of"
	if skew < 0 {
		word = "behind"
	}
	return skew.Abs().String() + " " + word + " the server's: set the one that is wrong"
}

func (a *app) wakeupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "wakeup DEVICE…", Short: "Ask devices to check in now", Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error { return a.wake(c.Context(), argv) },
	}
}

func (a *app) wake(ctx context.Context, refs []string) error {
	api, err := a.connect()
	if err != nil {
		return err
	}
	type woken struct {
		ID        string `json:"id"`
		Hostname  string `json:"hostname"`
		Connected bool   `json:"connected"`
	}
	out := make([]woken, 0, len(refs))
	for _, ref := range refs {
		d, err := findDevice(ctx, api, ref)
		if err != nil {
			return err
		}
		connected, err := api.Wake(ctx, d.ID)
		if err != nil {
			return err
		}
		out = append(out, woken{d.ID, d.Hostname, connected})
		if connected {
			a.say("%s: told to check in", d.Hostname)
		} else {
			a.say("%s: not connected, checks in by its own schedule", d.Hostname)
		}
	}
	if a.json {
		return a.printJSON(out)
	}
	return nil
}
