package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/tunnel"
	"penstock.dev/penstock/tunnel/tunneltest"
)

// chain is a spoke and hubs over real tunnels on a simulated network. All hubs serve one snapshot and one outside.
type chain struct {
	*tunneltest.World
	spoke *rig
	hubs  []*rig
	// arrived counts the requests that reached the outside.
	arrived atomic.Int64
}

func newChain(t *testing.T, hubs int, outside roundTrip) *chain {
	t.Helper()
	c := &chain{}
	s := snapshot(route.ViaEndpoint, func(b *route.Backend, _ *route.Rule) { b.GrantRequired = true })
	s.Grants = []route.Grant{{Name: "billing/g", Backends: []string{"billing/payments"}, From: []route.GrantFrom{{Clusters: []string{"east"}, Namespaces: []string{"shop"}}}}}
	var next atomic.Int64
	handlers := make([]http.Handler, hubs)
	c.World = tunneltest.New(t, tunneltest.Hubs(hubs), tunneltest.Server(func(cfg *tunnel.ServerConfig) {
		n := int(next.Add(1)-1) % hubs
		control := cfg.Handler
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host == tunnel.ControlAuthority {
				control.ServeHTTP(w, r)
				return
			}
			handlers[n].ServeHTTP(w, r)
		})
	}))
	hub := hubID
	hub.Group = c.CA.HubID("hubs").Group
	for n := range hubs {
		r := newRig(t, s, func(cfg *Config) {
			cfg.Self, cfg.Name = hub, fmt.Sprintf("hub-%c", 'a'+n)
			cfg.Endpoint = roundTrip(func(r *http.Request) (*http.Response, error) {
				c.arrived.Add(1)
				return outside(r)
			}).endpoint()
		})
		c.hubs, handlers[n] = append(c.hubs, r), r.Tunnel()
	}
	client := c.Dial(t, "east")
	self := spokeID
	self.Group = c.CA.SpokeID("east").Group
	c.spoke = newRig(t, snapshot(route.ViaParent, nil), func(cfg *Config) {
		cfg.Self, cfg.Name, cfg.Parent = self, "spoke-0", client.Client
	})
	return c
}

func TestTwoHops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen *http.Request
		var content string
		c := newChain(t, 1, func(r *http.Request) (*http.Response, error) {
			seen = r
			b, err := io.ReadAll(r.Body)
			content = string(b)
			return response(201, "paid", "X-Upstream", "1"), err
		})
		w := c.spoke.do("POST", "http://api/v1/pay?x=1", strings.NewReader("42"), "Proxy-Authorization", "Bearer pod", "Authorization", "mine", "X-Custom", "kept")
		if w.Code != 201 || w.Body.String() != "paid" || w.Header().Get("X-Upstream") != "1" {
			t.Fatalf("status %d, %q, %v", w.Code, w.Body, w.Header())
		}
		if seen.Host != "api.example.com" || seen.URL.RequestURI() != "/v1/pay?x=1" || content != "42" {
			t.Errorf("outside: %s%s with %q", seen.Host, seen.URL.RequestURI(), content)
		}
		for name := range seen.Header {
			if hop.Reserved(name) && name != "Cdn-Loop" || name == "Via" || name == "Proxy-Authorization" {
				t.Errorf("%s goes outside", name)
			}
		}
		if seen.Header.Get("X-Custom") != "kept" || seen.Header.Get("Authorization") != "mine" {
			t.Errorf("header outside: %v", seen.Header)
		}
		spoke, hub := c.spoke.lines()[0], c.hubs[0].lines()[0]
		if spoke["requestId"] != hub["requestId"] || spoke["traceId"] != hub["traceId"] || spoke["requestId"] != w.Header().Get("X-Request-Id") {
			t.Errorf("one request has the ids %v and %v, traces %v and %v, and %s for its client", spoke["requestId"], hub["requestId"], spoke["traceId"], hub["traceId"], w.Header().Get("X-Request-Id"))
		}
		want := map[string]any{"cluster": "east", "namespace": "shop", "serviceAccount": "bot", "proof": "token", "hops": 1.0, "attempts": 1.0, "status": 201.0}
		got := map[string]any{}
		for name := range want {
			got[name] = hub[name]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the hub's log (-want +got):\n%s", diff)
		}
		if spoke["attempts"] != 1.0 || spoke["connects"] != 1.0 {
			t.Errorf("the spoke counts %v attempts and %v connects", spoke["attempts"], spoke["connects"])
		}
	})
}

