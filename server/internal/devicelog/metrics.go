package devicelog

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	lines, byDevice, byServer prometheus.Counter
	commit                    prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, log *slog.Logger) *metrics {
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "muster_log_lines_dropped_total", Help: "Log lines of devices that are missing, by who dropped them: device or server.",
	}, []string{"by"})
	m := &metrics{
		lines: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_log_lines_total", Help: "Log lines of devices that were taken.",
		}),
		byDevice: dropped.WithLabelValues("device"), byServer: dropped.WithLabelValues("server"),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "muster_log_commit_seconds", Help: "Time of a commit of log lines.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	if reg == nil {
		return m
	}
	for _, c := range []prometheus.Collector{m.lines, dropped, m.commit} {
		if err := reg.Register(c); err != nil { // a figure less is no reason not to serve
			log.Warn("register metric", "err", err)
		}
	}
	return m
}
