package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/tunnel"
)

func TestNew(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Self.Group") {
		t.Errorf("a gateway without group: %v", err)
	}
}

func TestABadSnapshotLeavesTheLastGoodOne(t *testing.T) {
	r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) { c.Endpoint = roundTrip(answers200).endpoint() })
	good := r.Snapshot()
	r.Use(&route.Snapshot{Listeners: []route.Listener{{Rules: []route.Rule{{Targets: []route.Target{{Backend: "not/there"}}}}}}})
	if r.Snapshot() != good {
		t.Error("the bad snapshot is served")
	}
	if !strings.Contains(r.log.String(), "not/there") {
		t.Error("the log does not say why")
	}
	if w := r.do("GET", "http://api/", nil); w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
}

// Refusals before anything is sent: nothing reaches a next hop, and each is answered, counted, kept and logged once.
func TestRefusedBeforeAnythingIsSent(t *testing.T) {
	guarded := func(b *route.Backend, r *route.Rule) {
		r.Matches = []route.Match{{PathType: route.PathPrefix, Path: "/v1"}}
		r.Filters = []route.Filter{{Name: "get", Type: route.FilterRequestGuard, Guard: &route.RequestGuard{AllowMethods: []string{"GET"}}}}
	}
	granted := func(b *route.Backend, _ *route.Rule) { b.GrantRequired = true }
	secret := func(b *route.Backend, _ *route.Rule) { b.MinIdentity = "spiffe" }
	for _, c := range []struct {
		name           string
		change         func(*route.Backend, *route.Rule)
		method, target string
		header         []string
		status         int
		reason         string
	}{
		{"a host under penstock.internal", nil, "GET", "http://hub.penstock.internal/v1/hello", nil, 403, "reserved-host"},
		{"a reserved header in Connection", nil, "GET", "http://api/", []string{"Connection", "close, CDN-Loop"}, 400, "reserved-name"},
		{"an underscore twin", nil, "GET", "http://api/", []string{"Penstock_Path", "x"}, 400, "reserved-name"},
		{"our own pseudonym in CDN-Loop", nil, "GET", "http://api/", []string{"CDN-Loop", hubID.Pseudonym}, 508, "loop-detected"},
		{"TRACE", nil, "TRACE", "http://api/", nil, 405, "method-refused"},
		{"TRACK", nil, "TRACK", "http://api/", nil, 405, "method-refused"},
		{"CONNECT", nil, "CONNECT", "http://api/", nil, 405, "method-refused"},
		{"two hosts", nil, "GET", "http://api/", []string{"Host", "other"}, 400, "malformed"},
		{"a path with dot segments", nil, "GET", "http://api/a/%2e%2e/b", nil, 400, "bad-path"},
		{"a path without route", guarded, "GET", "http://api/v2", nil, 404, "no-route"},
		{"a guarded method", guarded, "POST", "http://api/v1", nil, 403, "refused-by-guard"},
		{"no grant", granted, "GET", "http://api/", nil, 403, "not-granted"},
		{"a weak identity", secret, "GET", "http://api/", nil, 401, "identity-too-weak"},
		{"no time at all", nil, "POST", "http://api/", []string{"Content-Type", "application/grpc", "Grpc-Timeout", "1n"}, 504, "deadline"},
		{"a timeout that is none", nil, "POST", "http://api/", []string{"Grpc-Timeout", "soon"}, 400, "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := scripted(t) // it expects nothing
			r := newRig(t, snapshot(route.ViaEndpoint, c.change), func(cfg *Config) { cfg.Endpoint = roundTrip(next.RoundTrip).endpoint() })
			w := r.do(c.method, c.target, nil, append(c.header, "Authorization", "Bearer hush-hush")...)
			if got := w.Code; got != c.status && w.Header().Get("Grpc-Status") == "" {
				t.Errorf("status %d, want %d: %s", got, c.status, w.Body)
			}
			kept := r.refusals.Last(9)
			if len(kept) != 1 || kept[0].Reason != c.reason || kept[0].Status != c.status || kept[0].RequestID != w.Header().Get("X-Request-Id") {
				t.Fatalf("kept %+v, want one %s with status %d and id %s", kept, c.reason, c.status, w.Header().Get("X-Request-Id"))
			}
			if kept[0].Detail == "" || kept[0].Remedy == "" || kept[0].Gateway != "gw-0" {
				t.Errorf("detail %q, remedy %q, gateway %q", kept[0].Detail, kept[0].Remedy, kept[0].Gateway)
			}
			lines := r.lines()
			if len(lines) != 1 || lines[0]["reason"] != c.reason || lines[0]["requestId"] != kept[0].RequestID {
				t.Errorf("access log: %v", lines)
			}
			if strings.Contains(r.log.String(), "hush-hush") {
				t.Error("the log holds a credential of the workload")
			}
			if got := r.metric("penstock_handler_panics_total"); got != "0" {
				t.Errorf("%s panics", got)
			}
		})
	}
}

