package gateway

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// Rows 14 to 31, as the destination and the workload see them: how often it was asked, with which body, and what came of
// it. X1: a POST without a declared idempotency key is executed at most once.
func TestAttemptsOutside(t *testing.T) {
	dead := func(c endpoint.Cause, class retry.Class, sent bool) roundTrip { return fails(outside(c, class, sent)) }
	refused := dead(endpoint.ConnectionRefused, retry.ConnectFailure, false)
	reset := dead(endpoint.ConnectionTerminated, retry.ResetBeforeHeaders, true)
	unsentReset := dead(endpoint.ConnectionTerminated, retry.ResetBeforeHeaders, false)
	refusedStream := fails(&endpoint.Error{Cause: endpoint.ConnectionTerminated, Class: retry.RefusedStream, Sent: true, Proven: true, Err: io.EOF})
	keysHonoured := func(b *route.Backend, _ *route.Rule) { b.IdempotencyKeys = true }
	post429 := func(b *route.Backend, _ *route.Rule) { b.RetryPostOn = []int{429} }
	retries := func(n int, codes ...int) func(*route.Backend, *route.Rule) {
		return func(_ *route.Backend, r *route.Rule) { r.Retry = &route.Retry{Attempts: n, Codes: codes} }
	}
	big := strings.Repeat("x", 100<<10)
	for _, c := range []struct {
		name     string
		change   func(*route.Backend, *route.Rule)
		method   string
		body     string
		header   []string
		steps    []roundTrip
		status   int
		error    string // of our own Proxy-Status; "" with the destination's answer
		executed string
		attempts string // counted; "" as many as steps
	}{
		{"row 14: no credential", nil, "GET", "", nil, []roundTrip{dead(endpoint.CredentialUnavailable, retry.NoRepeat, false)}, 503, "proxy_internal_error", "no", "0"},
		{"row 15: no address", nil, "GET", "", nil, []roundTrip{dead(endpoint.DNSError, retry.NoRepeat, false)}, 502, "dns_error", "no", "0"},
		{"row 16: a prohibited address", nil, "GET", "", nil, []roundTrip{dead(endpoint.DestinationProhibited, retry.NoRepeat, false)}, 403, "destination_ip_prohibited", "no", "0"},
		{"row 17: refused, then not, even a POST", nil, "POST", "pay", nil, []roundTrip{refused, answers200}, 200, "", "", ""},
		{"row 17: refused three times", nil, "GET", "", nil, []roundTrip{refused, refused, refused}, 502, "connection_refused", "no", ""},
		{"row 18: a bad certificate", nil, "GET", "", nil, []roundTrip{dead(endpoint.TLSCertificateError, retry.NoRepeat, false)}, 502, "tls_certificate_error", "no", ""},
		{"row 19: a stale connection under a GET", nil, "GET", "", nil, []roundTrip{reset, answers200}, 200, "", "", ""},
		{"row 19: a stale connection under a POST", nil, "POST", "pay", nil, []roundTrip{reset}, 502, "connection_terminated", "maybe", ""},
		{"row 19: a stale connection before a byte of a POST", nil, "POST", "pay", nil, []roundTrip{unsentReset, answers200}, 200, "", "", ""},
		{"row 20: a refused stream under a POST", nil, "POST", "pay", nil, []roundTrip{refusedStream, answers200}, 200, "", "", ""},
		{"row 20: and the proof still holds when it is the last word", nil, "POST", "pay", nil, []roundTrip{refusedStream, refusedStream, refusedStream}, 502, "connection_terminated", "no", ""},
		{"row 21: a reset under a POST with a key nobody honours", nil, "POST", "pay", []string{"Idempotency-Key", "1"}, []roundTrip{reset}, 502, "connection_terminated", "maybe", ""},
		{"row 21: a reset under a POST with a key that is honoured", keysHonoured, "POST", "pay", []string{"Idempotency-Key", "1"}, []roundTrip{reset, answers200}, 200, "", "", ""},
		{"row 21: a reset under a POST without the key", keysHonoured, "POST", "pay", nil, []roundTrip{reset}, 502, "connection_terminated", "maybe", ""},
		{"row 23: 503 twice, then 200", nil, "GET", "", nil, []roundTrip{status(503), status(503), answers200}, 200, "", "", ""},
		{"row 23: 503 three times: the destination's own answer", nil, "GET", "", nil, []roundTrip{status(503), status(503), status(503)}, 503, "", "", ""},
		{"row 23: 503 under a POST", nil, "POST", "pay", nil, []roundTrip{status(503)}, 503, "", "", ""},
		{"row 23: 500 is not repeated", nil, "GET", "", nil, []roundTrip{status(500)}, 500, "", "", ""},
		{"row 23: unless the route says so", retries(2, 500), "GET", "", nil, []roundTrip{status(500), answers200}, 200, "", "", ""},
		{"a route may forbid repeats", retries(0), "GET", "", nil, []roundTrip{status(503)}, 503, "", "", ""},
		{"a route allows no more than the gateway", retries(9), "GET", "", nil, []roundTrip{status(503), status(503), status(503)}, 503, "", "", ""},
		{"row 24: 429 with a short Retry-After", nil, "GET", "", nil, []roundTrip{status(429, "Retry-After", "1"), answers200}, 200, "", "", ""},
		{"row 24: 429 with a long Retry-After", nil, "GET", "", nil, []roundTrip{status(429, "Retry-After", "60")}, 429, "", "", ""},
		{"row 24: 429 under a POST", nil, "POST", "pay", nil, []roundTrip{status(429, "Retry-After", "1")}, 429, "", "", ""},
		{"row 24: 429 under a POST that the backend lets repeat", post429, "POST", "pay", nil, []roundTrip{status(429, "Retry-After", "1"), answers200}, 200, "", "", ""},
		{"row 26: 404", nil, "GET", "", nil, []roundTrip{status(404)}, 404, "", "", ""},
		{"a redirect is passed on, never followed", nil, "GET", "", nil, []roundTrip{status(302, "Location", "https://evil.example.com/")}, 302, "", "", ""},
		{"row 29: a body larger than the buffer", nil, "PUT", big, nil, []roundTrip{status(503)}, 503, "", "", ""},
		{"row 11: a loop found outside is not repeated", nil, "GET", "", nil, []roundTrip{status(508)}, 508, "", "", ""},
		{"an ambiguous attempt behind which nothing is sent stays ambiguous", nil, "GET", "", nil, []roundTrip{reset, refused, refused}, 502, "connection_refused", "maybe", ""},
		{"a destination that says not to", nil, "GET", "", nil, []roundTrip{status(503, "X-Should-Retry", "false")}, 503, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				next := scripted(t)
				for _, s := range c.steps {
					next.steps = append(next.steps, next.reads(s))
				}
				r := newRig(t, snapshot(route.ViaEndpoint, c.change), func(cfg *Config) { cfg.Endpoint = roundTrip(next.RoundTrip).endpoint() })
				content := io.Reader(nil)
				if c.body != "" {
					content = strings.NewReader(c.body)
				}
				w := r.do(c.method, "http://api/", content, c.header...)
				if w.Code != c.status {
					t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
				}
				if len(next.seen) != len(c.steps) {
					t.Errorf("the destination was asked %d times, want %d", len(next.seen), len(c.steps))
				}
				for i, sent := range next.sent {
					if sent != c.body {
						t.Errorf("attempt %d got %d bytes of body, want %d", i+1, len(sent), len(c.body))
					}
				}
				ps := w.Header().Get("Proxy-Status")
				if c.error != "" && (!strings.Contains(ps, "error="+c.error+";") || !strings.HasSuffix(ps, "executed="+c.executed)) {
					t.Errorf("Proxy-Status %q, want error=%s, executed=%s", ps, c.error, c.executed)
				}
				if c.error == "" && ps != "" {
					t.Errorf("Proxy-Status %q on the destination's own answer", ps)
				}
				want := map[string]float64{"": float64(len(c.steps)), "0": 0}[c.attempts]
				if line := r.lines()[0]; line["attempts"] != want {
					t.Errorf("%v attempts in the log, want %v", line["attempts"], want)
				}
			})
		})
	}
}