func TestARefusalOfTheHubReachesTheWorkloadWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1, answers200)
		c.spoke.cfg.Identify = func(*http.Request) (hop.Subject, error) {
			return hop.Subject{Namespace: "lab", ServiceAccount: "bot", Proof: hop.ProofToken}, nil
		}
		w := c.spoke.do("GET", "http://api/", nil)
		id := w.Header().Get("X-Request-Id")
		if w.Code != 403 || !strings.Contains(w.Body.String(), "not-granted") || len(w.Header()["Proxy-Status"]) != 1 {
			t.Errorf("status %d, %s, %v", w.Code, w.Body, w.Header())
		}
		if kept := c.hubs[0].refusals.Find(id); len(kept) != 1 || kept[0].Cluster != "east" || kept[0].Namespace != "lab" {
			t.Errorf("the hub keeps %+v for %s", kept, id)
		}
		if n := c.arrived.Load(); n != 0 {
			t.Errorf("%d requests reached the outside", n)
		}
	})
}

func TestAStreamOverTwoHops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outside, events := io.Pipe()
		c := newChain(t, 1, func(r *http.Request) (*http.Response, error) {
			if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.Got1xxResponse != nil {
				if err := trace.Got1xxResponse(103, textproto.MIMEHeader{"Link": {"</a>"}, "Penstock-Attempts": {"n=9"}}); err != nil {
					return nil, err
				}
			}
			res := response(200, "", "Content-Type", "text/event-stream")
			res.Body, res.ContentLength = outside, -1
			res.Trailer = http.Header{"X-Sum": {"2"}, "Penstock-Path": {"forged"}}
			return res, nil
		})
		w := newStreaming()
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.spoke.Workload(80).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://api/", nil))
		}()
		if got := <-w.events; got != "103 </a> []" {
			t.Errorf("first comes %q, want the hint without tags", got)
		}
		if got := <-w.events; !strings.HasPrefix(got, "200") {
			t.Errorf("then %q, want the head before any byte", got)
		}
		for n := range 3 {
			fmt.Fprintf(events, "data: %d\n\n", n)
			if got := <-w.events; got != fmt.Sprintf("data: %d\n\n", n) {
				t.Errorf("event %d is %q", n, got)
			}
		}
		events.Close()
		<-done
		if got := w.Header().Get(http.TrailerPrefix + "X-Sum"); got != "2" || w.Header().Get(http.TrailerPrefix+"Penstock-Path") != "" {
			t.Errorf("trailers %v", w.Header())
		}
	})
}

// streaming tells what is written as it comes.
type streaming struct {
	header http.Header
	events chan string
}

func newStreaming() *streaming { return &streaming{http.Header{}, make(chan string, 99)} }

func (s *streaming) Header() http.Header { return s.header }
func (s *streaming) Flush()              {}
func (s *streaming) WriteHeader(code int) {
	s.events <- fmt.Sprint(code, " ", s.header.Get("Link"), " ", s.header["Penstock-Attempts"])
}
func (s *streaming) Write(p []byte) (int, error) { s.events <- string(p); return len(p), nil }

