package ingest_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/ingest"
)

// parts remember what each was given. fails names the part that cannot take anything now.
type parts struct {
	deployments, tasks, logs []string // ids of reports
	facts                    []string // host names
	fails                    string
	gone                     bool
}

var errDown = errors.New("down")

func (p *parts) UpdateFacts(_ context.Context, _ string, f protocol.Facts) error {
	if p.fails == "facts" {
		return errDown
	}
	p.facts = append(p.facts, f.Hostname)
	return nil
}

type deployments struct{ *parts }

func (d deployments) Ingest(_ context.Context, _ string, reports []protocol.Report) (protocol.Ack, error) {
	if d.fails == "deployments" {
		return protocol.Ack{}, errDown
	}
	d.deployments = append(d.deployments, ids(reports)...)
	return protocol.Ack{IDs: ids(reports)}, nil
}

type logs struct{ *parts }

func (l logs) Ingest(_ context.Context, _ string, reports []protocol.Report) (protocol.Ack, error) {
	if l.fails == "logs" {
		return protocol.Ack{}, errDown
	}
	l.logs = append(l.logs, ids(reports)...)
	return protocol.Ack{IDs: ids(reports)}, nil
}

type tasks struct{ *parts }

func (k tasks) Ingest(_ context.Context, _ string, reports []protocol.Report) (protocol.Ack, bool, error) {
	if k.fails == "tasks" {
		return protocol.Ack{}, false, errDown
	}
	k.tasks = append(k.tasks, ids(reports)...)
	ack := protocol.Ack{IDs: ids(reports[1:]), Refused: []protocol.RefusedItem{{ID: reports[0].ID}}}
	return ack, k.gone, nil
}

func ids(reports []protocol.Report) []string {
	out := make([]string, len(reports))
	for i, r := range reports {
		out[i] = r.ID
	}
	return out
}

func about(kind string, task *protocol.TaskReport) protocol.Report {
	id, err := uuid.NewV7()
	if err != nil {
		return protocol.Report{}
	}
	return protocol.Report{ID: id.String(), Kind: kind, Time: time.Now(), Task: task}
}

func facts(hostname string, at time.Time) protocol.Report {
	r := about(protocol.ReportFacts, nil)
	r.Facts = &protocol.Facts{Hostname: hostname, ChangedAt: at}
	return r
}

func TestTake_routesAndMerges(t *testing.T) {
	t.Parallel()
	p := &parts{gone: true}
	s := ingest.New(ingest.Options{Deployments: deployments{p}, Tasks: tasks{p}, Logs: logs{p}, Devices: p, Log: slog.New(slog.DiscardHandler)})
	now := time.Now()
	deployment, odd, empty := about(protocol.ReportDeployment, nil), about("news", nil), about(protocol.ReportTask, nil)
	notBegun, older := about(protocol.ReportTask, &protocol.TaskReport{Kind: protocol.TaskDeploy}), about(protocol.ReportTask, &protocol.TaskReport{})
	lines := about(protocol.ReportLog, nil)
	uninstall, remove := about(protocol.ReportTask, &protocol.TaskReport{Kind: protocol.TaskUninstall}), about(protocol.ReportTask, &protocol.TaskReport{Kind: protocol.TaskRemove})
	first, last := facts("old", now.Add(-time.Hour)), facts("new", now)
	bad := facts("bad", now)
	bad.ID = strings.Repeat("x", 1000)
	ack, gone, err := s.Take(t.Context(), "d", []protocol.Report{uninstall, deployment, last, odd, bad, notBegun, first, remove, older, empty, lines})
	require.NoError(t, err)
	require.True(t, gone)
	require.Equal(t, ids([]protocol.Report{deployment, odd, notBegun, older, empty}), p.deployments)
	require.Equal(t, ids([]protocol.Report{uninstall, remove}), p.tasks)
	require.Equal(t, []string{lines.ID}, p.logs)
	require.Equal(t, []string{"new"}, p.facts, "the newest say all that the others said")
	require.ElementsMatch(t, append(slices.Clone(p.deployments), last.ID, first.ID, lines.ID, remove.ID), ack.IDs)
	require.Len(t, ack.Refused, 2)
	require.Len(t, ack.Refused[0].ID, 64)

	ack, gone, err = s.Take(t.Context(), "d", nil)
	require.NoError(t, err)
	require.False(t, gone)
	require.NotNil(t, ack.IDs)
	_, _, err = s.Take(t.Context(), "d", make([]protocol.Report, protocol.MaxReports+1))
	require.True(t, fault.Is(err, fault.TooLarge))
}

func TestTake_oneThatFailsFailsAll(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"facts", "deployments", "logs", "tasks"} {
		p := &parts{fails: name, gone: true}
		s := ingest.New(ingest.Options{Deployments: deployments{p}, Tasks: tasks{p}, Logs: logs{p}, Devices: p, Log: slog.New(slog.DiscardHandler)})
		ack, gone, err := s.Take(t.Context(), "d", []protocol.Report{
			facts("pc", time.Now()), about(protocol.ReportDeployment, nil), about(protocol.ReportLog, nil), about(protocol.ReportTask, &protocol.TaskReport{Kind: protocol.TaskRemove}),
		})
		require.ErrorIs(t, err, errDown, name)
		require.False(t, gone, name)
		require.Empty(t, ack.IDs, name)
	}
}
