package deploy

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	commit prometheus.Histogram
	group  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, log *slog.Logger) *metrics {
	m := &metrics{
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "muster_report_commit_seconds", Help: "Duration of one commit of reports about deployments.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "muster_report_commit_size", Help: "Reports about deployments in one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
	}
	if reg == nil {
		return m
	}
	for _, c := range []prometheus.Collector{m.commit, m.group} {
		if err := reg.Register(c); err != nil { // a figure less is no reason not to serve
			log.Warn("register metric", "err", err)
		}
	}
	return m
}
