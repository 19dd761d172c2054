// Package ingest takes the reports of devices, by HTTPS and by WebSocket alike, and hands each to the feature
// that it is about: deployments, other tasks, log lines, or the device itself.
//
// It keeps nothing. What a part has acknowledged is committed; a part that fails fails all, and the device
// sends everything again, which every part takes any number of times. agentapi calls Take.
package ingest

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Deployments take reports about deployments, and about deploy tasks that were not begun.
type Deployments interface {
	Ingest(ctx context.Context, deviceID string, reports []protocol.Report) (protocol.Ack, error)
}

// Tasks take reports about all other tasks. gone says that the agent has left with one of them.
type Tasks interface {
	Ingest(ctx context.Context, deviceID string, reports []protocol.Report) (ack protocol.Ack, gone bool, err error)
}

// Logs take reports that hold log lines.
type Logs interface {
	Ingest(ctx context.Context, deviceID string, reports []protocol.Report) (protocol.Ack, error)
}

// Devices take facts, unless they have newer ones.
type Devices interface {
	UpdateFacts(ctx context.Context, id string, facts protocol.Facts) error
}

// Options configure a Service.
type Options struct {
	Deployments Deployments           // required
	Tasks       Tasks                 // required
	Logs        Logs                  // required
	Devices     Devices               // required
	Log         *slog.Logger          // required
	Registerer  prometheus.Registerer // nil: no metrics
}

// Service is the one way in for reports. Make it with New.
type Service struct {
	opt     Options
	metrics *metrics
}

// New makes the service.
func New(opt Options) *Service {
	return &Service{opt: opt, metrics: newMetrics(opt.Registerer, opt.Log)}
}

// Take takes a device's reports. When it returns, the acknowledged ones are committed. A refused one will
// never be taken; an error means that nothing is known of any of them and the device is to send them again.
// gone says that the agent has left this server with one of them: its credential is worth nothing from now on,
// and whoever has its connection cuts it once the answer is sent.
func (s *Service) Take(ctx context.Context, deviceID string, reports []protocol.Report) (ack protocol.Ack, gone bool, err error) {
	if len(reports) > protocol.MaxReports {
		return ack, false, fault.New(fault.TooLarge, "%d reports at once; at most %d are taken", len(reports), protocol.MaxReports)
	}
	ack.IDs = []string{}
	merge := func(part protocol.Ack) {
		ack.IDs, ack.Refused = append(ack.IDs, part.IDs...), append(ack.Refused, part.Refused...)
	}
	sorted := sort(reports)
	if len(sorted.facts) > 0 {
		part, err := s.facts(ctx, deviceID, sorted.facts)
		if err != nil {
			return protocol.Ack{}, false, err
		}
		merge(part)
	}
	if len(sorted.deployments) > 0 {
		part, err := s.opt.Deployments.Ingest(ctx, deviceID, sorted.deployments)
		if err != nil {
			return protocol.Ack{}, false, err
		}
		merge(part)
	}
	if len(sorted.logs) > 0 {
		part, err := s.opt.Logs.Ingest(ctx, deviceID, sorted.logs)
		if err != nil {
			return protocol.Ack{}, false, err
		}
		merge(part)
	}
	if len(sorted.tasks) > 0 { // last: the device may leave with one of them
		part, left, err := s.opt.Tasks.Ingest(ctx, deviceID, sorted.tasks)
		if err != nil {
			return protocol.Ack{}, false, err
		}
		merge(part)
		gone = left
	}
	s.metrics.reports.Add(float64(len(ack.IDs)))
	s.metrics.refused.Add(float64(len(ack.Refused)))
	return ack, gone, nil
}

// sorted are reports by what they are about.
type sorted struct{ facts, deployments, logs, tasks []protocol.Report }

// sort looks at the kind of each report, no further: the parts check the rest, and deployments refuse what is
// of no kind.
func sort(reports []protocol.Report) sorted {
	var out sorted
	for _, r := range reports {
		switch {
		case r.Kind == protocol.ReportFacts:
			out.facts = append(out.facts, r)
		case r.Kind == protocol.ReportLog:
			out.logs = append(out.logs, r)
		case r.Kind == protocol.ReportTask && r.Task != nil && r.Task.Kind != protocol.TaskDeploy && r.Task.Kind != "":
			out.tasks = append(out.tasks, r)
		default:
			out.deployments = append(out.deployments, r)
		}
	}
	return out
}

// facts keeps the newest ones, which say all that the others said.
func (s *Service) facts(ctx context.Context, deviceID string, reports []protocol.Report) (protocol.Ack, error) {
	ack := protocol.Ack{IDs: []string{}}
	var newest *protocol.Facts
	for _, r := range reports {
		if err := r.Validate(); err != nil {
			ack.Refused = append(ack.Refused, protocol.RefusedItem{ID: r.ID[:min(len(r.ID), mostID)], Code: string(fault.CodeOf(err)), Message: err.Error()})
			continue
		}
		if newest == nil || !r.Facts.ChangedAt.Before(newest.ChangedAt) {
			newest = r.Facts
		}
		ack.IDs = append(ack.IDs, r.ID)
	}
	if newest == nil {
		return ack, nil
	}
	return ack, s.opt.Devices.UpdateFacts(ctx, deviceID, *newest)
}

// mostID bounds the bytes of a malformed report id that are sent back.
const mostID = 64
