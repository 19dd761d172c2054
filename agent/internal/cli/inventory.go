package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/muster/muster/agent/internal/task/inventory"
	"github.com/muster/muster/agent/internal/task/software"
	"github.com/muster/muster/packages/protocol"
)

// printInventory prints what the inventory task would send, and sends nothing.
func printInventory(ctx context.Context, args []string, stdout io.Writer) error {
	set := flag.NewFlagSet("inventory", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	sections := set.String("sections", "", "names of sections, separated by commas")
	processes := set.Bool("processes", false, "list running programs, too")
	if _, err := parse(set, args, 0); err != nil {
		return err
	}
	o := inventory.Options{Root: "/", Processes: *processes, Log: slog.New(slog.DiscardHandler)}
	o.Software = func(ctx context.Context) ([]protocol.Software, error) {
		return software.List(ctx, software.Options{})
	}
	for name := range strings.SplitSeq(*sections, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if !protocol.ValidSection(name) {
			return fmt.Errorf("%w: %q is not the name of a section", errUsage, name)
		}
		o.Sections = append(o.Sections, name)
	}
	return writeSections(stdout, inventory.Collect(ctx, o))
}

// writeSections writes {"sections":[{"name":…,"rows":[…],"problem":…},…]}, one row a line.
func writeSections(w io.Writer, sections []inventory.Section) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, `{"sections":[`)
	separator := "\n"
	for _, s := range sections {
		name, err := json.Marshal(s.Name)
		if err != nil {
			return fmt.Errorf("print the inventory: %w", err)
		}
		problem, err := json.Marshal(s.Problem)
		if err != nil {
			return fmt.Errorf("print the inventory: %w", err)
		}
		fmt.Fprintf(out, "%s{\"name\":%s,\"problem\":%s,\"rows\":[", separator, name, problem)
		separator = "\n"
		for row := range bytes.Lines(s.Lines) {
			fmt.Fprintf(out, "%s%s", separator, bytes.TrimSuffix(row, []byte("\n")))
			separator = ",\n"
		}
		fmt.Fprint(out, "]}")
		separator = ",\n"
	}
	fmt.Fprint(out, "\n]}\n")
	if err := out.Flush(); err != nil { // remembers the first error
		return fmt.Errorf("print the inventory: %w", err)
	}
	return nil
}