func TestWhatReachesTheOutside(t *testing.T) {
	next := scripted(t, answers200)
	r := newRig(t, snapshot(route.ViaEndpoint, func(_ *route.Backend, rule *route.Rule) {
		rule.Matches = []route.Match{{PathType: route.PathPrefix, Path: "/v1"}}
		rule.Filters = []route.Filter{
			{Type: route.FilterHeaderModifier, Phase: route.PhaseRequestHeaders, Headers: &route.HeaderModifier{Set: []route.Header{{Name: "X-Team", Value: "shop"}}}},
			{Type: route.FilterURLRewrite, Phase: route.PhaseRequestHeaders, Rewrite: &route.URLRewrite{PrefixPath: new(string)}},
			{Type: route.FilterHeaderModifier, Phase: route.PhaseBackendRequest, Headers: &route.HeaderModifier{Set: []route.Header{{Name: "X-Attempt", Value: "yes"}}}},
			{Type: route.FilterHeaderModifier, Phase: route.PhaseBackendResponse, Headers: &route.HeaderModifier{Remove: []string{"Server"}}},
			{Type: route.FilterHeaderModifier, Phase: route.PhaseResponseHeaders, Headers: &route.HeaderModifier{Add: []route.Header{{Name: "X-Seen", Value: "1"}}}},
		}
	}), func(c *Config) { c.Endpoint = roundTrip(next.RoundTrip).endpoint() })
	next.steps[0] = status(200, "Server", "x", "Penstock-Attempts", "n=9, c=9", "Proxy-Status", hubID.Pseudonym+"; error=x", "Proxy-Status", "cdn; error=y",
		"Connection", "close, X-Hop", "X-Hop", "1", "Keep-Alive", "timeout=1", "X-Request-Id", "upstream-1")
	w := r.do("GET", "http://api/v1/chat?q=1", nil,
		"Proxy-Authorization", "Bearer pod-token", "Connection", "X-Nominated, close", "X-Nominated", "1", "Keep-Alive", "1", "Te", "trailers, gzip",
		"Penstock-Budget", "h=255", "Penstock-Path", "x", "CDN-Loop", "elsewhere", "Traceparent", "nonsense", "User-Agent", "sdk/1")
	if w.Code != 200 || w.Body.String() != "OK" {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	out := next.seen[0]
	if got := out.Host + " " + out.URL.String(); got != "api.example.com http://api.example.com/chat?q=1" {
		t.Errorf("it went to %s", got)
	}
	loop := out.Header.Get("Cdn-Loop")
	if !strings.HasPrefix(loop, "elsewhere") || !strings.Contains(loop, hubID.Pseudonym+";v=1;x=") {
		t.Errorf("CDN-Loop is %q", loop)
	}
	if out.Header.Get("Traceparent") == "nonsense" || out.Header.Get("Traceparent") == "" {
		t.Errorf("traceparent is %q", out.Header.Get("Traceparent"))
	}
	out.Header.Del("Cdn-Loop")
	out.Header.Del("Traceparent")
	want := http.Header{"X-Team": {"shop"}, "X-Attempt": {"yes"}, "Te": {"trailers"}, "User-Agent": {"sdk/1"}}
	if diff := cmp.Diff(want, out.Header); diff != "" {
		t.Errorf("header outside (-want +got):\n%s", diff)
	}
	wantBack := http.Header{"Proxy-Status": {"cdn; error=y"}, "X-Seen": {"1"}, "X-Request-Id": {"upstream-1"}}
	if diff := cmp.Diff(wantBack, w.Header()); diff != "" {
		t.Errorf("header back (-want +got):\n%s", diff)
	}
	if got := r.metric("penstock_reserved_header_stripped_total"); got != "2" {
		t.Errorf("%s reserved headers counted as stripped, want 2", got)
	}
	line := r.lines()[0]
	if line["path"] != "/v1/chat" || strings.Contains(fmt.Sprint(line), "q=1") {
		t.Errorf("the access log tells the query: %v", line)
	}
}

func TestTheOfferOfH2CIsPassedOver(t *testing.T) {
	next := scripted(t, answers200)
	r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) { c.Endpoint = roundTrip(next.RoundTrip).endpoint() })
	w := r.do("GET", "http://api/", nil, "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAMAAABk")
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	for _, name := range []string{"Connection", "Upgrade", "Http2-Settings"} {
		if _, ok := next.seen[0].Header[name]; ok {
			t.Errorf("%s went on", name)
		}
	}
}

