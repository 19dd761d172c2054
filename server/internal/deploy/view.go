package deploy

import (
	"context"
	"time"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/hub"
)

// Deployment is one package on one device, as people see it.
type Deployment struct {
	ID             string          `json:"id"`
	PackageID      string          `json:"package_id"`
	PackageName    string          `json:"package_name"`
	PackageVersion string          `json:"package_version"`
	Priority       int             `json:"priority"`
	DeviceID       string          `json:"device_id"`
	Hostname       string          `json:"hostname"`
	AssignmentID   string          `json:"assignment_id"`
	State          protocol.State  `json:"state"`
	Reason         protocol.Reason `json:"reason"`
	Summary        string          `json:"summary" doc:"where it stands, in one line for people"`
	Detail         string          `json:"detail" doc:"the summary without the state, for where that stands beside it"`
	Message        string          `json:"message,omitempty" doc:"what the device or whoever changed it last said"`
	WaitsFor       string          `json:"waits_for,omitempty"`
	Attempt        int             `json:"attempt"`
	AttemptID      string          `json:"attempt_id"`
	ExitCode       *int            `json:"exit_code,omitempty" doc:"of the last attempt that ended"`
	Output         string          `json:"output,omitempty" doc:"tail of the command's output; only when one deployment is asked for"`
	NotBefore      *time.Time      `json:"not_before,omitempty"`
	CreatedAt      time.Time       `json:"created_at"`
	UpdatedAt      time.Time       `json:"updated_at"`
	FinishedAt     *time.Time      `json:"finished_at,omitempty"`
	Blocks         bool            `json:"blocks,omitempty" doc:"is over, but holds back the other packages of its device"`
	Progress       *hub.Progress   `json:"progress,omitempty"`
	Timeline       []TimelineEntry `json:"timeline,omitempty" doc:"only when one deployment is asked for; the newest 1000 entries, with the output of the newest 50 attempts"`
}

// TimelineEntry is one thing that happened to a deployment.
type TimelineEntry struct {
	Seq        int             `json:"seq"`
	Time       time.Time       `json:"time" doc:"when it happened, by the clock of its source"`
	ReceivedAt time.Time       `json:"received_at"`
	Source     string          `json:"source" enum:"server,device,admin"`
	Attempt    int             `json:"attempt"`
	State      protocol.State  `json:"state"`
	Reason     protocol.Reason `json:"reason,omitempty"`
	Message    string          `json:"message"`
	ExitCode   *int            `json:"exit_code,omitempty"`
	Output     string          `json:"output,omitempty"`
	NextAt     *time.Time      `json:"next_at,omitempty"`
	WaitsFor   string          `json:"waits_for,omitempty"`
}

// Filter narrows List; empty fields do not. Before is the id of the last deployment seen.
type Filter struct {
	DeviceID, PackageID, AssignmentID string
	State                             string
	Open                              *bool
	Before                            string
	Limit                             int
}

// List returns deployments, the newest first.
func (s *Service) List(ctx context.Context, f Filter) ([]Deployment, error) {
	found, err := s.store.list(ctx, f)
	if err != nil {
		return nil, err
	}
	out := make([]Deployment, len(found))
	for i := range found {
		out[i] = s.view(&found[i])
	}
	return out, nil
}

// Get returns one deployment with its timeline.
func (s *Service) Get(ctx context.Context, id string) (Deployment, error) {
	row, err := s.store.deployment(ctx, id)
	if err != nil {
		return Deployment{}, err
	}
	entries, attempts, err := s.store.history(ctx, id)
	if err != nil {
		return Deployment{}, err
	}
	d := s.view(&row)
	d.Timeline = make([]TimelineEntry, len(entries))
	for i, e := range entries {
		d.Timeline[i] = TimelineEntry{
			Seq: e.Seq, Time: e.Time, ReceivedAt: e.ReceivedAt, Source: e.Source, Attempt: e.Attempt, State: e.State,
			Reason: e.Reason, Message: e.Message, ExitCode: e.ExitCode, NextAt: e.NextAt, WaitsFor: e.WaitsFor,
		}
		if a, ok := attempts[e.Attempt]; ok && e.ReportID != nil && *e.ReportID == a.ResultReport {
			d.Timeline[i].Output = a.Output
			d.Output = a.Output // the last attempt that ended
		}
	}
	return d, nil
}

func (s *Service) view(r *deploymentRow) Deployment {
	d := Deployment{
		ID: r.ID, PackageID: r.PackageID, PackageName: r.PackageName, PackageVersion: r.PackageVersion,
		Priority: r.Priority, DeviceID: r.DeviceID, Hostname: r.Hostname, AssignmentID: r.AssignmentID,
		State: r.State, Reason: r.Reason, Summary: summary(r.result()), Detail: detail(r.result()), Message: r.Message, WaitsFor: r.WaitsFor,
		Attempt: r.Attempt, AttemptID: r.AttemptID, ExitCode: r.ExitCode, NotBefore: r.NotBefore,
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, FinishedAt: r.FinishedAt,
		Blocks: r.Live && r.State.Final(),
	}
	if t, ok := s.progress.get(r.AttemptID); ok && !r.State.Final() {
		d.Progress = &hub.Progress{Done: t.done, Total: t.total}
	}
	return d
}