func TestAClientThatLeavesIsFeltTwoHopsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, gone := make(chan struct{}), make(chan struct{})
		c := newChain(t, 1, func(r *http.Request) (*http.Response, error) {
			close(entered)
			<-r.Context().Done()
			close(gone)
			return nil, outside(endpoint.ConnectionTerminated, retry.ResetBeforeHeaders, true)
		})
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan bool)
		go func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://api/", nil)
			done <- serveAborts(c.spoke.Workload(80), r)
		}()
		<-entered
		start := time.Now()
		leave()
		<-gone
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("the outside felt it after %v", took)
		}
		<-done
		if n := c.arrived.Load(); n != 1 {
			t.Errorf("%d requests reached the outside", n)
		}
	})
}

// Row 9, with real tunnels: the hub is gone while the request is outside. The workload is told that nobody knows.
func TestAHubThatDiesUnderARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered := make(chan struct{})
		c := newChain(t, 2, func(r *http.Request) (*http.Response, error) {
			close(entered) // a second arrival would panic
			<-r.Context().Done()
			return nil, errors.New("gone")
		})
		done := make(chan *httptest.ResponseRecorder)
		go func() { done <- c.spoke.do("POST", "http://api/", strings.NewReader("pay")) }()
		<-entered
		c.Partition()
		w := <-done
		c.Heal()
		if ps := w.Header().Get("Proxy-Status"); w.Code != 502 || !strings.Contains(ps, "error=connection_terminated") || !strings.HasSuffix(ps, "executed=maybe") {
			t.Errorf("status %d, %s", w.Code, ps)
		}
		if n := c.arrived.Load(); n != 1 {
			t.Errorf("the POST reached the outside %d times", n)
		}
		synctest.Wait()
	})
}

// Row 8, P5: a full hub refuses before anything, and another one serves. What proves it never reaches the workload.
func TestAFullHubIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 2, func(r *http.Request) (*http.Response, error) {
			b, err := io.ReadAll(r.Body)
			return response(200, string(b)), err
		})
		c.hubs[0].cfg.MaxRequests = -1
		for range 4 {
			if w := c.spoke.do("POST", "http://api/", strings.NewReader("pay")); w.Code != 200 || w.Body.String() != "pay" || w.Header().Get("Penstock-Not-Processed") != "" {
				t.Fatalf("one full hub: %d, %q, %v", w.Code, w.Body, w.Header())
			}
		}
		if n := c.arrived.Load(); n != 4 {
			t.Errorf("4 requests, %d arrivals", n)
		}
		c.hubs[1].cfg.MaxRequests = -1
		w := c.spoke.do("POST", "http://api/", strings.NewReader("pay"))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("Penstock-Not-Processed") != "" || !strings.HasSuffix(w.Header().Get("Proxy-Status"), "executed=no") {
			t.Errorf("two full hubs: %d, %v", w.Code, w.Header())
		}
	})
}

func TestNoHubIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, 1, answers200)
		c.Hubs[0].Kill()
		<-time.After(time.Minute)
		w := c.spoke.do("POST", "http://api/", strings.NewReader("pay"))
		if ps := w.Header().Get("Proxy-Status"); w.Code != 503 || !strings.Contains(ps, "error=destination_unavailable") || w.Header().Get("Retry-After") != "1" || !strings.HasSuffix(ps, "executed=no") {
			t.Errorf("status %d, %v", w.Code, w.Header())
		}
	})
}

// house is gateways that are each other's parents, joined without a network: what Theorem 1 is about.
type house struct {
	gateways map[string]*rig
	// forwards counts tunnel hops.
	forwards int
}

type peerOfTest struct{}

