package telemetry

import (
	"cmp"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config of Metrics. The zero value is good.
type Config struct {
	// MaxSeries bounds the sets of request labels [2000]. The rest counts under "other".
	MaxSeries int
}

// Metrics of one process, in a registry of their own. All methods are safe for concurrent use and for a nil receiver,
// which counts nothing.
type Metrics struct {
	registry *prometheus.Registry
	series   seriesSet
	ratio    ratio

	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	attempts  *prometheus.HistogramVec
	hops      *prometheus.HistogramVec
	inFlight  *prometheus.GaugeVec
	refusals  *prometheus.CounterVec
	loops     *prometheus.CounterVec
	exhausted *prometheus.CounterVec
	failOpen  *prometheus.CounterVec
	mirrors   *prometheus.CounterVec
	streams   *prometheus.CounterVec
	rotations *prometheus.CounterVec
	cut       *prometheus.CounterVec
	stripped  prometheus.Counter
	panics    prometheus.Counter
	dropped   prometheus.Counter
	revision  prometheus.Gauge
	problems  prometheus.Gauge
}

// Most calls take less than a second; model calls stream for minutes.
var durationBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600}

// New makes the metrics, with those of the Go runtime and of the process beside them.
func New(cfg Config) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histograms := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	with := func(more ...string) []string { return append(append([]string{}, labelNames...), more...) }

	m := &Metrics{
		registry:  prometheus.NewPedanticRegistry(),
		series:    seriesSet{max: cmp.Or(cfg.MaxSeries, 2000), all: map[Labels]*series{}},
		requests:  counters("penstock_requests_total", "Requests answered, by status code.", with("code")...),
		duration:  histograms("penstock_request_duration_seconds", "Time from the request head to the end of the response.", durationBuckets, with()...),
		attempts:  histograms("penstock_attempts", "Request attempts made below this gateway for one request.", []float64{0, 1, 2, 3, 4, 5}, with()...),
		hops:      histograms("penstock_hops", "Gateways a request has passed when it arrives.", []float64{0, 1, 2, 3, 4, 5, 6, 7, 8}, "gateway"),
		inFlight:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "penstock_in_flight", Help: "Requests that wait for response headers."}, []string{"backend"}),
		refusals:  counters("penstock_refusals_total", "Requests that this gateway answered with an error of its own, by reason.", with("reason")...),
		loops:     counters("penstock_loop_detected_total", "Loops ended by this gateway, by kind.", with("kind")...),
		exhausted: counters("penstock_retry_budget_exhausted_total", "Repeats that a retry budget or throttle forbade.", with()...),
		failOpen:  counters("penstock_filter_failed_open_total", "Filters that failed and were passed over because they may fail open.", "type"),
		mirrors:   counters("penstock_mirror_total", "Copies of requests that routes asked for, by what became of them.", "outcome"),
		streams:   counters("penstock_streams_total", "TLS streams of TLSRoutes, by how they ended.", "outcome"),
		rotations: counters("penstock_credential_rotations_total", "New versions of a credential that were taken into use.", "credential"),
		cut:       counters("penstock_clients_cut_total", "Connections closed and answers cut off because a client took too much, by what.", "limit"),
		stripped:  counter("penstock_reserved_header_stripped_total", "Reserved headers deleted from requests at untrusted listeners."),
		panics:    counter("penstock_handler_panics_total", "Panics recovered in the request handler; anything but 0 is a bug."),
		dropped:   counter("penstock_access_log_dropped_total", "Access log lines dropped because the sink did not keep up."),
		revision:  gauge("penstock_snapshot_revision", "Catalog revision of the snapshot that is served."),
		problems:  gauge("penstock_config_errors", "Problems found in the manifests of the snapshot that is served."),
	}
	m.registry.MustRegister(
		m.requests, m.duration, m.attempts, m.hops, m.inFlight, m.refusals, m.loops, m.exhausted, m.failOpen, m.mirrors, m.streams, m.rotations, m.cut,
		m.stripped, m.panics, m.dropped, m.revision, m.problems,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "penstock_amplification_ratio",
			Help: "Upstream attempts per request over the last 60 s; 0 without requests.",
		}, func() float64 { return m.ratio.value(time.Now()) }),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler serves /metrics.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Registry is for tests and for collectors of the wiring; names still come from this package.
