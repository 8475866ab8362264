package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TunnelStatus is one hub as a spoke sees it.
type TunnelStatus struct {
	Hub         string
	State       string // connecting, ready, suspect, draining, failed
	Connections int
	Outstanding int
	RTT         time.Duration
}

// Tunnels registers the gauges of a spoke's tunnels; status is asked at each scrape. Call it once.
func (m *Metrics) Tunnels(status func() []TunnelStatus) {
	if m != nil {
		m.registry.MustRegister(&tunnels{status: status})
	}
}

// Peers registers the gauge of a hub's connections by cluster; peers is asked at each scrape. Call it once.
func (m *Metrics) Peers(peers func() map[string]int) {
	if m != nil {
		m.registry.MustRegister(&peerCounts{peers: peers})
	}
}

// HiddenRepeats registers the counter of wire requests that no attempt accounts for (HOPS-AND-RETRIES B.5). total must
// never fall. Call it once.
func (m *Metrics) HiddenRepeats(total func() float64) {
	if m != nil {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "penstock_hidden_repeats_total",
			Help: "Wire requests that no attempt accounts for; anything but 0 is a bug.",
		}, total))
	}
}

var (
	tunnelConnections = prometheus.NewDesc("penstock_tunnel_connections", "Connections to a hub, by state.", []string{"hub", "state"}, nil)
	tunnelOutstanding = prometheus.NewDesc("penstock_tunnel_outstanding", "Exchanges under way to a hub.", []string{"hub"}, nil)
	tunnelRTT         = prometheus.NewDesc("penstock_tunnel_rtt_seconds", "Smoothed round-trip time to a hub.", []string{"hub"}, nil)
	tunnelPeers       = prometheus.NewDesc("penstock_tunnel_peers", "Connections of a cluster's gateways.", []string{"cluster"}, nil)
)

type tunnels struct{ status func() []TunnelStatus }

// Describe and Collect make it a prometheus.Collector.
func (t *tunnels) Describe(ch chan<- *prometheus.Desc) {
	ch <- tunnelConnections
	ch <- tunnelOutstanding
	ch <- tunnelRTT
}

func (t *tunnels) Collect(ch chan<- prometheus.Metric) {
	for _, s := range t.status() {
		ch <- prometheus.MustNewConstMetric(tunnelConnections, prometheus.GaugeValue, float64(s.Connections), s.Hub, s.State)
		ch <- prometheus.MustNewConstMetric(tunnelOutstanding, prometheus.GaugeValue, float64(s.Outstanding), s.Hub)
		ch <- prometheus.MustNewConstMetric(tunnelRTT, prometheus.GaugeValue, s.RTT.Seconds(), s.Hub)
	}
}

type peerCounts struct{ peers func() map[string]int }

// Describe and Collect make it a prometheus.Collector.
func (p *peerCounts) Describe(ch chan<- *prometheus.Desc) { ch <- tunnelPeers }

func (p *peerCounts) Collect(ch chan<- prometheus.Metric) {
	for cluster, n := range p.peers() {
		ch <- prometheus.MustNewConstMetric(tunnelPeers, prometheus.GaugeValue, float64(n), cluster)
	}
}
