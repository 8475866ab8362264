package spoke

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway/telemetry"
	"penstock.dev/penstock/tunnel"
)

var hubA = tunnel.Hub{Name: "hub-a", Address: "192.0.2.1:8443"}

// conversation is a parent whose doings are written down.
type conversation struct {
	*parent
	issuer *issuer
	log    strings.Builder

	mu   sync.Mutex
	done []string
}

func newConversation(t *testing.T) *conversation {
	c := &conversation{issuer: newIssuer(t)}
	note := func(format string, args ...any) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.done = append(c.done, fmt.Sprintf(format, args...))
	}
	c.parent = &parent{
		told: map[string]int64{}, identity: c.issuer.issued(), version: "v1", log: slog.New(slog.NewTextHandler(&c.log, nil)),
		setHubs:  func(hubs []control.Hub) { note("hubs %v", hubs) },
		drain:    func(hub string) { note("drain %s", hub) },
		view:     func(revision int64, v *control.View) { note("view %d of %s", revision, v.Cluster) },
		refusals: &telemetry.Refusals{}, served: func() int64 { return 7 },
	}
	return c
}

func (c *conversation) noted() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.done)
}

func view(revision int64) control.Event {
	return control.Event{Type: control.EventView, Revision: revision, View: &control.View{Cluster: "east"}}
}