func TestTimePerAttempt(t *testing.T) {
	hang := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, &endpoint.Error{Cause: endpoint.ConnectionTerminated, Class: retry.ResetBeforeHeaders, Sent: true, Err: r.Context().Err()}
	}
	for _, c := range []struct {
		name, method string
		change       func(*route.Backend, *route.Rule)
		steps        []roundTrip
		took         time.Duration
		status       int
		error        string
	}{
		{"row 22: an attempt gets its share of the time", "GET", nil, []roundTrip{hang, answers200}, 10 * time.Second, 200, ""},
		{"row 22: or what the route says", "GET", func(_ *route.Backend, r *route.Rule) { r.Timeouts.BackendRequest = ptr(time.Second) }, []roundTrip{hang, hang, answers200}, 2 * time.Second, 200, ""},
		{"row 22: and no more than that", "GET", func(_ *route.Backend, r *route.Rule) { r.Timeouts.BackendRequest = ptr(time.Second) }, []roundTrip{hang, hang, hang}, 3 * time.Second, 504, "http_response_timeout"},
		{"a POST, which is not repeated, gets all of the time", "POST", nil, []roundTrip{hang}, 30 * time.Second, 504, "http_response_timeout"},
		{"a POST with a time of its own is not repeated", "POST", func(_ *route.Backend, r *route.Rule) { r.Timeouts.BackendRequest = ptr(time.Second) }, []roundTrip{hang}, time.Second, 504, "http_response_timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				next := scripted(t, c.steps...)
				r := newRig(t, snapshot(route.ViaEndpoint, c.change), func(cfg *Config) { cfg.Endpoint = roundTrip(next.RoundTrip).endpoint() })
				start := time.Now()
				w := r.do(c.method, "http://api/", nil)
				if took := time.Since(start).Truncate(100 * time.Millisecond); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if ps := w.Header().Get("Proxy-Status"); w.Code != c.status || !strings.Contains(ps, c.error) || c.error != "" && !strings.HasSuffix(ps, "executed=maybe") {
					t.Errorf("status %d, %s", w.Code, ps)
				}
				if len(next.seen) != len(c.steps) {
					t.Errorf("%d attempts, want %d", len(next.seen), len(c.steps))
				}
			})
		})
	}
}

func TestAClientThatLeavesEndsTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered := make(chan struct{}, 1)
		cancelled := false
		next := scripted(t, func(r *http.Request) (*http.Response, error) {
			entered <- struct{}{}
			<-r.Context().Done()
			cancelled = true
			return nil, outside(endpoint.ConnectionTerminated, retry.ResetBeforeHeaders, true)
		})
		r := newRig(t, snapshot(route.ViaEndpoint, nil), func(cfg *Config) { cfg.Endpoint = roundTrip(next.RoundTrip).endpoint() })
		ctx, leave := context.WithCancel(t.Context())
		req, _ := requestFor(t, "http://api/", time.Hour)
		done := make(chan bool)
		go func() { done <- serveAborts(r.Workload(80), req.WithContext(ctx)) }()
		<-entered
		leave()
		<-done
		if !cancelled || len(next.seen) != 1 {
			t.Errorf("row 30: cancelled %v after %d attempts", cancelled, len(next.seen))
		}
		if line := r.lines()[0]; line["status"] != 0.0 || line["reason"] != reasonClientGone {
			t.Errorf("access log %v", line)
		}
		if kept := r.refusals.Last(1); len(kept) != 0 {
			t.Errorf("a client that left is no refusal: %+v", kept)
		}
	})
}

// The guards of package retry are in the way of every repeat.
func TestRepeatsEndWithTheThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		r := newRig(t, snapshot(route.ViaEndpoint, nil), func(cfg *Config) {
			cfg.Endpoint = roundTrip(func(*http.Request) (*http.Response, error) { asked++; return response(503, ""), nil }).endpoint()
		})
		for range 100 {
			if w := r.do("GET", "http://api/", nil); w.Code != 503 {
				t.Fatalf("status %d", w.Code)
			}
		}
		if asked > 105 {
			t.Errorf("100 requests to a destination that always fails cost %d attempts, want at most 5 repeats", asked)
		}
		if got := r.metric("penstock_retry_budget_exhausted_total"); got == "0" {
			t.Error("the spent budget is not counted")
		}
	})
}

func TestNothingIsRepeatedDuringAHoldDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := scripted(t, status(503), status(508), status(503), status(503), answers200)
		r := newRig(t, snapshot(route.ViaEndpoint, nil), func(cfg *Config) { cfg.Endpoint = roundTrip(next.RoundTrip).endpoint() })
		r.destination("billing/payments").guards.HoldBackend(time.Minute)
		if w := r.do("GET", "http://api/", nil); w.Code != 503 {
			t.Errorf("status %d", w.Code)
		}
		<-time.After(time.Minute)
		if w := r.do("GET", "http://api/", nil); w.Code != 508 {
			t.Errorf("status %d", w.Code)
		}
		if w := r.do("GET", "http://api/", nil); w.Code != 503 {
			t.Errorf("behind a loop's answer repeats are off for Tmax: status %d", w.Code)
		}
		<-time.After(30 * time.Second)
		if w := r.do("GET", "http://api/", nil); w.Code != 200 {
			t.Errorf("after it they are on: status %d", w.Code)
		}
	})
}

