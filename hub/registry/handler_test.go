package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/apis/control"
)

// answer of the join endpoint.
type answer struct {
	status int
	header http.Header
	body   string
	refusal
	cert control.Certificate
}

type refusal struct {
	Code, Message, Remedy string
}

func ask(t *testing.T, h http.Handler, method, path, source, body string) answer {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	req.RemoteAddr = source
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	a := answer{status: rec.Code, header: rec.Header(), body: rec.Body.String()}
	if rec.Header().Get("Content-Type") == "application/json" {
		var v any = &a.cert
		if rec.Code != http.StatusOK {
			v = &a.refusal
		}
		if err := json.Unmarshal(rec.Body.Bytes(), v); err != nil {
			t.Fatalf("%s %s answered %q: %v", method, path, rec.Body, err)
		}
	}
	return a
}

const here = "192.0.2.50:1234"

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestJoinEndpoint(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method string
		path   string
		body   func(good string) string
		status int
		code   Code
	}{
		{"a good request is answered with a certificate", "POST", "/v1/join", func(good string) string { return good }, 200, ""},
		{"an unknown member is ignored", "POST", "/v1/join", func(good string) string { return `{"later":1,` + good[1:] }, 200, ""},
		{"white space behind it is fine", "POST", "/v1/join", func(good string) string { return good + "\n" }, 200, ""},
		{"a second value is refused", "POST", "/v1/join", func(good string) string { return good + "{}" }, 400, BadRequest},
		{"half a request is refused", "POST", "/v1/join", func(good string) string { return good[:len(good)/2] }, 400, BadRequest},
		{"an empty body is refused", "POST", "/v1/join", func(string) string { return "" }, 400, BadRequest},
		{"an array is refused", "POST", "/v1/join", func(good string) string { return "[" + good + "]" }, 400, BadRequest},
		{"a body of more than 64 KiB is refused", "POST", "/v1/join", func(good string) string { return good + strings.Repeat(" ", 64<<10) }, 400, BadRequest},
		{"an empty object is refused", "POST", "/v1/join", func(string) string { return "{}" }, 400, BadRequest},
		{"a wrong token is forbidden", "POST", "/v1/join", func(good string) string { return strings.Replace(good, "pjt_", "pjt-", 1) }, 403, TokenUnknown},
		{"an empty recovery is refused", "POST", "/v1/recover", func(string) string { return "{}" }, 400, CSRRefused},
		{"GET is not a method", "GET", "/v1/join", func(string) string { return "" }, 405, ""},
		{"renewal is not here", "POST", "/v1/renew", func(good string) string { return good }, 404, ""},
		{"nor is anything else", "POST", "/v1/join/x", func(good string) string { return good }, 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				r := w.run(w.replica("hub-0"))
				b := w.register(r, "east")
				good := jsonOf(t, control.JoinRequest{Cluster: "east", Token: b.Token, Instance: "pod-1", CSR: csrOf(t, newKey(t))})
				a := ask(t, r.JoinHandler(), tt.method, tt.path, here, tt.body(good))
				if a.status != tt.status || Code(a.Code) != tt.code {
					t.Fatalf("answer = %d %s, want %d %q", a.status, a.body, tt.status, tt.code)
				}
				if strings.Contains(a.body, b.Token) {
					t.Errorf("the answer holds the token: %s", a.body)
				}
				if tt.code != "" && (a.Message == "" || a.Remedy == "") {
					t.Errorf("refusal %+v, want a message and a remedy", a.refusal)
				}
				if tt.status == 200 {
					wantStanding(t, "the gateway", r, peerOf(t, parseLeaf(t, a.cert.Chain)), true)
				}
				if (tt.status == 200 || tt.code != "") && a.header.Get("Cache-Control") != "no-store" {
					t.Errorf("Cache-Control = %q, want no-store", a.header.Get("Cache-Control"))
				}
			})
		})
	}
}

func TestRecoverEndpoint(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		g := w.join(r, w.register(r, "east"), "pod-1")
		pass(2 * hour)
		req := g.recoverRequest(newKey(t))
		a := ask(t, r.JoinHandler(), "POST", "/v1/recover", here, jsonOf(t, req))
		if a.status != 200 || a.cert.Generation != 2 || a.cert.Roots != r.RootsPEM() {
			t.Fatalf("answer = %d %s, want generation 2", a.status, a.body)
		}
		wantStanding(t, "the gateway", r, peerOf(t, parseLeaf(t, a.cert.Chain)), true)
		req.Signature = ""
		if a := ask(t, r.JoinHandler(), "POST", "/v1/recover", here, jsonOf(t, req)); a.status != 403 || Code(a.Code) != CertRefused {
			t.Errorf("without signature = %d %s, want 403 %s", a.status, a.body, CertRefused)
		}
	})
}

