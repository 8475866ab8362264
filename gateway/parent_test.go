package gateway

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/tunnel"
)

func lost(err error) roundTrip { return fails(&tunnel.Error{Hub: "hub-0", Err: err}) }

func spared(err error, proof string) roundTrip {
	return fails(&tunnel.Error{Hub: "hub-0", Err: err, Proof: proof})
}

func overloaded(*http.Request) (*http.Response, error) {
	res := response(503, "", "Retry-After", "1")
	hop.SetNotProcessed(res.Header, hop.Overload)
	return res, nil
}

// Rows 1 to 10 and 33, as one workload sees them. The body is asked for by each try that gets that far.
func TestTriesTowardsAParent(t *testing.T) {
	type step struct {
		reads bool // it reads the body before it fails
		then  roundTrip
	}
	read := func(f roundTrip) step { return step{true, f} }
	unread := func(f roundTrip) step { return step{false, f} }
	big := strings.Repeat("x", 100<<10)
	for _, c := range []struct {
		name     string
		body     string
		steps    []step
		status   int
		proxy    string // of Proxy-Status; "" with an answer of the hub
		executed string
	}{
		{"row 1: no tunnel, three times", "pay", []step{unread(spared(tunnel.ErrNoTunnel, "P1")), unread(spared(tunnel.ErrNoTunnel, "P1")), unread(spared(tunnel.ErrNoTunnel, "P1"))}, 503, "destination_unavailable", "no"},
		{"row 1: no tunnel, then one", "pay", []step{unread(spared(tunnel.ErrNoTunnel, "P1")), read(answers200)}, 200, "", ""},
		{"row 2: a bad certificate is tried elsewhere", "pay", []step{unread(spared(tunnel.ErrCertificate, "P1")), read(answers200)}, 200, "", ""},
		{"row 4: no stream, then one", "pay", []step{unread(spared(tunnel.ErrStreamLimit, "P1")), read(answers200)}, 200, "", ""},
		{"row 5: nothing was written", "pay", []step{read(spared(tunnel.ErrNotWritten, "P4")), read(answers200)}, 200, "", ""},
		{"row 6: rejected with the body already read", "pay", []step{read(spared(tunnel.ErrRejected, "P2")), read(answers200)}, 200, "", ""},
		{"row 6: rejected with a body too large to keep", big, []step{read(spared(tunnel.ErrRejected, "P2"))}, 503, "destination_unavailable", "no"},
		{"row 6: ended before reading", "pay", []step{read(spared(tunnel.ErrEnded, "P2")), read(answers200)}, 200, "", ""},
		{"row 8: one hub is overloaded", "pay", []step{read(overloaded), read(answers200)}, 200, "", ""},
		{"row 8: two hubs are overloaded", "pay", []step{read(overloaded), read(overloaded)}, 503, "connection_limit_reached", "no"},
		{"row 8: the only hub is overloaded", "pay", []step{read(overloaded), unread(spared(tunnel.ErrNoOther, "P1")), unread(spared(tunnel.ErrNoOther, "P1"))}, 503, "connection_limit_reached", "no"},
		{"row 9: the tunnel died: no repeat, though it is only a GET", "", []step{unread(lost(tunnel.ErrPeerLost))}, 502, "connection_terminated", "maybe"},
		{"row 9: the tunnel died under a POST", "pay", []step{read(lost(tunnel.ErrPeerLost))}, 502, "connection_terminated", "maybe"},
		{"row 9: behind a try that was spared", "pay", []step{read(spared(tunnel.ErrRejected, "P2")), read(lost(tunnel.ErrPeerLost))}, 502, "connection_terminated", "maybe"},
		{"the hub's answer is malformed", "pay", []step{read(lost(tunnel.ErrMalformed))}, 502, "http_protocol_error", "maybe"},
		{"row 11: the hub found a loop", "pay", []step{read(status(508))}, 508, "", ""},
		{"row 23: the hub answers 503: no repeat on a status", "pay", []step{read(status(503))}, 503, "", ""},
		{"row 24: nor on a 429", "", []step{unread(status(429, "Retry-After", "0"))}, 429, "", ""},
		{"row 33: the hub's own parent is gone", "pay", []step{read(status(503, "Proxy-Status", "phub; error=destination_unavailable"))}, 503, "phub; error=destination_unavailable", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				next := scripted(t)
				for _, s := range c.steps {
					if s.reads {
						s.then = next.reads(s.then)
					}
					next.steps = append(next.steps, s.then)
				}
				r := newRig(t, snapshot(route.ViaParent, nil), func(cfg *Config) {
					cfg.Self, cfg.Parent = spokeID, roundTrip(next.RoundTrip).parent()
					cfg.Rand = func() float64 { return 0.999 }
				})
				method, content := http.MethodGet, io.Reader(nil)
				if c.body != "" {
					method, content = http.MethodPost, strings.NewReader(c.body)
				}
				w := r.do(method, "http://api/v1", content)
				if w.Code != c.status {
					t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
				}
				if len(next.seen) != len(c.steps) {
					t.Errorf("%d tries, want %d", len(next.seen), len(c.steps))
				}
				for i, sent := range next.sent {
					if sent != c.body {
						t.Errorf("try %d got the body %.20q of %d bytes, want %d bytes", i+1, sent, len(sent), len(c.body))
					}
				}
				ps := w.Header().Get("Proxy-Status")
				if c.executed != "" && (!strings.HasPrefix(ps, spokeID.Pseudonym+"; error="+c.proxy+";") || !strings.HasSuffix(ps, "executed="+c.executed)) {
					t.Errorf("Proxy-Status %q, want error=%s, executed=%s", ps, c.proxy, c.executed)
				}
				if c.executed == "" && ps != c.proxy {
					t.Errorf("Proxy-Status %q of an answer of the hub, want %q unchanged", ps, c.proxy)
				}
				for name := range w.Header() {
					if hop.Reserved(name) {
						t.Errorf("%s reaches the workload", name)
					}
				}
				if took := time.Since(r.start()); took > 3*time.Second {
					t.Errorf("the tries took %v", took)
				}
			})
		})
	}
}