func TestConnectionFieldsInHTTP2AreRefused(t *testing.T) {
	for _, h := range [][2]string{
		{"Connection", "close"}, {"Transfer-Encoding", "chunked"}, {"Keep-Alive", "1"}, {"Proxy-Connection", "x"}, {"Upgrade", "h2c"}, {"Te", "gzip"}, {"Te", "trailers, gzip"},
	} {
		t.Run(h[0]+": "+h[1], func(t *testing.T) {
			r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) { c.Endpoint = roundTrip(scripted(t).RoundTrip).endpoint() })
			req := httptest.NewRequestWithContext(t.Context(), "GET", "http://api/", nil)
			req.ProtoMajor, req.ProtoMinor, req.Proto = 2, 0, "HTTP/2.0"
			req.Header.Set(h[0], h[1])
			w := httptest.NewRecorder()
			r.Workload(80).ServeHTTP(w, req)
			if w.Code != 400 {
				t.Errorf("status %d, want 400", w.Code)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status int
		reason string
	}{
		{"a proof that is not good", errors.New("token expired"), 401, "identity-invalid"},
		{"a proof that cannot be checked", fmt.Errorf("token review: %w", ErrIdentityUnavailable), 503, "identity-unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, snapshot(route.ViaEndpoint, nil), func(cfg *Config) {
				cfg.Endpoint = roundTrip(scripted(t).RoundTrip).endpoint()
				cfg.Identify = func(*http.Request) (hop.Subject, error) { return hop.Subject{}, c.err }
			})
			w := r.do("GET", "http://api/", nil)
			if kept := r.refusals.Last(1); w.Code != c.status || kept[0].Reason != c.reason {
				t.Errorf("status %d, reason %s", w.Code, kept[0].Reason)
			}
			if w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
				t.Error("a 401 without WWW-Authenticate")
			}
		})
	}
	t.Run("the subject stands in refusals, metrics and log", func(t *testing.T) {
		r := newRig(t, snapshot(route.ViaEndpoint, func(b *route.Backend, _ *route.Rule) { b.GrantRequired = true }), nil)
		r.do("GET", "http://api/", nil)
		kept := r.refusals.Last(1)[0]
		if kept.Namespace != "shop" || kept.ServiceAccount != "bot" || kept.Proof != "token" || kept.Route != "shop/pay" || kept.Backend != "billing/payments" {
			t.Errorf("kept %+v", kept)
		}
		if got := r.metric(`penstock_refusals_total{backend="billing/payments",cluster="none",gateway="infra/egress",namespace="shop",reason="not-granted",route="shop/pay",serviceAccount="bot"}`); got != "1" {
			t.Errorf("counted %s", got)
		}
	})
}

