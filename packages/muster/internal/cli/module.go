package cli

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/muster/internal/client"
	"github.com/muster/muster/packages/protocol"
)

func (a *app) deviceModuleCommand() *cobra.Command {
	return group("module", "Run the modules from outside that a device has", a.deviceModuleListCommand(), a.deviceModuleRunCommand())
}

// module is a module of a device and what it found last.
type module struct {
	Name        string     `json:"name"`
	Rows        int        `json:"rows"`
	CollectedAt *time.Time `json:"collected_at,omitempty"`
	Problem     string     `json:"problem,omitempty"`
}

func (a *app) deviceModuleListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list DEVICE", Short: "List the modules of a device, and what each found last", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			d, err := findDevice(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			if d, err = api.Device(c.Context(), d.ID); err != nil {
				return err
			}
			i, err := api.Inventory(c.Context(), d.ID)
			if err != nil {
				return err
			}
			found := modules(d, i)
			rows := make([][]string, 0, len(found))
			for _, m := range found {
				rows = append(rows, []string{m.Name, strconv.Itoa(m.Rows), when(m.CollectedAt), m.Problem})
			}
			return a.table(found, []string{"MODULE", "ROWS", "COLLECTED", "PROBLEM"}, rows)
		},
	}
}

func modules(d client.Device, i client.Inventory) []module {
	found := []module{}
	if d.Facts == nil {
		return found
	}
	for _, name := range d.Facts.OutsideModules() {
		m := module{Name: name}
		for _, s := range i.Sections {
			if s.Name == protocol.ModuleSection(name) {
				m.Rows, m.CollectedAt, m.Problem = s.RowCount, s.CollectedAt, s.Problem
			}
		}
		found = append(found, m)
	}
	return found
}

func (a *app) deviceModuleRunCommand() *cobra.Command {
	var single []string
	var whole string
	var w waiting
	c := &cobra.Command{
		Use: "run DEVICE NAME", Short: "Run a module on a device now",
		Long: `Run a module on a device now. Parameters take the place of the module's own of the same names; the
module's schema, on the device, must allow them. With --wait, what it found is shown.

With --wait, exit code 0: it succeeded; 1: it did not; 4: --timeout ran out.`,
		Example: `  muster device module run pc-17 large-directories --wait
  muster device module run pc-17 large-directories --param path=/home --param minimum_bytes=1000000
  muster device module run pc-17 large-directories --parameters '{"path": "/home"}'`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, argv []string) error {
			if err := w.check(); err != nil {
				return err
			}
			parameters, err := moduleParameters(whole, single)
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
			t, err := api.RunModule(c.Context(), d.ID, argv[1], parameters)
			if err != nil {
				return err
			}
			if !w.wait {
				return a.showTask(t)
			}
			quiet := *a // what was found is shown, not how it came
			quiet.json, quiet.Out = false, a.Err
			if err := quiet.watchTasks(c.Context(), api, []string{t.ID}, w.timeout); err != nil {
				return err
			}
			return a.showSection(c.Context(), api, d, protocol.ModuleSection(argv[1]), "", 200)
		},
	}
	c.Flags().StringArrayVar(&single, "param", nil, "`name=value`, repeatable; a value that is JSON is taken as such, any other as text")
	c.Flags().StringVar(&whole, "parameters", "", "all parameters as one JSON `object`")
	w.register(c, "it has run, and show what it found")
	return c
}

// moduleParameters makes one JSON object of the flags; nil without any.
//
//fuzz:none whoever types the command wrote them
func moduleParameters(whole string, single []string) (json.RawMessage, error) {
	if whole == "" && len(single) == 0 {
		return nil, nil
	}
	all := map[string]json.RawMessage{}
	if whole != "" && (json.Unmarshal([]byte(whole), &all) != nil || all == nil) {
		return nil, usage("--parameters %q is not a JSON object", whole)
	}
	for _, one := range single {
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" {
			return nil, usage("--param %q is not name=value", one)
		}
		if !json.Valid([]byte(value)) {
			text, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			value = string(text)
		}
		all[name] = json.RawMessage(value)
	}
	return json.Marshal(all)
}

// moduleCells are the name and the columns of a row for people, in the order of the columns.
func moduleCells(item json.RawMessage, columns []protocol.Column) []string {
	values := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(item))
	dec.UseNumber()
	if dec.Decode(&values) != nil {
		values = map[string]any{"name": string(item)}
	}
	cell := func(v any) string {
		switch v := v.(type) {
		case string:
			return v
		case json.Number:
			return v.String()
		case bool:
			return yesNo(v)
		default:
			return ""
		}
	}
	cells := []string{cell(values["name"])}
	for _, c := range columns {
		text := cell(values[c.Name])
		switch c.Type {
		case protocol.ColumnBytes:
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				text = size(n)
			}
		case protocol.ColumnTime:
			if t, err := time.Parse(time.RFC3339, text); err == nil {
				text = when(&t)
			}
		}
		cells = append(cells, text)
	}
	return cells
}
