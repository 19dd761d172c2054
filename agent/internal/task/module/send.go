package module

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/task/inventory"
	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// sentFile, in a server's folder, says which results the server has got.
const sentFile = "modules.json"

// sent is its content: by the name of the module, the id of the result.
type sent map[string]string

// loadSent reads it. A missing or damaged one costs that results are named to the server once more.
func loadSent(dir string) sent {
	s := sent{}
	data, err := os.ReadFile(filepath.Join(dir, sentFile))
	if err != nil || json.Unmarshal(data, &s) != nil || s == nil {
		return sent{}
	}
	return s
}

func (s sent) save(dir string) error {
	data, err := json.Marshal(s)
	if err == nil {
		err = atomicfile.Write(filepath.Join(dir, sentFile), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep what the server has got of modules: %w", err)
	}
	return nil
}

// deliver sends a server the results of the named modules that it has not got yet; with again, it is told of the
// others, too, and takes what it has lost. One that the server refuses does not keep back the others. The error is
// final (client.Final) only when all were tried.
func deliver(ctx context.Context, store *identity.Store, results modules.Results, names []string, again bool, log *slog.Logger) error {
	had := loadSent(store.Dir())
	var c *client.Client
	var errs []error
	for _, name := range names {
		res, rows, err := results.Load(name)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if had[name] == res.ID && !again {
			continue
		}
		if c == nil {
			if c, err = connect(store); err != nil {
				return err
			}
			defer c.Close()
		}
		sum, err := inventory.Send(ctx, c, res.CollectedAt, 0, []inventory.Section{section(res, rows)})
		switch {
		case err == nil:
			log.Info("what a module found is with the server", "module", name, "rows", res.Rows, "sent", sum.Sent, "problem", res.Problem)
		case client.Final(err): // it would be refused again
			errs = append(errs, fmt.Errorf("module %s: %w", name, err))
		default:
			if refused := errors.Join(errs...); refused != nil { // they are not sent again
				log.Error("the server did not take what modules found", logging.Err, refused)
			}
			return err
		}
		if had[name] != res.ID {
			had[name] = res.ID
			if err := had.save(store.Dir()); err != nil {
				return err
			}
		}
	}
	return errors.Join(errs...)
}

func connect(store *identity.Store) (*client.Client, error) {
	id, err := store.Load()
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{
		URLs: id.URLs, CAPEM: id.CAPEM, DeviceID: id.DeviceID, Secret: id.Secret, NextSecret: id.NextSecret, KeepAlive: true,
	})
}

// section is a result as an inventory has it. The rows of an earlier run are with the server already, so only the
// problem is told of one that failed.
func section(res modules.Result, rows []byte) inventory.Section {
	s := inventory.Section{
		Name: protocol.ModuleSection(res.Module), Lines: rows, Rows: res.Rows, SHA256: res.SHA256, Problem: res.Problem, Columns: res.Columns,
	}
	if s.SHA256 == "" && s.Problem == "" {
		s.Problem = "it has not run yet"
	}
	return s
}