func TestTunnelIntake(t *testing.T) {
	const target = "http://payments.billing.svc.clusterset.local/v1"
	grants := func(s *route.Snapshot) *route.Snapshot {
		s.Grants = []route.Grant{{Name: "billing/g", Backends: []string{"billing/payments"}, From: []route.GrantFrom{{Clusters: []string{"east"}}}}}
		return s
	}
	for _, c := range []struct {
		name   string
		peer   *tunnel.Peer
		header func(testing.TB) http.Header
		target string
		status int
		reason string
	}{
		{"a tagged request of a spoke passes", &spokePeer, func(t testing.TB) http.Header { return tagged(t, nil) }, target, 200, ""},
		{"a request without peer is refused", nil, func(t testing.TB) http.Header { return tagged(t, nil) }, target, 403, "no-peer"},
		{"a request without tags is refused", &spokePeer, func(testing.TB) http.Header { return http.Header{} }, target, 400, "malformed"},
		{
			"a path that does not end with the peer is forged", &tunnel.Peer{ID: tunnel.ID{Role: tunnel.RoleSpoke, Cluster: "east", Group: "cccc"}},
			func(t testing.TB) http.Header { return tagged(t, nil) }, target, 403, "hop-forged",
		},
		{"our own group on the path is a loop", &spokePeer, func(t testing.TB) http.Header {
			return tagged(t, func(tags *hop.Tags) {
				tags.Path = append([]hop.Entry{{Group: hubID.Group, Instance: "x"}}, tags.Path...)
			})
		}, target, 508, "loop-detected"},
		{"a spoke that names a cluster is refused", &spokePeer, func(t testing.TB) http.Header {
			return tagged(t, func(tags *hop.Tags) { tags.Subject.Cluster = "west" })
		}, target, 400, "malformed"},
		{"a hub that nobody lets vouch is refused", &tunnel.Peer{ID: tunnel.ID{Role: tunnel.RoleHub, Group: spokeID.Group}}, func(t testing.TB) http.Header {
			return tagged(t, func(tags *hop.Tags) { tags.Subject.Cluster = "west" })
		}, target, 403, "origin-not-vouched"},
		{"a hub that may vouch speaks for its cluster", &tunnel.Peer{ID: tunnel.ID{Role: tunnel.RoleHub, Group: spokeID.Group}}, func(t testing.TB) http.Header {
			return tagged(t, func(tags *hop.Tags) { tags.Subject.Cluster = "east" })
		}, target, 200, ""},
		{"another name under penstock.internal is refused", &spokePeer, func(t testing.TB) http.Header { return tagged(t, nil) }, "http://x.penstock.internal/", 403, "reserved-host"},
		{
			"a caller without grant is refused", &tunnel.Peer{ID: tunnel.ID{Role: tunnel.RoleSpoke, Cluster: "west", Group: spokeID.Group}},
			func(t testing.TB) http.Header { return tagged(t, nil) }, target, 403, "not-granted",
		},
		{"an unknown entry looks the same", &spokePeer, func(t testing.TB) http.Header { return tagged(t, nil) }, "http://nothing.billing.svc.clusterset.local/", 403, "not-granted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			r := newRig(t, grants(snapshot(route.ViaEndpoint, func(b *route.Backend, _ *route.Rule) { b.GrantRequired = true })), func(cfg *Config) {
				cfg.Vouches = func(p tunnel.Peer, cluster string) bool { return cluster == "east" }
				cfg.Endpoint = roundTrip(func(r *http.Request) (*http.Response, error) {
					calls++
					if via := r.Header.Get("Via"); via != "" {
						t.Errorf("the outside learns of %q", via)
					}
					return answers200(r)
				}).endpoint()
			})
			if c.peer != nil {
				r.peers(*c.peer)
			}
			w := r.viaTunnel("GET", c.target, nil, c.header(t))
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if kept := r.refusals.Last(1); c.reason != "" && (len(kept) != 1 || kept[0].Reason != c.reason) {
				t.Errorf("kept %+v, want %s", kept, c.reason)
			}
			if sent := calls > 0; sent != (c.status == 200) {
				t.Errorf("%d requests reached the outside", calls)
			}
			if c.status == 200 && w.Header().Get("Penstock-Attempts") != "n=1, c=0" {
				t.Errorf("Penstock-Attempts is %q", w.Header().Get("Penstock-Attempts"))
			}
			if w.Header().Get("Penstock-Not-Processed") != "" {
				t.Error("a refusal after routing claims to be a proof")
			}
		})
	}
}

