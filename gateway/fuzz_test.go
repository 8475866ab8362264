package gateway

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
)

// FuzzWorkload: whatever a workload sends that net/http takes for a request, the gateway answers without a panic, sends
// at most one request outside to a destination that answers, and lets no reserved, hop-by-hop or identity field out, nor
// any tag back.
func FuzzWorkload(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: api\r\n\r\n",
		"POST /a%2Fb?x=1 HTTP/1.1\r\nHost: api:80\r\nContent-Length: 3\r\n\r\npay",
		"POST / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\nTrailer: Penstock-Path\r\n\r\n3\r\npay\r\n0\r\nPenstock-Path: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: api\r\nConnection: penstock-path, X-A\r\nX-A: 1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: api\r\nConnection: X-A , , close\r\nX-A: 1\r\nKeep-Alive: 1\r\nTE: trailers;q=1, gzip\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: api\r\nPenstock_Budget: h=9\r\nCDN-Loop: a, b;c=\"d\"\r\n\r\n",
		"GET http://hub.penstock.internal/ HTTP/1.1\r\nHost: api\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: api\r\n\r\n",
		"GET /.. HTTP/1.1\r\nHost: api.\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
		"PRI /x HTTP/1.1\r\nHost: API\r\nGrpc-Timeout: 1S\r\nContent-Type: application/grpc\r\nTraceparent: 00-x\r\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		nominated, upgrade := slices.Clone(req.Header["Connection"]), upgradeOf(req)
		var sent []*http.Request
		r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) {
			c.Endpoint = roundTrip(func(out *http.Request) (*http.Response, error) {
				sent = append(sent, out)
				_, _ = io.Copy(io.Discard, out.Body) // a body that breaks off is the client's doing
				return response(200, "ok", "Penstock-Attempts", "n=1, c=0"), nil
			}).endpoint()
		})
		w := httptest.NewRecorder()
		r.Workload(80).ServeHTTP(w, req.WithContext(t.Context()))
		if r.metric("penstock_handler_panics_total") != "0" {
			t.Fatalf("a panic: %s", r.log)
		}
		if len(sent) > 1 || len(sent) == 0 && w.Code < 400 && w.Header().Get("Grpc-Status") == "" {
			t.Fatalf("%d requests went out, status %d", len(sent), w.Code)
		}
		for name := range w.Header() {
			if hop.Reserved(name) {
				t.Fatalf("%s came back", name)
			}
		}
		for _, out := range sent {
			if upgrade != "" && slices.Equal(out.Header["Upgrade"], []string{upgrade}) && slices.Equal(out.Header["Connection"], []string{"Upgrade"}) {
				delete(out.Header, "Upgrade") // our own words, not the client's
				delete(out.Header, "Connection")
			}
			for name := range out.Header {
				if hop.Reserved(name) && name != "Cdn-Loop" || name != "Te" && slices.Contains(hopByHop, name) {
					t.Fatalf("%s went out", name)
				}
			}
			if te := out.Header["Te"]; len(te) > 0 && !slices.Equal(te, []string{"trailers"}) {
				t.Fatalf("TE %q went out", te)
			}
			for _, line := range nominated {
				for name := range strings.SplitSeq(line, ",") {
					name = http.CanonicalHeaderKey(strings.TrimSpace(name))
					if _, there := out.Header[name]; there && name != "Te" && name != "Traceparent" && name != "Cdn-Loop" {
						t.Fatalf("%s was nominated and went out", name)
					}
				}
			}
			for name := range out.Trailer {
				if hop.Reserved(name) {
					t.Fatalf("trailer %s went out", name)
				}
			}
			if out.Host != "api.example.com" {
				t.Fatalf("it went to %q", out.Host)
			}
		}
	})
}