// start of the last request.
func (r *rig) start() time.Time {
	for _, x := range r.lines() {
		if at, err := time.Parse(time.RFC3339Nano, x["time"].(string)); err == nil {
			return at
		}
	}
	return time.Time{}
}

// What travels to the parent: tags as HOPS-AND-RETRIES A.3 wants them, the catalog's authority, and no identity proof.
func TestWhatAParentIsSent(t *testing.T) {
	next := scripted(t, answers200)
	r := newRig(t, snapshot(route.ViaParent, func(b *route.Backend, rule *route.Rule) {
		rule.Retry = &route.Retry{Attempts: 1}
		rule.Timeouts.Request = ptr(5 * time.Second)
		rule.Filters = []route.Filter{{Type: route.FilterURLRewrite, Phase: route.PhaseRequestHeaders, Rewrite: &route.URLRewrite{Hostname: "evil.example.com"}}}
	}), func(c *Config) { c.Self, c.Parent = spokeID, roundTrip(next.RoundTrip).parent() })
	next.steps[0] = status(200, "Penstock-Attempts", "n=2, c=1", "Penstock-Unknown", "x")
	w := r.do("GET", "http://api/v1", nil, "Proxy-Authorization", "Bearer t", "Penstock-Subject", `ns="other", m=token`)
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	out := next.seen[0]
	if out.Host != "payments.billing.svc.clusterset.local" || out.URL.Host != out.Host {
		t.Errorf("it went to host %s, url %s", out.Host, out.URL)
	}
	if out.Header.Get("Proxy-Authorization") != "" {
		t.Error("the proof of identity went on")
	}
	if via := out.Header.Get("Via"); via != "1.1 "+spokeID.Pseudonym {
		t.Errorf("Via %q", via)
	}
	tags, err := hop.FromPeer(out.Header.Clone(), spokeID.Group, "east", hubID, hop.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if tags.Budget.Hops != 3 || tags.Budget.Attempts != 2 || tags.Budget.Headers > 5*time.Second || tags.Budget.Stream > 5*time.Second || tags.Budget.Stream == 0 {
		t.Errorf("budget %+v, want 3 hops, 2 attempts, at most 5 s for both times", tags.Budget)
	}
	want := bot
	want.Cluster = "east"
	if diff := cmp.Diff(want, tags.Subject); diff != "" {
		t.Error(diff)
	}
	if tags.RequestID != w.Header().Get("X-Request-Id") {
		t.Errorf("request id %q on, %q back", tags.RequestID, w.Header().Get("X-Request-Id"))
	}
	if line := r.lines()[0]; line["attempts"] != 2.0 || line["connects"] != 2.0 {
		t.Errorf("the log counts %v attempts, %v connects; want 2 below, and 1 below and 1 here", line["attempts"], line["connects"])
	}
}

// The identity of a workload crosses the hub only as tags: a hub hands on what the spoke proved.
func TestAHubHandsOnToItsParent(t *testing.T) {
	next := scripted(t, answers200)
	s := snapshot(route.ViaParent, nil)
	s.Grants = []route.Grant{{Backends: []string{"billing/payments"}, From: []route.GrantFrom{{Clusters: []string{"east"}}}}}
	r := newRig(t, s, func(c *Config) { c.Parent = roundTrip(next.RoundTrip).parent() })
	r.peers(spokePeer)
	next.steps[0] = status(200, "Penstock-Attempts", "n=1, c=0")
	w := r.viaTunnel("GET", "http://payments.billing.svc.clusterset.local/v1", nil, tagged(t, nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if got := w.Header().Get("Penstock-Attempts"); got != "n=1, c=1" {
		t.Errorf("Penstock-Attempts %q on the way up, want the sum", got)
	}
	tags, err := hop.FromHub(next.seen[0].Header.Clone(), hubID.Group, func(string) bool { return true }, hop.Self{Group: "top", Pseudonym: "ptop"}, hop.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(tags.Path) != 2 || tags.Subject.Cluster != "east" || tags.Budget.Hops != 2 {
		t.Errorf("tags %+v", tags)
	}
}

func TestDeadlines(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*route.Backend, *route.Rule)
		config func(*Config)
		header []string
		want   time.Duration
	}{
		{"a request gets 30 s", nil, nil, nil, 30 * time.Second},
		{"the gateway's own limit", nil, func(c *Config) { c.Limits.Headers = 7 * time.Second }, nil, 7 * time.Second},
		{"a backend may raise it", func(b *route.Backend, _ *route.Rule) { b.Timeouts.ResponseHeaders = 2 * time.Minute }, nil, nil, 2 * time.Minute},
		{"but not beyond ten minutes", func(b *route.Backend, _ *route.Rule) { b.Timeouts.ResponseHeaders = time.Hour }, nil, nil, 10 * time.Minute},
		{"or lower it", func(b *route.Backend, _ *route.Rule) { b.Timeouts.ResponseHeaders = time.Second }, nil, nil, time.Second},
		{"a rule lowers it", func(_ *route.Backend, r *route.Rule) { r.Timeouts.Request = ptr(3 * time.Second) }, nil, nil, 3 * time.Second},
		{"a rule does not raise it", func(_ *route.Backend, r *route.Rule) { r.Timeouts.Request = ptr(time.Hour) }, nil, nil, 30 * time.Second},
		{"zero in a rule sets no limit of its own", func(_ *route.Backend, r *route.Rule) { r.Timeouts.Request = ptr(0) }, nil, nil, 30 * time.Second},
		{"grpc-timeout lowers it", nil, nil, []string{"Grpc-Timeout", "1500m"}, 1500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang := func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, &tunnel.Error{Err: errors.Join(tunnel.ErrCancelled, r.Context().Err())}
				}
				r := newRig(t, snapshot(route.ViaParent, c.change), func(cfg *Config) {
					cfg.Self, cfg.Parent = spokeID, roundTrip(hang).parent()
					if c.config != nil {
						c.config(cfg)
					}
				})
				start := time.Now()
				w := r.do("GET", "http://api/", nil, c.header...)
				if took := time.Since(start); took != c.want {
					t.Errorf("it ended after %v, want %v", took, c.want)
				}
				if ps := w.Header().Get("Proxy-Status"); w.Code != 504 || !strings.Contains(ps, `http_response_timeout; details="deadline"; executed=maybe`) {
					t.Errorf("row 31: status %d, %s", w.Code, ps)
				}
			})
		})
	}
}