func TestControlComesFirst(t *testing.T) {
	served := 0
	control := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { served++; w.WriteHeader(http.StatusNoContent) })
	for _, c := range []struct {
		name    string
		header  http.Header
		control http.Handler
		peer    bool
		status  int
	}{
		{"a control request is handed over", http.Header{}, control, true, 204},
		{"a CDN-Loop on it is ignored", http.Header{"Cdn-Loop": {hubID.Pseudonym}}, control, true, 204},
		{"tags on it are refused", http.Header{"Penstock-Path": {"x"}}, control, true, 400},
		{"without a tunnel it is refused", http.Header{}, control, false, 403},
		{"a gateway without control service has none", http.Header{}, nil, true, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			served = 0
			r := newRig(t, snapshot(route.ViaEndpoint, nil), func(cfg *Config) {
				cfg.Control = c.control
				cfg.MaxRequests = -1 // a gateway that is full still serves control
			})
			if c.peer {
				r.peers(spokePeer)
			}
			w := r.viaTunnel("GET", "http://"+tunnel.ControlAuthority+"/v1/hello", nil, c.header)
			if w.Code != c.status || (served == 1) != (c.status == 204) {
				t.Errorf("status %d, served %d times; want %d", w.Code, served, c.status)
			}
		})
	}
}

func TestAFullGatewayRefusesBeforeAnything(t *testing.T) {
	full := func(c *Config) { c.MaxRequests = -1 }
	t.Run("towards a tunnel that is a proof", func(t *testing.T) {
		r := newRig(t, snapshot(route.ViaEndpoint, nil), full)
		r.peers(spokePeer)
		w := r.viaTunnel("GET", "http://api/", nil, http.Header{"Penstock-Path": {"not even looked at"}})
		if w.Code != 503 || w.Header().Get("Penstock-Not-Processed") != "overload" || w.Header().Get("Retry-After") == "" {
			t.Errorf("status %d, header %v", w.Code, w.Header())
		}
	})
	t.Run("towards a workload it is not", func(t *testing.T) {
		w := newRig(t, snapshot(route.ViaEndpoint, nil), full).do("GET", "http://api/", nil)
		if w.Code != 503 || w.Header().Get("Penstock-Not-Processed") != "" {
			t.Errorf("status %d, header %v", w.Code, w.Header())
		}
	})
}

func TestAPanicEndsOneRequestOnly(t *testing.T) {
	next := scripted(t, func(*http.Request) (*http.Response, error) { panic("bug") }, answers200)
	r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) { c.Endpoint = roundTrip(next.RoundTrip).endpoint() })
	w := r.do("POST", "http://api/", strings.NewReader("x"))
	if w.Code != 502 || !strings.Contains(w.Header().Get("Proxy-Status"), "error=proxy_internal_error") || !strings.Contains(w.Header().Get("Proxy-Status"), "executed=maybe") {
		t.Errorf("row 32: status %d, %v", w.Code, w.Header())
	}
	if got := r.metric("penstock_handler_panics_total"); got != "1" {
		t.Errorf("%s panics counted", got)
	}
	if w := r.do("GET", "http://api/", nil); w.Code != 200 {
		t.Errorf("the next request: %d", w.Code)
	}
	if got := r.active.Load(); got != 0 {
		t.Errorf("%d requests counted as active", got)
	}
	if got := r.metric(`penstock_in_flight{backend="billing/payments"}`); got != "0" {
		t.Errorf("%s requests in flight", got)
	}
}

func TestAGatewayWithoutTheNextHopNeverGoesDirect(t *testing.T) {
	for via, change := range map[route.Via]func(*Config){
		route.ViaParent:   func(c *Config) { c.Endpoint = roundTrip(scripted(t).RoundTrip).endpoint() },
		route.ViaEndpoint: func(c *Config) { c.Parent = roundTrip(scripted(t).RoundTrip).parent() },
	} {
		t.Run(string(via), func(t *testing.T) {
			w := newRig(t, snapshot(via, nil), change).do("GET", "http://api/", nil)
			if w.Code != 500 || !strings.Contains(w.Header().Get("Proxy-Status"), "no-next-hop") {
				t.Errorf("status %d, %v", w.Code, w.Header())
			}
		})
	}
}

