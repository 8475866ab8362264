package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
)

// discards is a client that keeps nothing.
type discards struct{ h http.Header }

func (d *discards) Header() http.Header         { return d.h }
func (d *discards) Write(p []byte) (int, error) { return len(p), nil }
func (d *discards) WriteHeader(int)             {}

// BenchmarkHandler is what the handler costs between two sockets: the same request at a spoke and at a hub, with next
// hops that answer at once.
func BenchmarkHandler(b *testing.B) {
	next := roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/plain"}}, Body: http.NoBody, ContentLength: 0}, nil
	})
	quiet := func(c *Config) { c.Log, c.AccessLog = nil, nil }
	b.Run("spoke", func(b *testing.B) {
		r := newRig(b, snapshot(route.ViaParent, nil), func(c *Config) { quiet(c); c.Self, c.Parent = spokeID, next.parent() })
		h := r.Workload(80)
		b.ReportAllocs()
		for b.Loop() {
			req := httptest.NewRequestWithContext(b.Context(), "GET", "http://api/v1/chat", nil)
			req.Header.Set("Accept", "*/*")
			h.ServeHTTP(&discards{http.Header{}}, req)
		}
	})
	b.Run("hub", func(b *testing.B) {
		s := snapshot(route.ViaEndpoint, func(b *route.Backend, _ *route.Rule) { b.GrantRequired = true })
		s.Grants = []route.Grant{{Backends: []string{"billing/payments"}, From: []route.GrantFrom{{Clusters: []string{"east"}}}}}
		r := newRig(b, s, func(c *Config) { quiet(c); c.Endpoint = next.endpoint() })
		r.peers(spokePeer)
		tags := tagged(b, func(t *hop.Tags) { t.Budget.Headers = 600e9 })
		h := r.Tunnel()
		b.ReportAllocs()
		for b.Loop() {
			req := httptest.NewRequestWithContext(b.Context(), "GET", "http://payments.billing.svc.clusterset.local/v1/chat", nil)
			req.Header = tags.Clone()
			req.Body = io.NopCloser(http.NoBody)
			h.ServeHTTP(&discards{http.Header{}}, req)
		}
	})
}
