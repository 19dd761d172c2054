package cli

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/muster/internal/client"
)

func (a *app) groupCommand() *cobra.Command {
	return group("group", "Keep lists of devices and saved searches",
		a.groupListCommand(), a.groupShowCommand(), a.groupCreateCommand(), a.groupChangeCommand(), a.groupDeleteCommand(),
		a.groupMembersCommand(),
		a.groupDevicesCommand("add", "Add devices to a list", (*client.Client).AddMembers),
		a.groupDevicesCommand("remove", "Take devices off a list", (*client.Client).RemoveMembers))
}

func (a *app) groupListCommand() *cobra.Command {
	var q, kind string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List groups", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			items, err := api.Groups(c.Context(), url.Values{"q": {q}, "kind": {kind}}, limit)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(items))
			for _, g := range items {
				rows = append(rows, []string{g.Name, g.Kind, strconv.Itoa(g.Members), g.LogLevel, g.Description, g.ID})
			}
			return a.table(items, []string{"NAME", "KIND", "MEMBERS", "LOG", "DESCRIPTION", "ID"}, rows)
		},
	}
	c.Flags().StringVar(&q, "search", "", "only groups that contain `text`")
	c.Flags().StringVar(&kind, "kind", "", "only static or search")
	limitFlag(c, &limit)
	return c
}

func (a *app) groupShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show GROUP", Short: "Show a group, by id or name", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			g, err := findGroup(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			return a.showGroup(g)
		},
	}
}

func (a *app) showGroup(g client.Group) error {
	fields := []field{
		{"Group", g.Name}, {"Id", g.ID}, {"Kind", g.Kind}, {"Description", g.Description}, {"Members", strconv.Itoa(g.Members)},
		{"Log level", g.LogLevel}, {"Release", g.ReleaseID}, {"Created", when(&g.CreatedAt) + " by " + g.CreatedBy},
	}
	if g.Kind == "search" {
		fields = slices.Insert(fields, 3, field{"Finds", searchWords(g.Search)})
	}
	return a.details(g, fields)
}

// groupFlags are what a group is made of.
type groupFlags struct {
	searchFlags
	name, description, level, release string
	every                             bool
}

func (f *groupFlags) register(c *cobra.Command) {
	f.searchFlags.register(c)
	c.Flags().BoolVar(&f.every, "every", false, "a saved search that finds every device")
	c.Flags().StringVar(&f.description, "description", "", "what it is for")
	c.Flags().StringVar(&f.level, "log-level", "", "members forward log lines of this `level` and worse: debug, info, warn, error; none ends that")
	c.Flags().StringVar(&f.release, "release", "", "members become this `release` of the agent, by id or version; none ends that")
}

// none ends what a group has set.
const none = "none"

// change is what the flags that are given say.
func (f *groupFlags) change(ctx context.Context, api *client.Client, c *cobra.Command) (client.GroupChange, error) {
	var out client.GroupChange
	if c.Flags().Changed("name") {
		out.Name = &f.name
	}
	if c.Flags().Changed("description") {
		out.Description = &f.description
	}
	if search := f.body(); f.every || len(search) > 0 {
		out.Search = search
	}
	if c.Flags().Changed("log-level") {
		if out.LogLevel = &f.level; f.level == none {
			out.LogLevel = new(string)
		}
	}
	if f.release == none {
		out.ReleaseID = new(string)
	} else if f.release != "" {
		r, err := findRelease(ctx, api, f.release)
		if err != nil {
			return out, err
		}
		out.ReleaseID = &r.ID
	}
	return out, nil
}