// waiting is a next hop that answers when it is let go, or when the request is given up.
func waiting(entered chan<- struct{}, release <-chan struct{}) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		entered <- struct{}{}
		select {
		case <-release:
			return response(200, "ok"), nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, release := make(chan struct{}, 9), make(chan struct{})
		who := bot
		r := newRig(t, snapshot(route.ViaEndpoint, func(b *route.Backend, _ *route.Rule) {
			b.Limits = route.Limits{MaxInFlight: 2, MaxInFlightPerSubject: 1}
		}), func(c *Config) {
			c.Endpoint = waiting(entered, release).endpoint()
			c.Identify = func(req *http.Request) (hop.Subject, error) {
				s := who
				s.ServiceAccount = req.Header.Get("X-Account")
				return s, nil
			}
		})
		done := make(chan int, 9)
		for _, account := range []string{"one", "two"} {
			go func() { done <- r.do("GET", "http://api/", nil, "X-Account", account).Code }()
			<-entered
		}
		if w := r.do("GET", "http://api/", nil, "X-Account", "one"); w.Code != 429 || w.Header().Get("Retry-After") != "1" {
			t.Errorf("a second request of one caller: %d, %v", w.Code, w.Header())
		}
		d := r.destination("billing/payments")
		if !d.guards.Held("/shop/one") || d.guards.Held("/shop/two") {
			t.Error("a caller at its own cap starts a hold-down for itself, and for nobody else")
		}
		if w := r.do("GET", "http://api/", nil, "X-Account", "three"); w.Code != 503 || w.Header().Get("Retry-After") != "1" {
			t.Errorf("a third request to the backend: %d, %v", w.Code, w.Header())
		}
		if !d.guards.Held("/shop/two") {
			t.Error("a full backend starts a hold-down for all")
		}
		<-time.After(defaultHeaders) // of virtual time; both requests end at their deadline just then
		synctest.Wait()
		if d.guards.Held("/shop/two") || d.guards.Held("/shop/one") {
			t.Error("the hold-down lasts longer than Tmax")
		}
		close(release)
		for range 2 {
			if code := <-done; code != 504 {
				t.Errorf("a request that waited for 30 s: %d, want 504", code)
			}
		}
		if d.total != (load{}) || len(d.subjects) != 0 {
			t.Errorf("still in flight: %+v, %d subjects", d.total, len(d.subjects))
		}
	})
}

func TestSlots(t *testing.T) {
	var d destination
	lim := route.Limits{MaxInFlight: 2, MaxStreams: 1, MaxInFlightPerSubject: 2, MaxStreamsPerSubject: 1}
	admit := func(subject string) *slot { s, _ := d.admit(subject, lim); return s }
	a := admit("a")
	a.streaming()
	if _, refused := d.admit("a", lim); refused != reasonSubjectBusy {
		t.Errorf("a second request of a caller with a stream at its cap: %q", refused)
	}
	if _, refused := d.admit("b", lim); refused != reasonBackendBusy {
		t.Errorf("a request to a backend with its streams at the cap: %q", refused)
	}
	a.streaming()
	a.leave()
	a.leave()
	a.streaming()
	b, c := admit("b"), admit("b")
	if b == nil || c == nil {
		t.Fatal("a stream counts after it is gone")
	}
	if s, refused := d.admit("c", lim); refused != reasonBackendBusy {
		t.Errorf("%v, %q", s, refused)
	}
	b.leave()
	c.leave()
	if d.total != (load{}) || len(d.subjects) != 0 {
		t.Errorf("left over: %+v, %v", d.total, d.subjects)
	}
	if s, refused := d.admit("x", route.Limits{}); s == nil {
		t.Errorf("zero limits mean the defaults, not none: %s", refused)
	}
}

func TestHostOf(t *testing.T) {
	for in, want := range map[string]string{
		"Api.Example.COM": "api.example.com", "api:8080": "api", "api.": "api", "[2001:db8::1]:80": "2001:db8::1", "": "", "a.:80": "a",
	} {
		if got := hostOf(in); got != want {
			t.Errorf("hostOf(%q) = %q, want %q", in, got, want)
		}
	}
}