func TestEventsAreApplied(t *testing.T) {
	hubs := []control.Hub{{Name: "hub-b", Address: "192.0.2.2:8443", Zone: "b"}}
	for _, row := range []struct {
		name   string
		events []control.Event
		want   []string
	}{
		{"views in order", []control.Event{view(1), view(2), view(9)}, []string{"view 1 of east", "view 2 of east", "view 9 of east"}},
		{"the same view again is ignored", []control.Event{view(5), view(5), view(6)}, []string{"view 5 of east", "view 6 of east"}},
		{"a hub that goes back has had its catalog restored", []control.Event{view(5), view(3), view(4)}, []string{"view 5 of east", "view 3 of east", "view 4 of east"}},
		{"hubs", []control.Event{{Type: control.EventHubs, Hubs: hubs}}, []string{"hubs [{hub-b 192.0.2.2:8443 b}]"}},
		{"a list of no hubs is of a hub that starts", []control.Event{{Type: control.EventHubs}}, nil},
		{"drain names the hub that said so", []control.Event{{Type: control.EventDrain}}, []string{"drain hub-a"}},
		{"a ping is a sign of life and nothing else", []control.Event{{Type: control.EventPing}}, nil},
		{"what a newer hub says is ignored, and the rest is not", []control.Event{{Type: "weather"}, view(1)}, []string{"view 1 of east"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newConversation(t)
			for _, e := range row.events {
				if err := c.apply(hubA, e); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff(row.want, c.noted()); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAReplicaThatIsBehindDoesNotTakeTheViewBack(t *testing.T) {
	c := newConversation(t)
	for _, e := range []struct {
		hub      tunnel.Hub
		revision int64
	}{{hubA, 5}, {tunnel.Hub{Name: "hub-b"}, 4}, {tunnel.Hub{Name: "hub-b"}, 5}, {hubA, 6}, {tunnel.Hub{Name: "hub-b"}, 6}} {
		if err := c.apply(e.hub, view(e.revision)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"view 5 of east", "view 6 of east"}, c.noted()); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
}

func TestEventsThatCannotBeApplied(t *testing.T) {
	c := newConversation(t)
	held := c.identity.current.Load()
	for _, e := range []control.Event{{Type: control.EventView, Revision: 3}, {Type: control.EventRoots, Roots: "no PEM"}, {Type: control.EventRoots}} {
		if err := c.apply(hubA, e); err == nil {
			t.Errorf("%+v was applied", e)
		}
	}
	if c.identity.current.Load().Roots != held.Roots || c.noted() != nil {
		t.Errorf("done %v, or the roots changed", c.noted())
	}
}

// What a hub says about itself is remembered for the next start.
func TestHubsAndRootsAreRemembered(t *testing.T) {
	c := newConversation(t)
	hubs := []control.Hub{{Name: "hub-b", Address: "192.0.2.2:8443"}}
	roots := c.issuer.rootsPEM() + newIssuer(t).rootsPEM()
	for _, e := range []control.Event{{Type: control.EventHubs, Hubs: hubs}, {Type: control.EventRoots, Roots: roots}, {Type: control.EventHubs}} {
		if err := c.apply(hubA, e); err != nil {
			t.Fatal(err)
		}
	}
	held := c.identity.current.Load()
	if diff := cmp.Diff(hubs, held.Hubs); diff != "" || held.Roots != roots {
		t.Errorf("hubs (-want +got):\n%s", diff)
	}
}

func TestRevocationIsSaidOnce(t *testing.T) {
	c := newConversation(t)
	for range 3 {
		if err := c.apply(hubA, control.Event{Type: control.EventRevoked}); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(c.log.String(), "revoked or suspended"); n != 1 {
		t.Errorf("said %d times:\n%s", n, c.log.String())
	}
}

// answer is a tunnel that gives one JSON answer to all.
func answer(status int, v any) transport {
	return func(*http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
		return w.Result(), nil
	}
}

func TestOpen(t *testing.T) {
	c := newConversation(t)
	own := c.identity.current.Load().id.Group
	for _, row := range []struct {
		name  string
		rt    transport
		loop  bool
		fails bool
	}{
		{"a hub above us", answer(200, control.Hello{Name: "hub-a", Group: "hubs", Ancestors: []string{"hubs", "top"}}), false, false},
		{"a hub of our own group", answer(200, control.Hello{Name: "hub-a", Group: own}), true, true},
		{"a hub of which we are an ancestor", answer(200, control.Hello{Name: "hub-a", Group: "hubs", Ancestors: []string{"hubs", own}}), true, true},
		{"a hub that refuses", answer(403, nil), false, true},
		{"a connection that fails", func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := c.open(t.Context(), hubA, row.rt)
			if (err != nil) != row.fails || errors.Is(err, ErrParentLoop) != row.loop {
				t.Errorf("open = %v", err)
			}
		})
	}
}

// hubSide is the hub's end of a session: lines that the test writes, reports that it reads.
type hubSide struct {
	events  *io.PipeWriter
	asked   chan string // path and query of each watch
	reports chan control.Report
	// refuses reports: they are answered with a 503.
	refuses atomic.Bool
}

func newHubSide() (*hubSide, transport) {
	h := &hubSide{asked: make(chan string, 9), reports: make(chan control.Report, 99)}
	r, w := io.Pipe()
	h.events = w
	return h, func(req *http.Request) (*http.Response, error) {
		switch req.URL.Path {
		case control.PathWatch:
			h.asked <- req.URL.RequestURI()
			context.AfterFunc(req.Context(), func() { r.CloseWithError(req.Context().Err()) })
			return &http.Response{StatusCode: http.StatusOK, Body: r}, nil
		case control.PathReport:
			var in control.Report
			if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
				return nil, err
			}
			h.reports <- in
			status := http.StatusNoContent
			if h.refuses.Load() {
				status = http.StatusServiceUnavailable
			}
			return &http.Response{StatusCode: status, Body: http.NoBody}, nil
		}
		return nil, fmt.Errorf("a call of %s", req.URL)
	}
}

func (h *hubSide) say(t *testing.T, e control.Event) {
	t.Helper()
	if err := json.NewEncoder(h.events).Encode(e); err != nil {
		t.Errorf("%s: %v", e.Type, err)
	}
}

func TestASessionWatchesUntilTheHubEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConversation(t)
		h, rt := newHubSide()
		ended := make(chan error, 1)
		go func() { ended <- c.session(t.Context(), hubA, rt) }()
		if got := <-h.asked; got != "/v1/watch?revision=0" {
			t.Errorf("asked for %s", got)
		}
		h.say(t, view(3))
		h.say(t, control.Event{Type: control.EventView}) // cannot be applied: noted, and the watch goes on
		h.say(t, view(4))
		h.events.Close()
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("session = %v", err)
		}
		if diff := cmp.Diff([]string{"view 3 of east", "view 4 of east"}, c.noted()); diff != "" {
			t.Errorf("done (-want +got):\n%s", diff)
		}
		if !strings.Contains(c.log.String(), "event of the hub not applied") {
			t.Errorf("log: %s", c.log.String())
		}

		// The next session, with whichever hub, goes on from there.
		h, rt = newHubSide()
		go func() { ended <- c.session(t.Context(), tunnel.Hub{Name: "hub-b"}, rt) }()
		if got := <-h.asked; got != "/v1/watch?revision=4" {
			t.Errorf("asked for %s", got)
		}
		h.say(t, view(4))
		h.events.CloseWithError(io.ErrUnexpectedEOF)
		if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "hub-b") {
			t.Errorf("session = %v", err)
		}
		if len(c.noted()) != 2 {
			t.Errorf("done %v", c.noted())
		}
	})
}

func TestASilentWatchIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConversation(t)
		h, rt := newHubSide()
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- c.session(t.Context(), hubA, rt) }()
		<-h.asked
		for range 5 { // each sign of life counts from new
			<-time.After(watchSilence - time.Second)
			h.say(t, control.Event{Type: control.EventPing})
		}
		err := <-ended
		if err == nil || !strings.Contains(err.Error(), "silent") {
			t.Errorf("session = %v", err)
		}
		if took, want := time.Since(began), 5*(watchSilence-time.Second)+watchSilence; took != want {
			t.Errorf("ended after %v, want %v", took, want)
		}
	})
}

func TestASessionThatIsRefused(t *testing.T) {
	c := newConversation(t)
	if err := c.session(t.Context(), hubA, answer(http.StatusForbidden, nil)); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("session = %v", err)
	}
	dead := errors.New("dead")
	if err := c.session(t.Context(), hubA, transport(func(*http.Request) (*http.Response, error) { return nil, dead })); !errors.Is(err, dead) {
		t.Errorf("session = %v", err)
	}
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConversation(t)
		for n := range maxReported + 1 {
			c.refusals.Add(control.Refusal{RequestID: fmt.Sprint(n)})
		}
		h, rt := newHubSide()
		h.refuses.Store(true)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- c.session(ctx, hubA, rt) }()

		first := <-h.reports
		if took := time.Since(began); took != time.Second {
			t.Errorf("the first report came after %v", took)
		}
		held := c.identity.current.Load()
		want := control.Report{Instance: "i", Version: "v1", Revision: 7, Generation: 1, NotAfter: held.certificate.Leaf.NotAfter}
		got := first
		got.Refusals = nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
		if len(first.Refusals) != maxReported || first.Refusals[0].RequestID != "0" {
			t.Errorf("%d refusals, from %v", len(first.Refusals), first.Refusals[:1])
		}

		// The hub did not take it: the next report brings them again, and the one after it the rest.
		synctest.Wait()
		h.refuses.Store(false)
		second := <-h.reports
		if took := time.Since(began); took != reportEvery {
			t.Errorf("the second report came after %v", took)
		}
		if diff := cmp.Diff(first.Refusals, second.Refusals); diff != "" {
			t.Error("a report that failed is not repeated")
		}
		if third := <-h.reports; len(third.Refusals) != 1 || third.Refusals[0].RequestID != fmt.Sprint(maxReported) {
			t.Errorf("the third report has %d refusals", len(third.Refusals))
		}
		h.say(t, control.Event{Type: control.EventPing}) // or the watch would be dead at 30 s
		if fourth := <-h.reports; len(fourth.Refusals) != 0 {
			t.Errorf("the fourth report has %d refusals", len(fourth.Refusals))
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("session = %v", err)
		}
	})
}

func TestTheCertificateIsRenewedAtHalfItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConversation(t)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		asked := make(chan time.Time, 9)
		var requests []control.RenewRequest
		renew := c.issuer.renewals(&requests)
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.keepFresh(ctx, transport(func(r *http.Request) (*http.Response, error) {
				asked <- time.Now()
				return renew(r)
			}))
		}()
		for n := range 3 {
			leaf := c.identity.current.Load().certificate.Leaf
			at := <-asked
			life := leaf.NotAfter.Sub(leaf.NotBefore)
			if early, late := leaf.NotBefore.Add(life/2), leaf.NotBefore.Add(life/2+life/20+time.Second); at.Before(early) || at.After(late) {
				t.Errorf("renewal %d came %v into a life of %v", n, at.Sub(leaf.NotBefore), life)
			}
			synctest.Wait()
			if got := c.identity.current.Load().Generation; got != int64(n)+2 {
				t.Errorf("generation %d after renewal %d", got, n)
			}
		}
		stop()
		<-done
	})
}

// A connection that ends takes no refusal along, and of two hubs only one is told of it.
func TestRefusalsAreReportedOnce(t *testing.T) {
	c := newConversation(t)
	c.refusals.Add(control.Refusal{RequestID: "r-1"})
	sent := func(r *http.Request) int {
		var rep control.Report
		if err := json.NewDecoder(r.Body).Decode(&rep); err != nil {
			t.Error(err)
		}
		return len(rep.Refusals)
	}
	taken := transport(func(r *http.Request) (*http.Response, error) {
		if n := sent(r); n != 0 {
			t.Errorf("the other hub was told of %d refusals meanwhile", n)
		}
		return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	lost := transport(func(r *http.Request) (*http.Response, error) {
		if n := sent(r); n != 1 {
			t.Errorf("%d refusals in the first report, want 1", n)
		}
		if err := c.reportOnce(t.Context(), taken); err != nil {
			t.Error(err)
		}
		cancel()
		return nil, r.Context().Err()
	})
	if err := c.reportOnce(ctx, lost); !errors.Is(err, context.Canceled) {
		t.Errorf("report = %v, want the end of its context", err)
	}
	if left := c.refusals.Drain(10); len(left) != 1 {
		t.Errorf("%d refusals are left to report, want 1", len(left))
	}
}

// While no hub renews, it is asked again and again; once the certificate has ended, no tunnel takes it any more and the
// join endpoint is asked.
func TestARenewalThatComesTooLateIsARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConversation(t)
		held := c.identity.current.Load()
		tries, recovered := 0, make(chan time.Time, 1)
		c.identity.post = func(_ context.Context, url string, _ *tls.Config, in, out any) error {
			if !strings.HasSuffix(url, control.PathRecover) {
				t.Errorf("a call of %s", url)
			}
			*out.(*control.Certificate) = c.issuer.issue(in.(control.RecoverRequest).CSR)
			recovered <- time.Now()
			return nil
		}
		if err := c.identity.change(func(r *record) { r.Join = []string{"https://hub.example.com:8443"} }); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.keepFresh(ctx, transport(func(*http.Request) (*http.Response, error) {
				tries++
				return nil, errors.New("no tunnel is up")
			}))
		}()
		at := <-recovered
		if late := at.Sub(held.certificate.Leaf.NotAfter); late < 0 || late > retryRenewal+time.Second {
			t.Errorf("recovered %v after the end", late)
		}
		if life := held.certificate.Leaf.NotAfter.Sub(held.certificate.Leaf.NotBefore); tries < int(life/2/retryRenewal)-10 || tries > int(life/2/retryRenewal)+2 {
			t.Errorf("%d tries in half of %v", tries, life)
		}
		synctest.Wait()
		if got := c.identity.current.Load(); got.Generation != 2 || !strings.Contains(c.log.String(), "certificate renewed") {
			t.Errorf("generation %d", got.Generation)
		}
		stop()
		<-done
	})
}
