package task

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/muster/muster/packages/protocol"
)

// Task is one task of one device, as people see it.
type Task struct {
	ID            string              `json:"id"`
	DeviceID      string              `json:"device_id"`
	Hostname      string              `json:"hostname" doc:"of the device when it was asked"`
	Kind          string              `json:"kind" enum:"inventory,update,uninstall,remove,module"`
	BatchID       string              `json:"batch_id" doc:"shared by the tasks that were asked for together"`
	State         protocol.State      `json:"state"`
	Reason        protocol.Reason     `json:"reason"`
	Summary       string              `json:"summary" doc:"where it stands, in one line for people"`
	Message       string              `json:"message,omitempty" doc:"what the device or whoever changed it last said"`
	Sections      []string            `json:"sections,omitempty" doc:"of an inventory; none for all"`
	Software      []string            `json:"software,omitempty" doc:"keys of the programs to uninstall"`
	StopAtFailure bool                `json:"stop_at_failure,omitempty"`
	LimitSeconds  int                 `json:"limit_seconds,omitempty" doc:"for each program; none is ten minutes"`
	Module        string              `json:"module,omitempty" doc:"name of the module that is run"`
	Parameters    map[string]any      `json:"parameters,omitempty" doc:"of the module's run; none: the module's own"`
	Update        *Update             `json:"update,omitempty"`
	Items         []protocol.TaskItem `json:"items,omitempty" doc:"how each program stands, in the order of software, as far as it is known; only when one task is asked for"`
	NextTry       *time.Time          `json:"next_try,omitempty" doc:"when a waiting device means to go on"`
	CreatedBy     string              `json:"created_by"`
	CreatedAt     time.Time           `json:"created_at"`
	UpdatedAt     time.Time           `json:"updated_at"`
	FinishedAt    *time.Time          `json:"finished_at,omitempty"`
	Timeline      []HistoryEntry      `json:"timeline,omitempty" doc:"only when one task is asked for; the newest 1000 entries"`
}

// Update is what an update of the agent asks for, and how it ended.
type Update struct {
	ReleaseID        string                 `json:"release_id"`
	Version          string                 `json:"version"`
	ProbationSeconds int                    `json:"probation_seconds" doc:"how long the new agent may take until it has checked in"`
	Result           *protocol.UpdateResult `json:"result,omitempty" doc:"what the device said in the end: which agent ran, which was to run, and which runs"`
}

// HistoryEntry is one thing that happened to a task.
type HistoryEntry struct {
	Seq        int             `json:"seq"`
	Time       time.Time       `json:"time" doc:"when it happened, by the clock of its source"`
	ReceivedAt time.Time       `json:"received_at"`
	Source     string          `json:"source" enum:"server,device,admin"`
	State      protocol.State  `json:"state"`
	Reason     protocol.Reason `json:"reason,omitempty"`
	Message    string          `json:"message"`
	NextAt     *time.Time      `json:"next_at,omitempty"`
}

// Filter narrows List; empty fields do not. Before is the id of the last task seen.
type Filter struct {
	DeviceID, Kind, State, BatchID, ReleaseID string
	Open                                      *bool
	Before                                    string
	Limit                                     int
}

// List returns tasks, the newest first, without what became of each program.
func (s *Service) List(ctx context.Context, f Filter) ([]Task, error) {
	found, err := s.store.list(ctx, f)
	if err != nil {
		return nil, err
	}
	out := make([]Task, len(found))
	for i := range found {
		if out[i], err = found[i].view(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// OfDevice is List for one device; an unknown one is NotFound.
func (s *Service) OfDevice(ctx context.Context, f Filter) ([]Task, error) {
	if err := s.store.known(ctx, f.DeviceID); err != nil {
		return nil, err
	}
	return s.List(ctx, f)
}

// Get returns one task with its timeline.
func (s *Service) Get(ctx context.Context, id string) (Task, error) {
	row, err := s.store.get(ctx, id)
	if err != nil {
		return Task{}, err
	}
	t, err := row.view()
	if err != nil {
		return Task{}, err
	}
	entries, err := s.store.timeline(ctx, id)
	if err != nil {
		return Task{}, err
	}
	t.Timeline = make([]HistoryEntry, len(entries))
	for i, e := range entries {
		t.Timeline[i] = HistoryEntry{
			Seq: e.Seq, Time: e.Time, ReceivedAt: e.ReceivedAt, Source: e.Source, State: e.State, Reason: e.Reason,
			Message: e.Message, NextAt: e.NextAt,
		}
	}
	return t, nil
}

// view is the row as people see it.
func (r *taskRow) view() (Task, error) {
	given, err := r.task()
	if err != nil {
		return Task{}, err
	}
	t := Task{
		ID: r.ID, DeviceID: r.DeviceID, Hostname: r.Hostname, Kind: r.Kind, BatchID: r.BatchID, State: r.State, Reason: r.Reason,
		Message: r.Message, NextTry: r.NextTry, CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, FinishedAt: r.FinishedAt,
	}
	if given.Inventory != nil {
		t.Sections = given.Inventory.Sections
	}
	if u := given.Uninstall; u != nil {
		t.Software, t.StopAtFailure, t.LimitSeconds = u.Software, u.StopAtFailure, u.LimitSeconds
	}
	if m := given.Module; m != nil {
		t.Module = m.Name
		if len(m.Parameters) > 0 {
			if err := json.Unmarshal(m.Parameters, &t.Parameters); err != nil {
				return Task{}, fmt.Errorf("read parameters of task %s: %w", r.ID, err)
			}
		}
	}
	if u := given.Update; u != nil {
		t.Update = &Update{ReleaseID: u.ReleaseID, Version: u.Version, ProbationSeconds: u.ProbationSeconds}
		if r.Result != "" {
			t.Update.Result = &protocol.UpdateResult{}
			if err := json.Unmarshal([]byte(r.Result), t.Update.Result); err != nil {
				return Task{}, fmt.Errorf("read result of task %s: %w", r.ID, err)
			}
		}
	}
	if r.Items != "" {
		if err := json.Unmarshal([]byte(r.Items), &t.Items); err != nil {
			return Task{}, fmt.Errorf("read items of task %s: %w", r.ID, err)
		}
	}
	outcome := r.Outcome
	if outcome == "" && len(t.Items) > 0 { // it is older than the column
		outcome = counted(t.Items)
	}
	t.Summary = summary(r.Kind, r.State, r.Reason, outcome)
	return t, nil
}