// build makes one gateway per name; parents says where each sends what it gets. One without parent is terminal.
func build(t *testing.T, parents map[string]string, limits hop.Limits, outside roundTrip) *house {
	t.Helper()
	h := &house{gateways: map[string]*rig{}}
	for name, parent := range parents {
		via := route.ViaParent
		if parent == "" {
			via = route.ViaEndpoint
		}
		r := newRig(t, snapshot(via, nil), func(c *Config) {
			c.Self = hop.Self{Group: name, Instance: name, Pseudonym: "p" + name, Keys: keys}
			c.Limits = limits
			c.Identify = nil
			c.Vouches = func(tunnel.Peer, string) bool { return true }
			c.Endpoint = outside.endpoint()
			c.Parent = roundTrip(func(req *http.Request) (*http.Response, error) {
				h.forwards++
				p := tunnel.Peer{ID: tunnel.ID{Role: tunnel.RoleHub, Group: name}}
				w := httptest.NewRecorder()
				req = req.Clone(context.WithValue(req.Context(), peerOfTest{}, p))
				h.gateways[parent].Tunnel().ServeHTTP(w, req)
				return w.Result(), nil
			}).parent()
		})
		// A grant for everybody: the host names a catalog entry.
		s := snapshot(via, nil)
		s.Grants = []route.Grant{{Backends: []string{"billing/payments"}, From: []route.GrantFrom{{AnyCluster: true}}}}
		r.Use(s)
		r.peer = func(ctx context.Context) (tunnel.Peer, bool) {
			p, ok := ctx.Value(peerOfTest{}).(tunnel.Peer)
			return p, ok
		}
		h.gateways[name] = r
	}
	return h
}

// F-52, F-53, F-54: every cycle ends on first re-entry, within min(L, H) hops, and a legal chain passes.
func TestCyclesAndChains(t *testing.T) {
	line := func(names ...string) map[string]string {
		m := map[string]string{}
		for i, n := range names {
			m[n] = append(names, "")[i+1]
		}
		return m
	}
	ring := func(names ...string) map[string]string {
		m := line(names...)
		m[names[len(names)-1]] = names[0]
		return m
	}
	for _, c := range []struct {
		name    string
		parents map[string]string
		hops    int // H
		status  int
		details string
		most    int // forwards
	}{
		{"a gateway that is its own parent", ring("a"), 0, 508, "path", 1},
		{"two that are each other's", ring("a", "b"), 0, 508, "path", 2},
		{"three in a ring", ring("a", "b", "c"), 0, 508, "path", 3},
		{"five in a ring, with four hops", ring("a", "b", "c", "d", "e"), 0, 508, "hops", 4},
		{"five in a ring, with five hops", ring("a", "b", "c", "d", "e"), 5, 508, "path", 5},
		{"a chain of four hops", line("a", "b", "c", "d", "e"), 0, 200, "", 4},
		{"a chain of five hops is one too long", line("a", "b", "c", "d", "e", "f"), 0, 508, "hops", 4},
		{"a chain of five hops, with five", line("a", "b", "c", "d", "e", "f"), 5, 200, "", 5},
		{"a ring behind a way in", map[string]string{"a": "b", "b": "c", "c": "b"}, 0, 508, "path", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			h := build(t, c.parents, hop.Limits{Hops: c.hops}, func(*http.Request) (*http.Response, error) { asked++; return response(200, ""), nil })
			w := h.gateways["a"].do("GET", "http://api/", nil)
			if w.Code != c.status || h.forwards != c.most {
				t.Errorf("status %d after %d hops, want %d after %d: %v", w.Code, h.forwards, c.status, c.most, w.Header())
			}
			if ps := w.Header().Get("Proxy-Status"); c.status == 508 && (!strings.Contains(ps, `error=proxy_loop_detected; details="`+c.details+`"`) || w.Header().Get("X-Should-Retry") != "false" || w.Header().Get("Retry-After") != "") {
				t.Errorf("header %v", w.Header())
			}
			if (asked == 1) != (c.status == 200) {
				t.Errorf("the outside was asked %d times", asked)
			}
			counted := 0
			for _, g := range h.gateways {
				if g.metric("penstock_loop_detected_total{") != "0" {
					counted++
				}
			}
			if (counted == 1) != (c.status == 508) {
				t.Errorf("%d gateways count a loop", counted)
			}
		})
	}
}
