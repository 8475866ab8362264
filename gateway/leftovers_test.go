package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// late is a body whose trailers are known only at its end, as those of a tunnel are.
type late struct {
	io.Reader
	res     *http.Response
	trailer http.Header
}

func (l late) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == io.EOF {
		l.res.Trailer = l.trailer
	}
	return n, err
}

func (l late) Close() error { return nil }

func TestTrailersThatWereNotAnnouncedCarryNoTags(t *testing.T) {
	for _, via := range []route.Via{route.ViaParent, route.ViaEndpoint} {
		t.Run(string(via), func(t *testing.T) {
			next := roundTrip(func(*http.Request) (*http.Response, error) {
				res := response(200, "")
				res.ContentLength = -1
				res.Body = late{strings.NewReader("x"), res, http.Header{"X-Sum": {"1"}, "Penstock-Attempts": {"n=9"}, "Cdn-Loop": {"x"}, "Penstock_Path": {"x"}}}
				return res, nil
			})
			r := newRig(t, snapshot(via, nil), func(c *Config) { c.Parent, c.Endpoint = next.parent(), next.endpoint() })
			w := r.do("GET", "http://api/", nil)
			got := http.Header{}
			for name, values := range w.Header() {
				if trailer, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
					got[trailer] = values
				}
			}
			if diff := cmp.Diff(http.Header{"X-Sum": {"1"}}, got); diff != "" {
				t.Errorf("trailers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADialOfOurselvesStartsAHoldDown(t *testing.T) {
	r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) {
		c.Endpoint = fails(outside(endpoint.SelfDial, retry.NoRepeat, false)).endpoint()
	})
	if w := r.do("GET", "http://api/", nil); w.Code != 508 {
		t.Fatalf("status %d", w.Code)
	}
	if !r.destination("billing/payments").guards.Held("anybody") {
		t.Error("a loop was found and repeats go on")
	}
}

// What a request held is given back, whatever became of it.
func TestNothingIsLeftBehind(t *testing.T) {
	content := strings.Repeat("x", 30<<10)
	for name, step := range map[string]roundTrip{
		"an answer":  answers200,
		"a failure":  status(500),
		"an error":   fails(outside(endpoint.ConnectionTerminated, retry.ResetBeforeHeaders, true)),
		"a panic":    func(*http.Request) (*http.Response, error) { panic("bug") },
		"an unasked": status(101),
	} {
		t.Run(name, func(t *testing.T) {
			next := scripted(t)
			next.steps = []roundTrip{next.reads(step)}
			r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) { c.Endpoint = roundTrip(next.RoundTrip).endpoint() })
			r.do("POST", "http://api/", strings.NewReader(content))
			if next.sent[0] != content {
				t.Fatalf("%d bytes arrived", len(next.sent[0]))
			}
			if n := r.bodies.Used(); n != 0 {
				t.Errorf("%d bytes of the body are kept", n)
			}
			d := r.destination("billing/payments")
			if d.total != (load{}) || len(d.subjects) != 0 || d.guards.Budget.Active() != 0 || r.active.Load() != 0 {
				t.Errorf("in flight: %+v, %d subjects, %d active for the budget, %d in the handler", d.total, len(d.subjects), d.guards.Budget.Active(), r.active.Load())
			}
			if got := r.metric(`penstock_in_flight{backend="billing/payments"}`); got != "0" {
				t.Errorf("the gauge says %s", got)
			}
			if ctx := next.seen[0].Context(); ctx.Err() == nil {
				t.Error("the attempt's context is still alive")
			}
		})
	}
}

func TestAnAttemptThatWasGivenUpIsCancelledBeforeTheNext(t *testing.T) {
	next := scripted(t)
	next.steps = []roundTrip{status(503), func(r *http.Request) (*http.Response, error) {
		if next.seen[0].Context().Err() == nil {
			t.Error("the first attempt is still alive")
		}
		return answers200(r)
	}}
	r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) { c.Endpoint = roundTrip(next.RoundTrip).endpoint() })
	if w := r.do("GET", "http://api/", nil); w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
}

// The proof of identity is for us: not even a route sees it.
func TestNoRouteSeesTheProofOfIdentity(t *testing.T) {
	r := newRig(t, snapshot(route.ViaEndpoint, func(_ *route.Backend, rule *route.Rule) {
		rule.Matches = []route.Match{{Headers: []route.ValueMatch{{Name: "Proxy-Authorization", Value: ".*", Regex: true}}}}
	}), func(c *Config) { c.Endpoint, c.Identify = roundTrip(scripted(t).RoundTrip).endpoint(), nil })
	if w := r.do("GET", "http://api/", nil, "Proxy-Authorization", "Bearer pod"); w.Code != 404 {
		t.Errorf("status %d, want 404", w.Code)
	}
}

// A reload while requests are under way: each is served by the table it met.
func TestARequestKeepsItsSnapshot(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := newRig(t, snapshot(route.ViaEndpoint, func(_ *route.Backend, rule *route.Rule) {
		rule.Filters = []route.Filter{{Type: route.FilterHeaderModifier, Phase: route.PhaseResponseHeaders, Headers: &route.HeaderModifier{Set: []route.Header{{Name: "X-Table", Value: "old"}}}}}
	}), func(c *Config) { c.Endpoint = waiting(entered, release).endpoint() })
	done := make(chan string)
	go func() { done <- r.do("GET", "http://api/", nil).Header().Get("X-Table") }()
	<-entered
	r.Use(&route.Snapshot{})
	close(release)
	if got := <-done; got != "old" {
		t.Errorf("served by table %q", got)
	}
	if w := r.do("GET", "http://api/", nil); w.Code != 404 {
		t.Errorf("the next request: %d, want 404", w.Code)
	}
	if left := r.table.Load().limits.Headers; left != 30*time.Second {
		t.Errorf("Tmax is %v", left)
	}
}

func TestBackendsThatAreGoneLeaveNothing(t *testing.T) {
	release, inside := make(chan struct{}), make(chan struct{})
	r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) {
		c.Endpoint = roundTrip(func(req *http.Request) (*http.Response, error) {
			close(inside)
			<-release
			return response(200, "ok"), nil
		}).endpoint()
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.do("GET", "http://api/", nil)
	}()
	<-inside
	count := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.destinations)
	}
	r.Use(&route.Snapshot{})
	if count() != 1 {
		t.Errorf("%d destinations while a request is in flight, want its own", count())
	}
	close(release)
	<-done
	r.Use(&route.Snapshot{})
	if count() != 0 {
		t.Errorf("%d destinations are left", count())
	}
}

func TestABackendThatComesBackIsStillHeldDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := snapshot(route.ViaEndpoint, nil)
		r := newRig(t, s, nil)
		key := s.Backends[0].Key
		r.destination(key).guards.HoldBackend(time.Minute)
		r.Use(&route.Snapshot{})
		r.Use(s)
		if !r.destination(key).guards.Held("") {
			t.Error("two reloads lift a hold-down")
		}
		time.Sleep(time.Minute)
		r.Use(&route.Snapshot{})
		if n := len(r.destinations); n != 0 {
			t.Errorf("%d destinations are left when the time is over", n)
		}
	})
}