func (m *Metrics) Registry() *prometheus.Registry {
	if m == nil {
		return prometheus.NewRegistry()
	}
	return m.registry
}

func (m *Metrics) of(l Labels) *series {
	return m.series.get(l, func(values []string) *series {
		return &series{
			values:   values,
			duration: m.duration.WithLabelValues(values...),
			attempts: m.attempts.WithLabelValues(values...),
			codes:    map[int]prometheus.Counter{},
		}
	})
}

// bounded are the label values of l within the bound, and more behind them.
func (m *Metrics) bounded(l Labels, more ...string) []string {
	return append(append([]string{}, m.of(l).values...), more...)
}

// Answered counts a request that has ended. code is its status; 0, of a client that went
// away before there was one, counts as "none".
// attempts are those made below this gateway.
func (m *Metrics) Answered(l Labels, code int, took time.Duration, attempts int) {
	if m == nil {
		return
	}
	s := m.of(l)
	s.code(m.requests, code).Inc()
	s.duration.Observe(took.Seconds())
	s.attempts.Observe(float64(attempts))
	m.ratio.add(time.Now(), 1, attempts)
}

// Hops records how many gateways a request had passed. gateway is that of the listener.
func (m *Metrics) Hops(gateway string, n int) {
	if m != nil {
		m.hops.WithLabelValues(cmp.Or(gateway, none)).Observe(float64(n))
	}
}

// InFlight is the gauge of a Backend; n is +1 or -1. Backends come from the snapshot, which bounds the label.
func (m *Metrics) InFlight(backend string, n int) {
	if m != nil {
		m.inFlight.WithLabelValues(backend).Add(float64(n))
	}
}

// Refused counts a request that this gateway answered itself. reason is one of a fixed set.
func (m *Metrics) Refused(l Labels, reason string) {
	if m != nil {
		m.refusals.WithLabelValues(m.bounded(l, reason)...).Inc()
	}
}

// Loop counts a loop that ended here. kind is a hop.Kind.
func (m *Metrics) Loop(l Labels, kind string) {
	if m != nil {
		m.loops.WithLabelValues(m.bounded(l, kind)...).Inc()
	}
}

// BudgetExhausted counts a repeat that a budget forbade.
func (m *Metrics) BudgetExhausted(l Labels) {
	if m != nil {
		m.exhausted.WithLabelValues(m.bounded(l)...).Inc()
	}
}

// Stripped counts reserved headers deleted from one request.
func (m *Metrics) Stripped(n int) {
	if m != nil && n > 0 {
		m.stripped.Add(float64(n))
	}
}

// FailedOpen counts a filter that failed and was passed over. Types come from the snapshot, which bounds the label.
func (m *Metrics) FailedOpen(filterType string) {
	if m != nil {
		m.failOpen.WithLabelValues(filterType).Inc()
	}
}

// Mirrored counts a copy of a request by what became of it: answered, refused, failed or abandoned.
func (m *Metrics) Mirrored(outcome string) {
	if m != nil {
		m.mirrors.WithLabelValues(outcome).Inc()
	}
}

// Streamed counts a TLS stream by how it ended: whole, broken or refused.
func (m *Metrics) Streamed(outcome string) {
	if m != nil {
		m.streams.WithLabelValues(outcome).Inc()
	}
}

// Cut counts a client that was cut off, by the limit that it met.
func (m *Metrics) Cut(limit string) {
	if m != nil {
		m.cut.WithLabelValues(limit).Inc()
	}
}

// Panicked counts a panic recovered in the handler.
func (m *Metrics) Panicked() {
	if m != nil {
		m.panics.Inc()
	}
}

// Snapshot records what is served: the revision, and the problems found in its manifests.
func (m *Metrics) Snapshot(revision int64, problems int) {
	if m != nil {
		m.revision.Set(float64(revision))
		m.problems.Set(float64(problems))
	}
}

// Rotated counts a new version of a credential ("namespace/name"). The version itself is no label: it would grow
// without bound.
func (m *Metrics) Rotated(credential string) {
	if m != nil {
		m.rotations.WithLabelValues(credential).Inc()
	}
}
