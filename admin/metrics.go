package admin

import (
	"runtime"

	"weir/internal/hist"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// collector turns a Snapshot into metrics at scrape time. Nothing is kept between
// scrapes, so a listener that a reload removed is gone with the next one.
type collector struct {
	snapshot func() Snapshot
	metrics  []*prometheus.Desc // as in metrics
	timings  []*prometheus.Desc // as in timings
}

func newRegistry(opt Options) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: buildName, Help: buildHelp,
		ConstLabels: prometheus.Labels{"version": opt.Version, "go": runtime.Version()},
	}, func() float64 { return 1 })
	r.MustRegister(build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if opt.Snapshot != nil {
		r.MustRegister(newCollector(opt.Snapshot))
	}
	return r
}

func newCollector(snapshot func() Snapshot) *collector {
	c := &collector{snapshot: snapshot}
	for _, m := range metrics {
		c.metrics = append(c.metrics, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	for _, m := range timings {
		c.timings = append(c.timings, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	return c
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.metrics {
		ch <- d
	}
	for _, d := range c.timings {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.snapshot()
	send := func(d *prometheus.Desc, m prometheus.Metric, err error) {
		if err != nil {
			m = prometheus.NewInvalidMetric(d, err)
		}
		ch <- m
	}
	for i, m := range metrics {
		m.each(&s, func(v float64, labels ...string) {
			made, err := prometheus.NewConstMetric(c.metrics[i], m.kind, v, labels...)
			send(c.metrics[i], made, err)
		})
	}
	for i, m := range timings {
		m.each(&s, func(h *hist.Snapshot, labels ...string) {
			buckets := make(map[float64]uint64)
			for _, o := range h.Octaves() {
				buckets[o.Bound.Seconds()] = o.Count
			}
			made, err := prometheus.NewConstHistogram(c.timings[i], h.Count(), h.Sum.Seconds(), buckets, labels...)
			send(c.timings[i], made, err)
		})
	}
}