// A body that streams is bounded by s, not by t.
func TestTheTimeOfTheWholeExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(r *http.Request) (*http.Response, error) {
			pr, pw := io.Pipe()
			go func() {
				for {
					select {
					case <-time.After(time.Second):
						if _, err := pw.Write([]byte("x")); err != nil {
							return
						}
					case <-r.Context().Done():
						pw.CloseWithError(r.Context().Err())
						return
					}
				}
			}()
			res := response(200, "")
			res.Body, res.ContentLength = pr, -1
			return res, nil
		}
		for name, c := range map[string]struct {
			limit *time.Duration
			want  time.Duration
		}{
			"a rule's timeout bounds the stream": {ptr(5 * time.Second), 5 * time.Second},
			"without one a stream may go on":     {nil, time.Hour},
		} {
			r := newRig(t, snapshot(route.ViaParent, func(_ *route.Backend, rule *route.Rule) { rule.Timeouts.Request = c.limit }), func(cfg *Config) {
				cfg.Self, cfg.Parent = spokeID, roundTrip(slow).parent()
			})
			start := time.Now()
			req, cancel := requestFor(t, "http://api/", time.Hour)
			aborted := serveAborts(r.Workload(80), req)
			cancel()
			if took := time.Since(start); took != c.want || !aborted {
				t.Errorf("%s: it ended after %v (cut off: %v), want %v", name, took, aborted, c.want)
			}
			if line := r.lines()[0]; line["truncated"] != true || line["status"] != 200.0 {
				t.Errorf("%s: access log %v", name, line)
			}
		}
	})
}
