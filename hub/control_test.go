package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var east = tunnel.Peer{ID: tunnel.ID{TrustDomain: "example.com", Role: tunnel.RoleSpoke, Cluster: "east", Group: "g"}, Instance: "i-east"}

// desk is a controller whose doings are written down.
type desk struct {
	*controller
	draining chan struct{}
	out      atomic.Bool // the peer must go
	refusals []control.Refusal
}

func newDesk() *desk {
	d := &desk{draining: make(chan struct{})}
	d.controller = &controller{
		hello: func() control.Hello { return control.Hello{Name: "hub-a", Group: "hubs", Ancestors: []string{"hubs"}} },
		board: newBoard(), draining: d.draining, reports: &reports{}, log: slog.New(slog.DiscardHandler),
		gone:    func(tunnel.Peer) (string, bool) { return "suspended", d.out.Load() },
		refused: func(r control.Refusal) { d.refusals = append(d.refusals, r) },
	}
	return d
}

// serve asks the controller as a peer; the zero peer is none.
func (d *desk) serve(peer tunnel.Peer, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://"+tunnel.ControlAuthority+path, strings.NewReader(body))
	if peer.Instance != "" {
		r = r.WithContext(tunnel.WithPeer(r.Context(), peer))
	}
	w := httptest.NewRecorder()
	d.handler().ServeHTTP(w, r)
	return w
}

// watch is a watch of east whose events come one by one.
type watch struct {
	t      *testing.T
	events chan control.Event
	leave  context.CancelFunc
	ended  chan struct{}
}

func (d *desk) watch(t *testing.T) *watch {
	ctx, leave := context.WithCancel(tunnel.WithPeer(t.Context(), east))
	w := &watch{t: t, events: make(chan control.Event, 99), leave: leave, ended: make(chan struct{})}
	r, out := io.Pipe()
	go func() {
		defer close(w.ended)
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://"+tunnel.ControlAuthority+control.PathWatch+"?revision=0", nil)
		d.handler().ServeHTTP(&piped{http.Header{}, out}, req)
		out.Close()
	}()
	go func() {
		defer close(w.events)
		for lines := json.NewDecoder(r); ; {
			var e control.Event
			if lines.Decode(&e) != nil {
				return
			}
			w.events <- e
		}
	}()
	return w
}

// piped is a response that goes line by line.
type piped struct {
	header http.Header
	io.Writer
}

func (p *piped) Header() http.Header { return p.header }
func (p *piped) WriteHeader(int)     {}
func (p *piped) Flush()              {}

// said is what came since the last look, in short.
func (w *watch) said() (short []string) {
	synctest.Wait()
	for {
		select {
		case e, ok := <-w.events:
			if !ok {
				return append(short, "end")
			}
			text := e.Type
			switch e.Type {
			case control.EventView:
				text = fmt.Sprintf("view %d of %s: %d", e.Revision, e.View.Cluster, len(e.View.Entries))
			case control.EventHubs:
				text = fmt.Sprintf("hubs %d below %v", len(e.Hubs), e.Ancestors)
			case control.EventRoots:
				text = "roots " + e.Roots
			}
			short = append(short, text)
		default:
			return short
		}
	}
}

func (w *watch) expect(when string, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.said()); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// entries posts a view of n entries.
func entries(revision int64, n int) func(*posted) {
	return func(p *posted) {
		p.revision = revision
		p.view = func(cluster string) *control.View {
			return &control.View{Cluster: cluster, Entries: make([]control.Entry, n)}
		}
	}
}

func TestAWatchTellsWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		w := d.watch(t)
		w.expect("before the hub knows anything")
		hubs := []control.Hub{{Name: "hub-a", Address: "192.0.2.1:8443"}}
		d.board.post(func(p *posted) { p.hubs, p.roots = hubs, "R1" })
		w.expect("at first hubs and roots", "roots R1", "hubs 1 below [hubs]")
		d.board.post(entries(5, 0))
		w.expect("then the view, also one of nothing", "view 5 of east: 0")
		d.board.post(entries(6, 0))
		w.expect("a revision that changes nothing for this cluster")
		d.board.post(entries(7, 2))
		w.expect("a view that changed", "view 7 of east: 2")
		d.board.post(func(p *posted) { p.roots = "R2" })
		w.expect("new roots alone", "roots R2")
		d.board.post(func(p *posted) { p.hubs = append(hubs, control.Hub{Name: "hub-b"}) })
		w.expect("a hub more", "hubs 2 below [hubs]")
		d.board.post(func(*posted) {})
		w.expect("nothing at all")

		late := d.watch(t)
		late.expect("a watch that comes later is told all at once", "roots R2", "hubs 2 below [hubs]", "view 7 of east: 2")
		late.leave()
		<-late.ended

		<-time.After(pingEvery + time.Millisecond)
		w.expect("after ten quiet seconds", "ping")
		w.leave()
		<-w.ended
		w.expect("the peer has left", "end")
	})
}

func TestAWatchSaysDrainOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.board.post(entries(1, 1))
		w := d.watch(t)
		w.expect("at first", "view 1 of east: 1")
		close(d.draining)
		w.expect("the hub drains", "drain")
		d.board.post(entries(2, 2))
		w.expect("a draining hub still tells", "view 2 of east: 2")
		// A watch that begins during the drain is told as well.
		late := d.watch(t)
		late.expect("late", "view 2 of east: 2", "drain")
		for _, w := range []*watch{w, late} {
			w.leave()
			<-w.ended
		}
	})
}

func TestARevokedPeerIsToldAndSentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.board.post(entries(1, 1))
		w := d.watch(t)
		w.expect("at first", "view 1 of east: 1")
		d.out.Store(true)
		d.board.post(entries(2, 9)) // what a revoked cluster must not see any more
		w.expect("after the revocation", control.EventRevoked, "end")
		<-w.ended
		d.watch(t).expect("it comes back", control.EventRevoked, "end")
	})
}

func TestControlIsForPeers(t *testing.T) {
	d := newDesk()
	for _, row := range []struct {
		method, path string
		peer         tunnel.Peer
		status       int
	}{
		{"GET", control.PathHello, east, 200},
		{"GET", control.PathWatch, tunnel.Peer{}, 403},
		{"POST", control.PathReport, tunnel.Peer{}, 403},
		{"POST", control.PathRenew, tunnel.Peer{}, 403},
		{"POST", control.PathHello, east, 405},
		{"GET", "/v1/join", east, 404},
	} {
		if w := d.serve(row.peer, row.method, row.path, "{}"); w.Code != row.status {
			t.Errorf("%s %s as %q: %d %s, want %d", row.method, row.path, row.peer.Instance, w.Code, w.Body, row.status)
		}
	}
	if len(d.refusals) != 0 || len(d.reports.last) != 0 {
		t.Error("somebody without a certificate reported")
	}
}

// What a certificate says counts, whatever a report says: no spoke speaks for another cluster or instance.
func TestAReportIsTheCertificates(t *testing.T) {
	d := newDesk()
	body, err := json.Marshal(control.Report{
		Instance: "i-west", Version: "v1", Revision: 9,
		Refusals: []control.Refusal{{RequestID: "x", Cluster: "west", Namespace: "team-a"}, {RequestID: "y"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if w := d.serve(east, "POST", control.PathReport, string(body)); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if d.reports.get("i-west").Instance != "" || d.reports.get("i-east").Revision != 9 {
		t.Errorf("reports: %+v", d.reports.last)
	}
	want := []control.Refusal{{RequestID: "x", Cluster: "east", Namespace: "team-a"}, {RequestID: "y", Cluster: "east"}}
	if diff := cmp.Diff(want, d.refusals); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
}

func TestReportsAreBounded(t *testing.T) {
	d := newDesk()
	body, err := json.Marshal(control.Report{Refusals: make([]control.Refusal, 1500)})
	if err != nil {
		t.Fatal(err)
	}
	if w := d.serve(east, "POST", control.PathReport, string(body)); w.Code != http.StatusNoContent || len(d.refusals) != 1000 {
		t.Errorf("%d %s; %d refusals kept, want 1000", w.Code, w.Body, len(d.refusals))
	}
	for name, body := range map[string]string{"no JSON": "{", "nothing": "", "too much": `{"version":"` + strings.Repeat("x", 1<<20) + `"}`} {
		if w := d.serve(east, "POST", control.PathReport, body); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"malformed"`) {
			t.Errorf("%s: %d %.100s", name, w.Code, w.Body)
		}
	}
	if w := d.serve(east, "POST", control.PathReport, `{"weather": "fine"}`); w.Code != http.StatusNoContent {
		t.Errorf("a member of a newer spoke: %d %s", w.Code, w.Body)
	}
}

// refusedRenewal knows its answer, as the registry's errors do.
type refusedRenewal struct{}

func (refusedRenewal) Error() string                           { return "the generation was used" }
func (refusedRenewal) HTTP() (status int, code, remedy string) { return 409, "cloned", "recover it" }

func TestRenew(t *testing.T) {
	d := newDesk()
	var log bytes.Buffer
	d.log = slog.New(slog.NewTextHandler(&log, nil))
	for _, row := range []struct {
		name   string
		err    error
		status int
		body   map[string]string
	}{
		{"a renewal", nil, 200, nil},
		{"one that is refused with a remedy", fmt.Errorf("registry: %w", refusedRenewal{}), 409, map[string]string{"code": "cloned", "message": "registry: the generation was used", "remedy": "recover it"}},
		{"one that cannot be made now", errors.New("the catalog is away"), 503, map[string]string{"code": "unavailable", "message": "the catalog is away", "remedy": "try again"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d.controller.renew = func(_ context.Context, p tunnel.Peer, in control.RenewRequest) (control.Certificate, error) {
				if p.Instance != east.Instance || in.CSR != "csr" || in.Generation != 4 {
					t.Errorf("asked for %+v by %s", in, p.Instance)
				}
				return control.Certificate{Chain: "chain"}, row.err
			}
			w := d.serve(east, "POST", control.PathRenew, `{"csr": "csr", "generation": 4}`)
			if w.Code != row.status || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%d, %v", w.Code, w.Header())
			}
			if row.err == nil {
				if !strings.Contains(w.Body.String(), `"chain":"chain"`) {
					t.Errorf("body %s", w.Body)
				}
				return
			}
			var body map[string]string
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || !cmp.Equal(body, row.body) {
				t.Errorf("body %s, %v", w.Body, err)
			}
			if !strings.Contains(log.String(), "cluster=east") || !strings.Contains(log.String(), row.err.Error()) {
				t.Errorf("log %s", log.String())
			}
		})
	}
}
