package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/muster/muster/agent/internal/task/module"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// tryModule is `module run FOLDER`: it runs a module for whoever writes it and prints its rows.
func tryModule(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 || args[0] != "run" {
		return fmt.Errorf("%w: say module run FOLDER", errUsage)
	}
	set, _ := flags("module")
	given := set.String("parameters", "", "JSON object")
	rest, err := parse(set, args[1:], 1)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return fmt.Errorf("%w: which module? say module run FOLDER", errUsage)
	}
	log := logging.New(stderr, slog.LevelDebug, logging.Tagged).With(logging.Task, protocol.TaskModule)
	res, rows, err := module.Try(ctx, rest[0], json.RawMessage(*given), log)
	if err != nil {
		return err
	}
	if _, err := stdout.Write(rows); err != nil {
		return fmt.Errorf("print the rows: %w", err)
	}
	if res.State != protocol.StateSucceeded {
		return fault.New(fault.Invalid, "the module failed (%s): %s", res.Reason, res.Message)
	}
	return nil
}
