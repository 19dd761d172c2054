package module

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/packages/logging"
)

// Try runs the module of a folder as the agent would, for whoever writes it. Nothing is kept or sent. The result says
// how it ended, the rows are one JSON object a line; an error says why it did not run.
func Try(ctx context.Context, folder string, parameters json.RawMessage, log *slog.Logger) (res modules.Result, rows []byte, err error) {
	folder, err = filepath.Abs(folder)
	if err != nil {
		return res, nil, err
	}
	m, err := modules.Load(filepath.Dir(folder), filepath.Base(folder))
	if err != nil {
		return res, nil, err
	}
	schema, err := compile(m.Manifest)
	if err != nil {
		return res, nil, err
	}
	given, err := schema.parameters(parameters)
	if err != nil {
		return res, nil, err
	}
	scratch, err := os.MkdirTemp("", "muster-module-")
	if err != nil {
		return res, nil, fmt.Errorf("make a folder for the run: %w", err)
	}
	defer func() {
		if err := os.RemoveAll(scratch); err != nil {
			log.Warn("remove the folder of the run", logging.Err, err)
		}
	}()
	results := modules.ResultsOf(scratch)
	if res, err = execute(ctx, results, run{module: m, parameters: given}, log); err != nil {
		return res, nil, err
	}
	_, rows, err = results.Load(m.Name)
	return res, rows, err
}
