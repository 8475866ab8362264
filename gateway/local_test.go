package gateway

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

func TestRedirectsAreAnsweredHere(t *testing.T) {
	s := snapshot(route.ViaEndpoint, func(_ *route.Backend, r *route.Rule) {
		r.Targets = []route.Target{{
			Weight: 1, Redirect: &route.Redirect{Scheme: "https", Hostname: "www.example.com", StatusCode: 308},
			Filters: []route.Filter{{Type: route.FilterHeaderModifier, Phase: route.PhaseResponseHeaders, Headers: &route.HeaderModifier{Set: []route.Header{{Name: "X-Moved", Value: "yes"}}}}},
		}}
	})
	r := newRig(t, s, func(c *Config) { c.Endpoint = roundTrip(scripted(t).RoundTrip).endpoint() }) // it expects nothing
	w := r.do("POST", "http://api/x?q=1", strings.NewReader("body"))
	h := w.Header()
	if w.Code != 308 || h.Get("Location") != "https://www.example.com/x?q=1" || h.Get("X-Moved") != "yes" || h.Get("X-Request-Id") == "" {
		t.Errorf("%d %v", w.Code, h)
	}
	if lines := r.lines(); len(lines) != 1 || lines[0]["status"] != 308.0 {
		t.Errorf("access log %v", lines)
	}
}

func TestCORS(t *testing.T) {
	s := snapshot(route.ViaEndpoint, func(_ *route.Backend, r *route.Rule) {
		r.Filters = []route.Filter{{Type: route.FilterCORS, Phase: route.PhaseRequestHeaders, CORS: &route.CORS{AllowOrigins: []string{"https://app.example.com"}, AllowMethods: []string{"PUT"}}}}
	})
	down := &endpoint.Error{Cause: endpoint.ConnectionRefused, Class: retry.NoRepeat, Err: errors.New("refused")}
	next := scripted(t, status(200, "Access-Control-Allow-Origin", "*"), status(200), fails(down))
	r := newRig(t, s, func(c *Config) { c.Endpoint = roundTrip(next.RoundTrip).endpoint() })

	w := r.do("OPTIONS", "http://api/", nil, "Origin", "https://app.example.com", "Access-Control-Request-Method", "PUT")
	if h := w.Header(); w.Code != 204 || h.Get("Access-Control-Allow-Origin") != "https://app.example.com" || h.Get("Access-Control-Allow-Methods") != "PUT" {
		t.Errorf("preflight: %d %v", w.Code, h)
	}
	if len(next.seen) != 0 {
		t.Error("the preflight reached the destination")
	}
	w = r.do("GET", "http://api/", nil, "Origin", "https://app.example.com")
	if h := w.Header(); w.Code != 200 || !slices.Equal(h.Values("Access-Control-Allow-Origin"), []string{"https://app.example.com"}) {
		t.Errorf("request: %d %v", w.Code, h)
	}
	w = r.do("OPTIONS", "http://api/", nil, "Origin", "https://app.example.com") // no preflight: nothing is asked for
	if h := w.Header(); w.Code != 200 || len(next.seen) != 2 {
		t.Errorf("an OPTIONS that is no preflight: %d %v", w.Code, h)
	}
	w = r.do("GET", "http://api/", nil, "Origin", "https://app.example.com")
	if h := w.Header(); w.Code != 502 || h.Get("Access-Control-Allow-Origin") != "https://app.example.com" || h.Get("Vary") != "Origin" {
		t.Errorf("a refusal of ours, which the page must be able to read: %d %v", w.Code, h)
	}
}

// hop2 is a next hop of a mirror test: it tells the Backends apart.
type hop2 struct {
	mu   sync.Mutex
	got  map[string][]*http.Request
	body map[string][]string
	fail map[string]error
}

func (h *hop2) RoundTrip(r *http.Request, b *route.Backend) (*http.Response, error) {
	content, err := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		err = h.fail[b.Key]
	}
	h.got[b.Key] = append(h.got[b.Key], r)
	h.body[b.Key] = append(h.body[b.Key], string(content))
	if err != nil {
		return nil, err
	}
	return response(200, "from "+b.Key), nil
}

