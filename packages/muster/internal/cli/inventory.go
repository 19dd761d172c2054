package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/muster/internal/client"
)

func (a *app) deviceSoftwareCommand() *cobra.Command {
	var q, source string
	var limit int
	c := &cobra.Command{
		Use: "software DEVICE", Short: "List the programs that a device has reported", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			d, err := findDevice(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			items, err := api.DeviceSoftware(c.Context(), d.ID, url.Values{"q": {q}, "source": {source}}, limit)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(items))
			for _, s := range items {
				bytes := ""
				if s.SizeBytes > 0 {
					bytes = size(s.SizeBytes)
				}
				rows = append(rows, []string{s.Name, s.Version, s.Arch, s.Source, bytes, when(s.InstalledAt), s.Condition, s.Key})
			}
			return a.table(items, []string{"NAME", "VERSION", "ARCH", "SOURCE", "SIZE", "INSTALLED", "CONDITION", "KEY"}, rows)
		},
	}
	c.Flags().StringVar(&q, "search", "", "only programs that contain `text`")
	c.Flags().StringVar(&source, "source", "", "only from this source: dpkg, rpm, snap, …")
	limitFlag(c, &limit)
	return c
}

func (a *app) deviceInventoryCommand() *cobra.Command {
	var q string
	var limit int
	var now bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "inventory DEVICE [SECTION]", Short: "Show the inventory of a device, or the rows of one section of it",
		Example: `  muster device inventory pc-17
  muster device inventory pc-17 storage
  muster device inventory pc-17 --now --timeout 5m`,
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, argv []string) error {
			if timeout != 0 && !now || timeout < 0 {
				return usage("--timeout is used with --now, and not negative")
			}
			api, err := a.connect()
			if err != nil {
				return err
			}
			d, err := findDevice(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			if now {
				if err := a.freshInventory(c.Context(), api, d, argv[1:], timeout); err != nil {
					return err
				}
			}
			if len(argv) == 1 {
				return a.showInventory(c.Context(), api, d)
			}
			return a.showSection(c.Context(), api, d, argv[1], q, limit)
		},
	}
	c.Flags().StringVar(&q, "search", "", "only rows that contain `text`; with a section")
	c.Flags().BoolVar(&now, "now", false, "ask the device for a new one first, and wait for it")
	c.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait; 0 is for ever")
	limitFlag(c, &limit)
	return c
}

// freshInventory waits until the device has sent an inventory that it was asked for.
func (a *app) freshInventory(ctx context.Context, api *client.Client, d client.Device, sections []string, timeout time.Duration) error {
	t, err := api.AskInventory(ctx, d.ID, sections...)
	if err != nil {
		return err
	}
	quiet := *a // what is asked for is shown, not how it came
	quiet.json, quiet.Out = false, a.Err
	return quiet.watchTasks(ctx, api, []string{t.ID}, timeout)
}

func (a *app) showInventory(ctx context.Context, api *client.Client, d client.Device) error {
	i, err := api.Inventory(ctx, d.ID)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(i)
	}
	fields := []field{{"Device", d.Hostname + " (" + d.ID + ")"}, {"Collected", when(i.CollectedAt)}}
	if s := i.System; s != nil {
		fields = append(fields, field{"System", strings.TrimSpace(s.OSName + " " + s.OSVersion)}, field{"Kernel", s.Kernel},
			field{"Memory", size(s.MemoryBytes)}, field{"Booted", when(s.BootedAt)}, field{"Virtualisation", s.Virtualisation})
	}
	if b := i.BIOS; b != nil {
		fields = append(fields, field{"Computer", strings.TrimSpace(b.Manufacturer + " " + b.Product)}, field{"Serial number", b.Serial},
			field{"Firmware", strings.TrimSpace(b.Vendor + " " + b.Version + " " + b.Date)})
	}
	if err := a.fields(fields); err != nil {
		return err
	}
	rows := make([][]string, 0, len(i.Sections))
	for _, s := range i.Sections {
		rows = append(rows, []string{s.Name, strconv.Itoa(s.RowCount), when(s.CollectedAt), s.Problem})
	}
	fmt.Fprintln(a.Out)
	return a.table(nil, []string{"SECTION", "ROWS", "COLLECTED", "PROBLEM"}, rows)
}

func (a *app) showSection(ctx context.Context, api *client.Client, d client.Device, name, q string, limit int) error {
	s, err := api.InventorySection(ctx, d.ID, name, url.Values{"q": {q}}, limit)
	if err != nil {
		return err
	}
	if s.Problem != "" {
		a.note("muster: the newest inventory has section %s not, or in part: %s", s.Name, s.Problem)
	}
	head, cells := []string{"NAME", "DETAILS"}, row
	if len(s.Columns) > 0 {
		head = []string{"NAME"}
		for _, c := range s.Columns {
			head = append(head, strings.ToUpper(cmp.Or(c.Title, strings.ReplaceAll(c.Name, "_", " "))))
		}
		cells = func(item json.RawMessage) []string { return moduleCells(item, s.Columns) }
	}
	rows := make([][]string, 0, len(s.Items))
	for _, item := range s.Items {
		rows = append(rows, cells(item))
	}
	return a.table(s, head, rows)
}

// row is a row of any section for people: its name, and what else it holds, in its own order.
func row(item json.RawMessage) []string {
	dec := json.NewDecoder(bytes.NewReader(item))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return []string{"", string(item)}
	}
	name, details := "", []string{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			break
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			break
		}
		text := string(raw)
		if strings.HasPrefix(text, `"`) {
			_ = json.Unmarshal(raw, &text) // it is a string: the decoder said so
		}
		field := fmt.Sprint(key)
		switch field {
		case "key":
		case "name":
			name = text
		default:
			if n, err := strconv.ParseInt(text, 10, 64); err == nil && strings.HasSuffix(field, "bytes") {
				text = size(n)
			}
			details = append(details, strings.ReplaceAll(field, "_", " ")+" "+text)
		}
	}
	return []string{name, strings.Join(details, ", ")}
}
