package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/gateway/telemetry"
	"penstock.dev/penstock/tunnel"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*http2serverConn).serve"))
}

// The gateways of the tests.
var (
	keys    = hop.NewKeys([]byte("domain"), []byte("today"), []byte("yesterday"))
	spokeID = hop.Self{Group: strings.Repeat("a", 32), Instance: "a1", Pseudonym: keys.Pseudonym(strings.Repeat("a", 32))}
	hubID   = hop.Self{Group: strings.Repeat("b", 32), Instance: "b1", Pseudonym: keys.Pseudonym(strings.Repeat("b", 32)), Keys: keys}
	bot     = hop.Subject{Namespace: "shop", ServiceAccount: "bot", Proof: hop.ProofToken}
)

// roundTrip is a next hop of a test: what a parent or an endpoint would be.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) parent() http.RoundTripper { return parentFunc(f) }
func (f roundTrip) endpoint() Endpoint        { return endpointFunc(f) }

type (
	parentFunc   roundTrip
	endpointFunc roundTrip
)

func (f parentFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
func (f endpointFunc) RoundTrip(r *http.Request, _ *route.Backend) (*http.Response, error) {
	return f(r)
}

// response is a whole one.
func response(status int, content string, header ...string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(content)), ContentLength: int64(len(content))}
	for i := 0; i < len(header); i += 2 {
		res.Header.Add(header[i], header[i+1])
	}
	return res
}

// script answers each request with the next of its steps, and keeps what it was sent. It fails the test when it is asked
// more often.
type script struct {
	t     testing.TB
	mu    sync.Mutex
	steps []roundTrip
	seen  []*http.Request
	sent  []string // bodies
}

func scripted(t testing.TB, steps ...roundTrip) *script { return &script{t: t, steps: steps} }

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	n := len(s.seen)
	s.seen = append(s.seen, r)
	s.mu.Unlock()
	if n >= len(s.steps) {
		s.t.Errorf("request %d to a next hop that expects %d: %s %s", n+1, len(s.steps), r.Method, r.URL)
		return nil, io.ErrUnexpectedEOF
	}
	return s.steps[n](r)
}

// reads the body, as a next hop does, before it goes on.
func (s *script) reads(then roundTrip) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.sent = append(s.sent, string(b))
		s.mu.Unlock()
		return then(r)
	}
}

func answers200(r *http.Request) (*http.Response, error) { return response(200, "ok"), nil }

func status(code int, header ...string) roundTrip {
	return func(*http.Request) (*http.Response, error) {
		return response(code, http.StatusText(code), header...), nil
	}
}

func fails(err error) roundTrip {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// rig is a gateway whose next hops are scripts, and what it has recorded.
type rig struct {
	*Gateway
	t        testing.TB
	refusals *telemetry.Refusals
	metrics  *telemetry.Metrics
	log      *lockedBuffer
	access   *telemetry.AccessLog
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// newRig serves a snapshot; change may alter the config.
func newRig(t testing.TB, s *route.Snapshot, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, refusals: &telemetry.Refusals{}, metrics: telemetry.New(telemetry.Config{}), log: &lockedBuffer{}}
	r.access = telemetry.NewAccessLog(r.log, 0, r.metrics)
	cfg := Config{
		Name: "gw-0", Self: hubID, Log: slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: r.metrics, AccessLog: r.access, Refusals: r.refusals, Rand: func() float64 { return 0 },
		Identify: func(*http.Request) (hop.Subject, error) { return bot, nil },
	}
	if change != nil {
		change(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Gateway = g
	g.Use(s)
	if g.Snapshot() == nil || len(g.Snapshot().Listeners) != len(s.Listeners) {
		t.Fatalf("the snapshot is not served: %s", r.log)
	}
	return r
}

// lines of the access log, once no request is under way: a client may have its answer before the line is written.
func (r *rig) lines() []map[string]any {
	r.t.Helper()
	for r.active.Load() != 0 && r.t.Context().Err() == nil {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.access.Run(ctx); err != nil {
		r.t.Fatal(err)
	}
	var out []map[string]any
	for line := range strings.Lines(r.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			r.t.Fatal(err)
		}
		if m["msg"] == "request" {
			out = append(out, m)
		}
	}
	return out
}

// metric reads one line of the scrape that starts with prefix; 0 without.
func (r *rig) metric(prefix string) string {
	w := httptest.NewRecorder()
	r.metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:])
		}
	}
	return "0"
}

// do sends a request of a workload.
func (r *rig) do(method, target string, content io.Reader, header ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), method, target, content)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.Workload(80).ServeHTTP(w, req)
	return w
}

// peers makes the gateway take every request for one of a tunnel to this peer.
func (r *rig) peers(p tunnel.Peer) {
	r.peer = func(context.Context) (tunnel.Peer, bool) { return p, true }
}

var spokePeer = tunnel.Peer{ID: tunnel.ID{Role: tunnel.RoleSpoke, Cluster: "east", Group: spokeID.Group}}

// tagged is the header of a request that a spoke forwards.
func tagged(t testing.TB, change func(*hop.Tags)) http.Header {
	t.Helper()
	h := http.Header{}
	tags, _, err := hop.FromWorkload(h, "api", spokeID, hop.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	tags.Subject = bot
	if tags, err = tags.Forward(spokeID, 0); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&tags)
	}
	tags.Write(h, spokeID)
	return h
}

// viaTunnel sends a request of a peer.
func (r *rig) viaTunnel(method, target string, content io.Reader, h http.Header) *httptest.ResponseRecorder {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), method, target, content)
	req.Header = h
	w := httptest.NewRecorder()
	r.Tunnel().ServeHTTP(w, req)
	return w
}

// snapshot serves "http://api/" on port 80 and on tunnels; change may alter its one Backend and its one rule.
func snapshot(via route.Via, change func(*route.Backend, *route.Rule)) *route.Snapshot {
	b := route.Backend{Key: "billing/payments", Via: via, Authority: "payments.billing.svc.clusterset.local"}
	if via == route.ViaEndpoint {
		b.Authority = "api.example.com"
	}
	r := route.Rule{Route: route.Ref{Kind: "HTTPRoute", Namespace: "shop", Name: "pay"}, Name: "0", Targets: []route.Target{{Weight: 1, Backend: b.Key}}}
	if change != nil {
		change(&b, &r)
	}
	s := &route.Snapshot{
		Listeners: []route.Listener{
			{Gateway: "infra/egress", Name: "http", Protocol: route.ProtocolHTTP, Port: 80, Rules: []route.Rule{r}},
			{Gateway: "infra/hub", Name: "tunnel", Protocol: route.ProtocolTunnel, Port: 8443, Rules: []route.Rule{r}},
		},
		Backends: []route.Backend{b},
	}
	return s
}

func ptr(d time.Duration) *time.Duration { return &d }

// requestFor is a request whose client leaves after d.
func requestFor(t testing.TB, target string, d time.Duration) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	return httptest.NewRequestWithContext(ctx, http.MethodGet, target, nil), cancel
}

// serveAborts reports whether a handler cut its response off.
func serveAborts(h http.Handler, r *http.Request) (aborted bool) {
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				panic(v)
			}
			aborted = true
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), r)
	return false
}