func (a *app) groupCreateCommand() *cobra.Command {
	var f groupFlags
	var preview bool
	c := &cobra.Command{
		Use: "create NAME [DEVICE…]", Short: "Make a group: a list of devices, or a saved search",
		Long: `Make a group: a list of devices, or a saved search.

With flags that say which devices are looked for, as muster device list has them, the group is a saved search: its
members are what it finds, and change by themselves. With --preview, what the search finds is shown, and nothing is
made.`,
		Example: `  muster group create "Room 3" pc-17 pc-18
  muster group create "Old Firefox" --software firefox-esr --software-below 128.3.0esr-1
  muster group create Pilots pc-17 --release 1.1.0 --log-level info`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			in, err := f.change(c.Context(), api, c)
			if err != nil {
				return err
			}
			if preview {
				return a.previewGroup(c.Context(), api, in.Search)
			}
			in.Name = &argv[0]
			if in.DeviceIDs, err = deviceIDs(c.Context(), api, argv[1:]); err != nil {
				return err
			}
			g, err := api.CreateGroup(c.Context(), in)
			if err != nil {
				return err
			}
			return a.showGroup(g)
		},
	}
	f.register(c)
	c.Flags().BoolVar(&preview, "preview", false, "show what the search finds, and make nothing")
	return c
}

func (a *app) previewGroup(ctx context.Context, api *client.Client, search map[string]any) error {
	if search == nil {
		return usage("--preview goes with what is looked for, or with --every")
	}
	found, err := api.PreviewGroup(ctx, search, 50)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(found)
	}
	if err := a.memberTable(found.Devices); err != nil {
		return err
	}
	a.note("%s in all", count(found.Count, "device"))
	return nil
}

func (a *app) groupChangeCommand() *cobra.Command {
	var f groupFlags
	c := &cobra.Command{
		Use: "change GROUP", Short: "Change a group; its members follow",
		Long: `Change a group; its members follow.

Flags that say which devices are looked for take the place of the present search, all of it.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			in, err := f.change(c.Context(), api, c)
			if err != nil {
				return err
			}
			g, err := findGroup(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			if g, err = api.ChangeGroup(c.Context(), g.ID, in); err != nil {
				return err
			}
			return a.showGroup(g)
		},
	}
	f.register(c)
	c.Flags().StringVar(&f.name, "name", "", "another name")
	return c
}

func (a *app) groupDeleteCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete GROUP", Short: "Delete a group; its devices stay, and what it had set for them ends", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			g, err := findGroup(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			if a.Terminal {
				if err := a.confirm("Delete the group "+g.Name+" of "+count(g.Members, "device")+"?", yes); err != nil {
					return err
				}
			}
			if err := api.DeleteGroup(c.Context(), g.ID); err != nil {
				return err
			}
			a.say("%s: deleted", g.Name)
			return nil
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) groupMembersCommand() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "members GROUP", Short: "List the devices of a group", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			g, err := findGroup(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			items, err := api.GroupMembers(c.Context(), g.ID, limit)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(items)
			}
			return a.memberTable(items)
		},
	}
	limitFlag(c, &limit)
	return c
}

func (a *app) memberTable(items []client.Member) error {
	rows := make([][]string, 0, len(items))
	for _, m := range items {
		rows = append(rows, []string{
			m.Hostname, m.State, yesNo(m.Connected), strings.TrimSpace(m.OSName + " " + m.OSVersion), m.AgentVersion, when(m.LastSeenAt),
			m.AddedBy, m.DeviceID,
		})
	}
	return a.table(nil, []string{"HOST", "STATE", "CONNECTED", "SYSTEM", "AGENT", "LAST SEEN", "ADDED BY", "ID"}, rows)
}

func (a *app) groupDevicesCommand(name, short string, step func(*client.Client, context.Context, string, []string) (client.Group, error)) *cobra.Command {
	return &cobra.Command{
		Use: name + " GROUP DEVICE…", Short: short, Args: args(cobra.MinimumNArgs(2)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			g, err := findGroup(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			ids, err := deviceIDs(c.Context(), api, argv[1:])
			if err != nil {
				return err
			}
			if g, err = step(api, c.Context(), g.ID, ids); err != nil {
				return err
			}
			return a.showGroup(g)
		},
	}
}

// deviceIDs finds devices by id or host name.
func deviceIDs(ctx context.Context, api *client.Client, refs []string) ([]string, error) {
	var ids []string
	for _, ref := range refs {
		d, err := findDevice(ctx, api, ref)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, d.ID) {
			ids = append(ids, d.ID)
		}
	}
	return ids, nil
}