func TestMirrors(t *testing.T) {
	mirror := func(backend string, n, of int) route.Filter {
		return route.Filter{Type: route.FilterRequestMirror, Phase: route.PhaseRequestHeaders, Mirror: &route.Mirror{Backend: backend, Numerator: n, Denominator: of}}
	}
	copied := func(change func(*route.Snapshot), filters ...route.Filter) *route.Snapshot {
		s := snapshot(route.ViaEndpoint, func(_ *route.Backend, r *route.Rule) {
			r.Filters = append([]route.Filter{{Type: route.FilterHeaderModifier, Phase: route.PhaseRequestHeaders, Headers: &route.HeaderModifier{Set: []route.Header{{Name: "X-By", Value: "route"}}}}}, filters...)
		})
		s.Backends = append(s.Backends,
			route.Backend{Key: "shop/shadow", Via: route.ViaEndpoint, Authority: "shadow.example.com", TLS: &route.TLS{ServerName: "shadow.example.com"}},
			route.Backend{Key: "shop/web:80", Via: route.ViaService, Endpoints: []string{"10.0.0.1:80"}})
		if change != nil {
			change(s)
		}
		return s
	}
	broken := &endpoint.Error{Cause: endpoint.ConnectionRefused, Class: retry.ConnectFailure, Err: errors.New("refused")}
	for _, c := range []struct {
		name     string
		snapshot *route.Snapshot
		rand     float64
		fail     map[string]error
		body     string
		want     map[string]int // copies by Backend
		outcome  string
	}{
		{"a copy goes to another Backend", copied(nil, mirror("shop/shadow", 1, 1)), 0, nil, "body", map[string]int{"shop/shadow": 1}, "answered"},
		{"several copies go to several", copied(nil, mirror("shop/shadow", 1, 1), mirror("shop/web:80", 100, 100)), .999, nil, "body", map[string]int{"shop/shadow": 1, "shop/web:80": 1}, "answered"},
		{"a request outside of the share has none", copied(nil, mirror("shop/shadow", 20, 100)), .2, nil, "", map[string]int{}, ""},
		{"one inside has", copied(nil, mirror("shop/shadow", 20, 100)), .199, nil, "", map[string]int{"shop/shadow": 1}, "answered"},
		{"a copy that fails changes nothing", copied(nil, mirror("shop/shadow", 1, 1)), 0, map[string]error{"shop/shadow": broken}, "body", map[string]int{"shop/shadow": 1}, "failed"},
		{"a Backend that takes no copies gets none", copied(func(s *route.Snapshot) { s.Backends[1].MirrorsRefused = true }, mirror("shop/shadow", 1, 1)), 0, nil, "body", map[string]int{}, "refused"},
		{"nor one that the caller may not use", copied(func(s *route.Snapshot) { s.Backends[1].GrantRequired = true }, mirror("shop/shadow", 1, 1)), 0, nil, "", map[string]int{}, "refused"},
		{"nor one that wants a stronger proof", copied(func(s *route.Snapshot) { s.Backends[1].MinIdentity = "spiffe" }, mirror("shop/shadow", 1, 1)), 0, nil, "", map[string]int{}, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := &hop2{got: map[string][]*http.Request{}, body: map[string][]string{}, fail: c.fail}
			r := newRig(t, c.snapshot, func(cfg *Config) { cfg.Endpoint, cfg.Rand = next, func() float64 { return c.rand } })
			var content io.Reader
			if c.body != "" {
				content = io.MultiReader(strings.NewReader(c.body)) // of unknown length
			}
			w := r.do("POST", "http://api/x?q=1", content, "X-Keep", "1")
			if w.Code != 200 || w.Body.String() != "from billing/payments" {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			r.Close() // waits for the copies
			copies := 0
			for key, n := range c.want {
				copies += n
				if len(next.got[key]) != n {
					t.Fatalf("%d copies at %s, want %d", len(next.got[key]), key, n)
				}
				got := next.got[key][0]
				if got.URL.RequestURI() != "/x?q=1" || got.Header.Get("X-Keep") != "1" || got.Header.Get("X-By") != "route" || next.body[key][0] != c.body {
					t.Errorf("the copy is %s %v %q", got.URL, got.Header, next.body[key][0])
				}
				if want := map[string]string{"shop/shadow": "shadow.example.com", "shop/web:80": "api"}[key]; got.Host != want {
					t.Errorf("host %q, want %q", got.Host, want)
				}
				for name := range got.Header {
					if strings.HasPrefix(name, "Penstock-") {
						t.Errorf("%s leaves for the outside", name)
					}
				}
			}
			if len(next.got) != len(c.want)+1 || len(next.got["billing/payments"]) != 1 {
				t.Errorf("requests to %v", next.got)
			}
			if c.outcome != "" && r.metric(`penstock_mirror_total{outcome="`+c.outcome+`"}`) == "0" {
				t.Errorf("no copy is counted as %s", c.outcome)
			}
		})
	}
}