func TestTagsOutside(t *testing.T) {
	t.Run("each attempt tells how many may follow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			next := scripted(t, status(503), status(503), answers200)
			r := newRig(t, snapshot(route.ViaEndpoint, nil), func(cfg *Config) { cfg.Endpoint = roundTrip(next.RoundTrip).endpoint() })
			r.do("GET", "http://api/", nil)
			seen := map[string]bool{}
			for _, req := range next.seen {
				loop := req.Header["Cdn-Loop"]
				if len(loop) != 1 || strings.Count(loop[0], hubID.Pseudonym) != 1 {
					t.Errorf("CDN-Loop %q", loop)
				}
				seen[loop[0]] = true
			}
			if len(seen) != 3 {
				t.Errorf("%d different tags on 3 attempts", len(seen))
			}
		})
	})
	t.Run("a backend may do without", func(t *testing.T) {
		next := scripted(t, answers200)
		r := newRig(t, snapshot(route.ViaEndpoint, func(b *route.Backend, _ *route.Rule) { b.CDNLoopDisabled = true }), func(cfg *Config) { cfg.Endpoint = roundTrip(next.RoundTrip).endpoint() })
		r.do("GET", "http://api/", nil)
		for name := range next.seen[0].Header {
			if hop.Reserved(name) {
				t.Errorf("%s goes out", name)
			}
		}
	})
	t.Run("re-entry is allowed where the backend says so", func(t *testing.T) {
		for allowed, want := range map[int]int{0: 508, 1: 200} {
			out := http.Header{}
			tags, _, err := hop.FromWorkload(http.Header{}, "api", hubID, hop.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			tags.WriteOutside(out, hubID, time.Now())
			r := newRig(t, snapshot(route.ViaEndpoint, func(b *route.Backend, _ *route.Rule) { b.AllowReentry = allowed }), func(cfg *Config) {
				cfg.Endpoint = roundTrip(answers200).endpoint()
			})
			if w := r.do("GET", "http://api/", nil, "CDN-Loop", out.Get("CDN-Loop")); w.Code != want {
				t.Errorf("allowReentry %d: status %d, want %d", allowed, w.Code, want)
			}
			if loops := r.metric(`penstock_loop_detected_total{`); (loops == "1") != (want == 508) {
				t.Errorf("allowReentry %d: %s loops counted", allowed, loops)
			}
		}
	})
}

func TestARewrittenHostReachesTheEndpoint(t *testing.T) {
	var got route.Backend
	r := newRig(t, snapshot(route.ViaEndpoint, func(_ *route.Backend, rule *route.Rule) {
		rule.Filters = []route.Filter{{Type: route.FilterURLRewrite, Phase: route.PhaseRequestHeaders, Rewrite: &route.URLRewrite{Hostname: "eu.example.com"}}}
	}), func(cfg *Config) { cfg.Endpoint = seesBackend{&got} })
	if w := r.do("GET", "http://api/", nil); w.Code != 200 {
		t.Fatalf("status %d", w.Code)
	}
	if got.Authority != "eu.example.com" || got.Key != "billing/payments" {
		t.Errorf("backend %+v", got)
	}
	if own := r.Snapshot().Backend("billing/payments"); own.Authority != "api.example.com" {
		t.Error("the snapshot was edited")
	}
}

type seesBackend struct{ got *route.Backend }

func (s seesBackend) RoundTrip(_ *http.Request, b *route.Backend) (*http.Response, error) {
	*s.got = *b
	return response(200, ""), nil
}

func TestAResponseFilterThatFails(t *testing.T) {
	for _, phase := range []route.Phase{route.PhaseBackendResponse, route.PhaseResponseHeaders, route.PhaseBackendRequest, route.PhaseRequestHeaders} {
		for _, open := range []bool{false, true} {
			closed := 0
			r := newRig(t, snapshot(route.ViaEndpoint, func(_ *route.Backend, rule *route.Rule) {
				rule.Filters = []route.Filter{{Name: "f", Type: route.FilterHeaderModifier, Phase: phase, FailOpen: open, Headers: &route.HeaderModifier{Remove: []string{"Content-Length"}}}}
			}), func(cfg *Config) {
				cfg.Endpoint = roundTrip(func(*http.Request) (*http.Response, error) {
					res := response(200, "secret answer")
					res.Body = closing{res.Body, &closed}
					return res, nil
				}).endpoint()
			})
			w := r.do("GET", "http://api/", nil)
			want := map[bool]int{false: 500, true: 200}[open]
			if w.Code != want || !open && strings.Contains(w.Body.String(), "secret answer") {
				t.Errorf("%s, failOpen %v: status %d, body %s", phase, open, w.Code, w.Body)
			}
			if got := r.metric(`penstock_filter_failed_open_total{type="penstock.dev/HeaderModifier:v1"}`); (got == "1") != open {
				t.Errorf("%s, failOpen %v: %s counted", phase, open, got)
			}
			if sent := open || phase == route.PhaseBackendResponse || phase == route.PhaseResponseHeaders; (closed > 0) != sent {
				t.Errorf("%s, failOpen %v: the answer's body was closed %d times", phase, open, closed)
			}
		}
	}
}

type closing struct {
	io.Reader
	n *int
}

func (c closing) Close() error { *c.n++; return nil }
