package app

import (
	"regexp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// meter registers the metrics of one program and knows what it registered, so that the
// documentation and the bound on labels are of what there is. Labels have closed sets of
// values, but for the pools of workers, which the provider names: never a tenant, a mailbox,
// a person or a channel.
type meter struct {
	*prometheus.Registry
	program Role
	defined []definition
}

// definition is a metric as docs/METRICS.md shows it.
type definition struct {
	name, kind, help string
	labels           []label
}

// label is a label with all the values it may have.
type label struct {
	name   string
	values []string
	named  *regexp.Regexp // instead of values: what the provider may call them
}

// elsewhere is what a value outside the set counts as.
const elsewhere = "other"

// of is the value v if the set has it.
func (l label) of(v string) string {
	if slices.Contains(l.values, v) || (l.named != nil && l.named.MatchString(v)) {
		return v
	}
	return elsewhere
}

func newMeter(program Role) *meter {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &meter{Registry: r, program: program}
}

func (m *meter) define(kind, name, help string, labels []label) (names []string) {
	m.defined = append(m.defined, definition{name, kind, help, labels})
	for _, l := range labels {
		names = append(names, l.name)
	}
	return names
}

// counter counts from 0 on, by values of its labels.
func (m *meter) counter(name, help string, labels ...label) *counter {
	names := m.define("counter", name, help, labels)
	c := &counter{prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, names), labels}
	m.MustRegister(c.vec)
	for _, values := range single(labels) {
		c.with(values...)
	}
	return c
}

// gauge is a number that goes up and down.
func (m *meter) gauge(name, help string, labels ...label) *gauge {
	names := m.define("gauge", name, help, labels)
	g := &gauge{prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, names), labels}
	m.MustRegister(g.vec)
	if len(labels) == 0 {
		g.with()
	}
	return g
}

// histogram counts seconds in buckets.
func (m *meter) histogram(name, help string, buckets []float64, labels ...label) *histogram {
	names := m.define("histogram", name, help, labels)
	h := &histogram{prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, names), labels}
	m.MustRegister(h.vec)
	return h
}

// asked is a number that is asked for at each scrape. It must answer at once.
func (m *meter) asked(kind, name, help string, value func() float64) {
	m.define(kind, name, help, nil)
	if kind == "counter" {
		m.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
		return
	}
	m.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// single lists the series of a counter with one label or none: they are there from the
// start, so that the first event shows as a rise.
func single(labels []label) (series [][]string) {
	switch len(labels) {
	case 0:
		return [][]string{nil}
	case 1:
		for _, v := range labels[0].values {
			series = append(series, []string{v})
		}
	}
	return series
}

// within folds values that are not in the sets of their labels.
func within(labels []label, values []string) []string {
	folded := make([]string, len(labels))
	for i, l := range labels {
		folded[i] = l.of(values[i])
	}
	return folded
}

// The three shapes; with takes one value for each label.
type (
	counter struct {
		vec    *prometheus.CounterVec
		labels []label
	}
	gauge struct {
		vec    *prometheus.GaugeVec
		labels []label
	}
	histogram struct {
		vec    *prometheus.HistogramVec
		labels []label
	}
)

func (c *counter) with(values ...string) prometheus.Counter {
	return c.vec.WithLabelValues(within(c.labels, values)...)
}

func (g *gauge) with(values ...string) prometheus.Gauge {
	return g.vec.WithLabelValues(within(g.labels, values)...)
}

func (h *histogram) with(values ...string) prometheus.Observer {
	return h.vec.WithLabelValues(within(h.labels, values)...)
}