func TestWhoFailsTooOftenWaits(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		b := w.register(r, "east")
		good := jsonOf(t, control.JoinRequest{Cluster: "east", Token: b.Token, Instance: "pod-1", CSR: csrOf(t, newKey(t))})
		bad := strings.Replace(good, "pjt_", "pjt-", 1)
		h := r.JoinHandler()
		for i := range 10 {
			if a := ask(t, h, "POST", "/v1/join", here, bad); a.status != 403 {
				t.Fatalf("failure %d = %d %s, want 403", i, a.status, a.body)
			}
		}
		a := ask(t, h, "POST", "/v1/join", here, good)
		if a.status != 429 || Code(a.Code) != TooManyFailures || a.header.Get("Retry-After") != "6" {
			t.Fatalf("after 10 failures = %d %s, retry after %q, want 429 and 6 s", a.status, a.body, a.header.Get("Retry-After"))
		}
		other := jsonOf(t, control.JoinRequest{Cluster: "west", Token: w.register(r, "west").Token, Instance: "pod-1", CSR: csrOf(t, newKey(t))})
		if a := ask(t, h, "POST", "/v1/join", "192.0.2.51:1234", other); a.status != 200 {
			t.Errorf("another address = %d %s, want 200", a.status, a.body)
		}
		pass(6 * time.Second)
		if a := ask(t, h, "POST", "/v1/join", here, good); a.status != 200 {
			t.Errorf("6 s later = %d %s, want 200", a.status, a.body)
		}
	})
}

func TestTheHubsOwnTroubleIsNobodysFailure(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		b := w.register(r, "east")
		good := jsonOf(t, control.JoinRequest{Cluster: "east", Token: b.Token, Instance: "pod-1", CSR: csrOf(t, newKey(t))})
		h := r.JoinHandler()
		w.catalog.Fail(true)
		for range 50 {
			if a := ask(t, h, "POST", "/v1/join", here, good); a.status != 503 || Code(a.Code) != Unavailable || a.header.Get("Retry-After") == "" {
				t.Fatalf("while the catalog is away = %d %s, want 503 with Retry-After", a.status, a.body)
			}
		}
		w.catalog.Fail(false)
		if a := ask(t, h, "POST", "/v1/join", here, good); a.status != 200 {
			t.Errorf("then = %d %s, want 200", a.status, a.body)
		}
	})
}

func TestJoinsAtOnceAreBounded(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		h := r.JoinHandler()
		// Bodies that never come hold all slots.
		var bodies []*io.PipeWriter
		done := make(chan int, maxJoins)
		for range maxJoins {
			pr, pw := io.Pipe()
			bodies = append(bodies, pw)
			go func() {
				req := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/join", pr)
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, req)
				done <- rec.Code
			}()
		}
		synctest.Wait()
		if a := ask(t, h, "POST", "/v1/join", here, "{}"); a.status != 503 || Code(a.Code) != Busy {
			t.Errorf("one more = %d %s, want 503 busy", a.status, a.body)
		}
		for _, b := range bodies {
			b.CloseWithError(errors.New("gone"))
		}
		for range maxJoins {
			if code := <-done; code != 400 {
				t.Errorf("a body that broke off = %d, want 400", code)
			}
		}
	})
}

func TestThrottleForgetsThoseThatFailLeast(t *testing.T) {
	th, now := newThrottle(), time.Now()
	for range failuresAtOnce {
		th.failed("worst", now)
	}
	for i := range 3 * maxSources {
		th.failed(string(rune('a'+i%26))+time.Duration(i).String(), now)
	}
	if n := len(th.sources); n > maxSources {
		t.Errorf("the table has %d sources, want at most %d", n, maxSources)
	}
	if wait := th.blocked("worst", now); wait != failureRefill {
		t.Errorf("the worst source waits %s, want %s", wait, failureRefill)
	}
	if wait := th.blocked("a0s", now.Add(hour)); wait != 0 {
		t.Errorf("a source waits %s after an hour, want 0", wait)
	}
}

func TestSourceOf(t *testing.T) {
	for _, tt := range []struct{ name, remote, want string }{
		{"IPv4 without its port", "192.0.2.1:1234", "192.0.2.1"},
		{"IPv4 in IPv6 is IPv4", "[::ffff:192.0.2.1]:1234", "192.0.2.1"},
		{"IPv6 by its /64", "[2001:db8:1:2:3:4:5:6]:1234", "2001:db8:1:2::/64"},
		{"a zone does not matter", "[fe80::1%eth0]:1", "fe80::/64"},
		{"what is no address stands for itself", "@", "@"},
	} {
		if got := sourceOf(tt.remote); got != tt.want {
			t.Errorf("%s: sourceOf(%q) = %q, want %q", tt.name, tt.remote, got, tt.want)
		}
	}
}

// Whatever comes, it is answered, in JSON, and never with a certificate or a trace of what was sent.
func FuzzJoinBody(f *testing.F) {
	f.Add([]byte(`{"cluster":"east","token":"pjt_canary","csr":"","instance":"a"}`), false)
	f.Add([]byte(`{"certificate":"","csr":"","generation":1,"signature":""}`), true)
	f.Add([]byte(`{"token":["pjt_canary"]}`), false)
	f.Fuzz(func(t *testing.T, body []byte, recovery bool) {
		path := "/v1/join"
		if recovery {
			path = "/v1/recover"
		}
		simulate(t, func(t *testing.T, w *world) {
			h := w.replica("hub-0").JoinHandler()
			a := ask(t, h, "POST", path, here, string(body))
			if a.status < 400 || a.Code == "" || a.Remedy == "" {
				t.Fatalf("answer = %d %s, want a refusal with a remedy", a.status, a.body)
			}
			if bytes.Contains(body, []byte("pjt_canary")) && strings.Contains(a.body+w.log.String(), "pjt_canary") {
				t.Fatalf("the token is in the answer or the log: %s", a.body)
			}
		})
	})
}
