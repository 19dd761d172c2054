package ingest

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct{ reports, refused prometheus.Counter }

func newMetrics(reg prometheus.Registerer, log *slog.Logger) *metrics {
	m := &metrics{
		reports: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_reports_total", Help: "Reports of devices that were acknowledged.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_reports_refused_total", Help: "Reports of devices that were refused for good.",
		}),
	}
	if reg == nil {
		return m
	}
	for _, c := range []prometheus.Collector{m.reports, m.refused} {
		if err := reg.Register(c); err != nil { // a figure less is no reason not to serve
			log.Warn("register metric", "err", err)
		}
	}
	return m
}