func TestACopyThatIsTooSlowIsGivenUp(t *testing.T) {
	s := snapshot(route.ViaEndpoint, func(_ *route.Backend, r *route.Rule) {
		r.Filters = []route.Filter{{Type: route.FilterRequestMirror, Phase: route.PhaseRequestHeaders, Mirror: &route.Mirror{Backend: "shop/shadow", Numerator: 1, Denominator: 1}}}
	})
	s.Backends = append(s.Backends, route.Backend{Key: "shop/shadow", Via: route.ViaEndpoint, Authority: "shadow.example.com"})
	release := make(chan struct{})
	r := newRig(t, s, func(c *Config) {
		c.Endpoint = slowShadow{release}
	})
	const size = 3 << 20
	w := r.do("POST", "http://api/", io.LimitReader(endless{}, size))
	if w.Code != 200 || w.Body.String() != "3145728" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	close(release)
	r.Close()
	if held := r.copies.held.Load(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
	if got := r.metric(`penstock_mirror_total{outcome="abandoned"}`); got != "1" {
		t.Errorf("%s copies are counted as abandoned", got)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// slowShadow reads no body of a copy before it is released.
type slowShadow struct{ release chan struct{} }

func (s slowShadow) RoundTrip(r *http.Request, b *route.Backend) (*http.Response, error) {
	if b.Key == "shop/shadow" {
		<-s.release
	}
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return nil, err
	}
	return response(200, strconv.FormatInt(n, 10)), nil
}

func TestAServiceSeesTheHostOfTheWorkload(t *testing.T) {
	s := snapshot(route.ViaService, func(b *route.Backend, _ *route.Rule) { b.Authority, b.Endpoints = "", []string{"10.0.0.1:80"} })
	next := scripted(t, answers200)
	r := newRig(t, s, func(c *Config) { c.Endpoint = roundTrip(next.RoundTrip).endpoint() })
	if w := r.do("GET", "http://api:8080/x", nil); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if got := next.seen[0]; got.Host != "api:8080" || got.URL.Scheme != "http" || !strings.Contains(got.Header.Get("CDN-Loop"), hubID.Pseudonym) {
		t.Errorf("host %q, %s, CDN-Loop %q", got.Host, got.URL, got.Header.Get("CDN-Loop"))
	}
	s = snapshot(route.ViaService, func(b *route.Backend, _ *route.Rule) { b.Authority = "" })
	r = newRig(t, s, func(c *Config) { c.Endpoint = roundTrip(scripted(t).RoundTrip).endpoint() })
	if w := r.do("GET", "http://api/", nil); w.Code != 503 || !strings.Contains(w.Body.String(), string(route.NoEndpoints)) {
		t.Errorf("a Service without endpoints: %d %s", w.Code, w.Body)
	}
}
