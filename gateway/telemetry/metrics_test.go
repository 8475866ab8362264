package telemetry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

var shop = Labels{Gateway: "infra/egress", Route: "shop/pay", Backend: "billing/payments", Namespace: "shop", ServiceAccount: "bot", Cluster: "east"}

// everything counts one of each, so that every metric has a series.
func everything(m *Metrics) {
	m.Answered(shop, 200, time.Second, 2)
	m.Hops("infra/egress", 1)
	m.InFlight("billing/payments", 1)
	m.Refused(shop, "not-granted")
	m.Loop(shop, "path")
	m.BudgetExhausted(shop)
	m.Stripped(3)
	m.FailedOpen("penstock.dev/HeaderModifier:v1")
	m.Panicked()
	m.Snapshot(42, 7)
	m.Rotated("billing/key")
	m.Tunnels(func() []TunnelStatus {
		return []TunnelStatus{{Hub: "hub-0", State: "ready", Connections: 2, Outstanding: 5, RTT: 40 * time.Millisecond}}
	})
	m.Peers(func() map[string]int { return map[string]int{"east": 3} })
	m.HiddenRepeats(func() float64 { return 0 })
}

// The names and labels are what dashboards and alerts rest on: changing this table is changing an interface.
func TestEveryMetricIsThereWithItsLabels(t *testing.T) {
	m := New(Config{})
	everything(m)
	text := scrape(t, m)
	const six = `backend="billing/payments",cluster="east",%sgateway="infra/egress",namespace="shop",%sroute="shop/pay",serviceAccount="bot"`
	with := func(before, after string) string { return fmt.Sprintf(six, before, after) }
	for _, want := range []string{
		`penstock_requests_total{` + with(`code="200",`, "") + `} 1`,
		`penstock_request_duration_seconds_count{` + with("", "") + `} 1`,
		`penstock_attempts_sum{` + with("", "") + `} 2`,
		`penstock_hops_sum{gateway="infra/egress"} 1`,
		`penstock_in_flight{backend="billing/payments"} 1`,
		`penstock_refusals_total{` + with("", `reason="not-granted",`) + `} 1`,
		`penstock_loop_detected_total{` + with("", `kind="path",`) + `} 1`,
		`penstock_retry_budget_exhausted_total{` + with("", "") + `} 1`,
		`penstock_reserved_header_stripped_total 3`,
		`penstock_filter_failed_open_total{type="penstock.dev/HeaderModifier:v1"} 1`,
		`penstock_handler_panics_total 1`,
		`penstock_access_log_dropped_total 0`,
		`penstock_hidden_repeats_total 0`,
		`penstock_amplification_ratio 2`,
		`penstock_snapshot_revision 42`,
		`penstock_config_errors 7`,
		`penstock_credential_rotations_total{credential="billing/key"} 1`,
		`penstock_tunnel_connections{hub="hub-0",state="ready"} 2`,
		`penstock_tunnel_outstanding{hub="hub-0"} 5`,
		`penstock_tunnel_rtt_seconds{hub="hub-0"} 0.04`,
		`penstock_tunnel_peers{cluster="east"} 3`,
		`go_goroutines `,
		`process_start_time_seconds `,
	} {
		if !hasLine(text, want) {
			// Prometheus sorts labels by name; kind stands before namespace.
			t.Errorf("no line %q", want)
		}
	}
}

func hasLine(text, want string) bool {
	for line := range strings.Lines(text) {
		if sorted(line) == sorted(want) || strings.HasPrefix(line, want) {
			return true
		}
	}
	return false
}

// sorted brings the labels of a line into one order.
func sorted(line string) string {
	name, rest, ok := strings.Cut(strings.TrimSpace(line), "{")
	if !ok {
		return name
	}
	labels, value, _ := strings.Cut(rest, "}")
	parts := map[string]bool{}
	for _, l := range strings.Split(labels, ",") {
		parts[l] = true
	}
	return fmt.Sprint(name, parts, strings.TrimSpace(value)) // maps print in the order of their keys
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// The proposal names the label serviceAccount, and it is the only thing that the linter may say.
func TestMetricsPassTheLinter(t *testing.T) {
	m := New(Config{})
	everything(m)
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "penstock_") && !strings.Contains(p.Text, "label names should be written in 'snake_case'") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestLabelSetsAreBounded(t *testing.T) {
	m := New(Config{MaxSeries: 10})
	for n := range 1000 {
		l := shop
		l.Namespace = fmt.Sprintf("ns%d", n)
		m.Answered(l, 200, 0, 1)
		m.Refused(l, "not-granted")
	}
	text := scrape(t, m)
	if n := strings.Count(text, "penstock_requests_total{"); n != 11 {
		t.Errorf("%d series of requests, want 10 and the rest", n)
	}
	if !hasLine(text, `penstock_requests_total{backend="other",cluster="other",code="200",gateway="other",namespace="other",route="other",serviceAccount="other"} 990`) {
		t.Error("the rest is not counted under other")
	}
	if n := strings.Count(text, "penstock_refusals_total{"); n != 11 {
		t.Errorf("%d series of refusals, want 11", n)
	}
}

func TestStatusCodesAreBounded(t *testing.T) {
	for code, want := range map[int]int{200: 200, 404: 404, 418: 418, 508: 508, 299: 200, 599: 500, 999: 900, 0: 0, 99: 100, 12345: 900} {
		if got := knownCode(code); got != want {
			t.Errorf("code %d counts as %d, want %d", code, got, want)
		}
	}
}

func TestMissingLabelsAreNone(t *testing.T) {
	m := New(Config{})
	m.Answered(Labels{}, 0, 0, 0)
	if !hasLine(scrape(t, m), `penstock_requests_total{backend="none",cluster="none",code="none",gateway="none",namespace="none",route="none",serviceAccount="none"} 1`) {
		t.Errorf("no series with none, or not for a client that left:\n%s", scrape(t, m))
	}
}

func TestNilMetricsCountNothing(t *testing.T) {
	var m *Metrics
	everything(m)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("scrape of nothing: %d", w.Code)
	}
}

func TestRatio(t *testing.T) {
	t0 := time.Unix(1_000_000, 0)
	var r ratio
	steps := []struct {
		name               string
		at                 time.Duration
		requests, attempts int
		want               float64
	}{
		{"without requests it is 0", 0, 0, 0, 0},
		{"one attempt each is 1", 0, 10, 10, 1},
		{"repeats raise it", time.Second, 10, 30, 2},
		{"after 59 s the first second still counts", 59 * time.Second, 0, 0, 2},
		{"after 60 s it does not", 60 * time.Second, 0, 0, 3},
		{"after a pause of hours nothing does", 5 * time.Hour, 0, 0, 0},
	}
	var got, want []float64
	for _, s := range steps {
		r.add(t0.Add(s.at), s.requests, s.attempts)
		got, want = append(got, r.value(t0.Add(s.at))), append(want, s.want)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps %+v:\n%s", steps, diff)
	}
}

// The request path may spend little on counting.
func BenchmarkAnswered(b *testing.B) {
	m := New(Config{})
	b.ReportAllocs()
	for b.Loop() {
		m.Answered(shop, 200, time.Millisecond, 1)
	}
}
