package hub

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	wakeups   prometheus.Counter
	overflows prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, h *Hub) *metrics {
	m := &metrics{
		wakeups: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_wakeups_total", Help: "Wakeups sent to devices over their live connection.",
		}),
		overflows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_connection_overflows_total", Help: "Live connections ended because their peer did not read.",
		}),
	}
	if reg == nil {
		return m
	}
	for _, c := range []prometheus.Collector{
		m.wakeups, m.overflows,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "muster_devices_connected", Help: "Devices with a live connection to this server.",
		}, func() float64 { h.mu.Lock(); defer h.mu.Unlock(); return float64(len(h.devices)) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "muster_browsers_connected", Help: "Browsers with a live connection to this server.",
		}, func() float64 { h.mu.Lock(); defer h.mu.Unlock(); return float64(len(h.browsers)) }),
	} {
		if err := reg.Register(c); err != nil { // a figure less is no reason not to serve
			h.log.Warn("register metric", "err", err)
		}
	}
	return m
}
