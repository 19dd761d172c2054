package cli

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
)

type assignFlags struct {
	pkg       string
	devices   []string
	all       bool
	notBefore string
	wait      bool
	timeout   time.Duration
}

func (a *app) assignCommand() *cobra.Command {
	var f assignFlags
	c := &cobra.Command{
		Use:   "assign --package PACKAGE (--device DEVICE… | --all)",
		Short: "Give a package to devices",
		Example: `  muster assign --package tool@1.2 --device pc-17 --device pc-18 --wait --timeout 15m
  muster assign --package tool --all --not-before 2026-12-01T22:00:00+01:00`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return a.assign(c.Context(), f) },
	}
	c.Flags().StringVar(&f.pkg, "package", "", "`name`, name@version or id")
	c.Flags().StringArrayVar(&f.devices, "device", nil, "host `name` or id, repeatable")
	c.Flags().BoolVar(&f.all, "all", false, "all devices")
	c.Flags().StringVar(&f.notBefore, "not-before", "", "not before this `time` (RFC 3339) or after this time from now (2h30m)")
	c.Flags().BoolVar(&f.wait, "wait", false, "wait until every deployment is over")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "how long to wait; 0 is for ever")
	return c
}

func (a *app) assign(ctx context.Context, f assignFlags) error {
	switch {
	case f.pkg == "":
		return usage("say --package PACKAGE")
	case f.all == (len(f.devices) > 0):
		return usage("say either --device DEVICE, or --all")
	case f.timeout != 0 && !f.wait, f.timeout < 0:
		return usage("--timeout is used with --wait, and not negative")
	}
	in := client.NewAssignment{All: f.all}
	var err error
	if in.NotBefore, err = a.moment(f.notBefore); err != nil {
		return err
	}
	api, err := a.connect()
	if err != nil {
		return err
	}
	p, err := findPackage(ctx, api, f.pkg, "active")
	if err != nil {
		return err
	}
	in.PackageID = p.ID
	for _, ref := range f.devices {
		d, err := findDevice(ctx, api, ref)
		if err != nil {
			return err
		}
		if !slices.Contains(in.DeviceIDs, d.ID) {
			in.DeviceIDs = append(in.DeviceIDs, d.ID)
		}
	}
	as, err := api.Assign(ctx, in)
	if err != nil {
		return err
	}
	if !f.wait {
		return a.showAssignment(as)
	}
	a.note("assigned %s %s to %s (assignment %s)", as.PackageName, as.PackageVersion, count(as.DeviceCount, "device"), as.ID)
	return a.watch(ctx, api, target{query: url.Values{"assignment_id": {as.ID}}}.watched(api), f.timeout)
}

// moment reads a time, or a duration from now.
func (a *app) moment(s string) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		t = t.UTC()
		return &t, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return nil, usage("--not-before %q is neither a time like 2026-12-01T22:00:00Z nor a duration like 2h30m", s)
	}
	t := a.Now().Add(d).UTC().Truncate(time.Second)
	return &t, nil
}

func (a *app) showAssignment(as client.Assignment) error {
	return a.details(as, []field{
		{"Assignment", as.ID}, {"Package", as.PackageName + " " + as.PackageVersion}, {"Devices", strconv.Itoa(as.DeviceCount)},
		{"Not before", when(as.NotBefore)}, {"Created", when(&as.CreatedAt) + " by " + as.CreatedBy},
	})
}

func (a *app) assignmentCommand() *cobra.Command {
	var pkg string
	var limit int
	list := &cobra.Command{
		Use: "list", Short: "List assignments", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			id := ""
			if pkg != "" {
				p, err := findPackage(c.Context(), api, pkg)
				if err != nil {
					return err
				}
				id = p.ID
			}
			items, err := api.Assignments(c.Context(), id, limit)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(items))
			for _, as := range items {
				rows = append(rows, []string{as.PackageName, as.PackageVersion, strconv.Itoa(as.DeviceCount), when(as.NotBefore), when(&as.CreatedAt), as.CreatedBy, as.ID})
			}
			return a.table(items, []string{"PACKAGE", "VERSION", "DEVICES", "NOT BEFORE", "CREATED", "BY", "ID"}, rows)
		},
	}
	list.Flags().StringVar(&pkg, "package", "", "only of this package: `name`, name@version or id")
	limitFlag(list, &limit)
	return group("assignment", "Show which packages were given to devices", list)
}

func (a *app) unassignCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unassign ASSIGNMENT", Short: "Take an assignment back: its open deployments end", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			if !isID(argv[0]) {
				return usage("%q is not the id of an assignment; see: muster assignment list", argv[0])
			}
			api, err := a.connect()
			if err != nil {
				return err
			}
			if err := api.Unassign(c.Context(), argv[0]); err != nil {
				if fault.Is(err, fault.NotFound) {
					return fault.Wrap(err, fault.NotFound, "no assignment %s", argv[0])
				}
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"unassigned": argv[0]})
			}
			a.say("unassigned %s", argv[0])
			return nil
		},
	}
}
