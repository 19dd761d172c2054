package agentapi

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	checkIns       prometheus.Counter
	checkInSeconds prometheus.Histogram
	enrollments    prometheus.Counter
	fragments      prometheus.Counter
	inventories    prometheus.Counter
	sections       prometheus.Counter
	refused        *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, log *slog.Logger) *metrics {
	m := &metrics{
		checkIns: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_check_ins_total", Help: "Check-ins that were answered.",
		}),
		checkInSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "muster_check_in_seconds", Help: "Duration of an answered check-in, its wait for a place included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		enrollments: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_enrollments_total", Help: "Enrollments that were answered, repeated ones included.",
		}),
		fragments: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_fragments_served_total", Help: "Requests for fragments that were answered.",
		}),
		inventories: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_inventories_total", Help: "Inventories that were answered with the sections that are wanted.",
		}),
		sections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_inventory_sections_total", Help: "Sections of inventories that were taken.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_agent_requests_refused_total", Help: "Requests of agents that were refused, by fault code.",
		}, []string{"code"}),
	}
	if reg == nil {
		return m
	}
	for _, c := range []prometheus.Collector{m.checkIns, m.checkInSeconds, m.enrollments, m.fragments, m.inventories, m.sections, m.refused} {
		if err := reg.Register(c); err != nil { // a figure less is no reason not to serve
			log.Warn("register metric", "err", err)
		}
	}
	return m
}
