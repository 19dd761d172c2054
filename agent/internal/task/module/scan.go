package module

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"slices"
	"time"

	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
	"github.com/muster/muster/packages/protocol"
)

// scan looks at all modules, tells the resident which there are, and keeps why one is refused, for its section.
// Results of modules that have gone are removed.
func scan(in task.Input, results modules.Results, emit task.Emit, log *slog.Logger) error {
	names, err := modules.Names(in.Modules)
	if err != nil {
		return err
	}
	states := make([]modules.State, 0, len(names))
	for _, name := range names {
		state := modules.State{Name: name}
		m, err := modules.Load(in.Modules, name)
		if err == nil {
			_, err = compile(m.Manifest)
		}
		switch {
		case fault.Is(err, fault.NotFound): // gone meanwhile
			continue
		case err != nil:
			log.Error("a module is refused", "module", name, logging.Err, err)
			state.Problem = err.Error()
			err = refuse(results, name, err)
		default:
			state.Version, state.Schedule = m.Version, m.Schedule
			err = accept(results, name)
		}
		if err != nil {
			return err
		}
		states = append(states, state)
	}
	kept, err := results.Names()
	if err != nil {
		return err
	}
	for _, name := range kept {
		if !slices.Contains(names, name) {
			if err := results.Remove(name); err != nil {
				return err
			}
		}
	}
	return emit.End(task.End{State: protocol.StateSucceeded, Modules: states})
}

// refuse keeps why a module is refused, beside the rows that it found before.
func refuse(results modules.Results, name string, why error) error {
	res, rows, err := results.Load(name)
	switch {
	case fault.Is(err, fault.NotFound):
		res = modules.Result{Module: name}
	case err != nil:
		return err
	case res.Refused && res.Problem == why.Error():
		return nil
	}
	res.Refused, res.Problem, res.State, res.Reason, res.Message, res.TaskID = true, why.Error(), "", "", "", ""
	return keep(results, res, rows)
}

// accept takes back that a module was refused.
func accept(results modules.Results, name string) error {
	res, rows, err := results.Load(name)
	if fault.Is(err, fault.NotFound) || err == nil && !res.Refused {
		return nil
	}
	if err != nil {
		return err
	}
	res.Refused, res.Problem = false, ""
	if res.SHA256 == "" { // it never ran: a section of no rows takes the place of the problem
		sum := sha256.Sum256(nil)
		res.SHA256, res.CollectedAt = hex.EncodeToString(sum[:]), time.Now().UTC()
	}
	return keep(results, res, rows)
}

func keep(results modules.Results, res modules.Result, rows []byte) (err error) {
	if res.ID, err = newID(); err != nil {
		return err
	}
	return results.Save(res, rows)
}
