package deploy

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	reports prometheus.Counter
	refused prometheus.Counter
	commit  prometheus.Histogram
	group   prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, log *slog.Logger) *metrics {
	m := &metrics{
		reports: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_reports_total", Help: "Reports of devices that were acknowledged.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_reports_refused_total", Help: "Reports of devices that were refused for good.",
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "muster_report_commit_seconds", Help: "Duration of one commit of reports.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "muster_report_commit_size", Help: "Reports in one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
	}
	if reg == nil {
		return m
	}
	for _, c := range []prometheus.Collector{m.reports, m.refused, m.commit, m.group} {
		if err := reg.Register(c); err != nil { // a figure less is no reason not to serve
			log.Warn("register metric", "err", err)
		}
	}
	return m
}
