package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/gateway/route"
)

// ported is a snapshot with an HTTP listener on each port; which one served stands in X-Port.
func ported(ports ...int) *route.Snapshot {
	s := &route.Snapshot{Backends: []route.Backend{{Key: "ns/b", Via: route.ViaEndpoint, Authority: "api.example.com"}}}
	for _, port := range ports {
		s.Listeners = append(s.Listeners, route.Listener{
			Gateway: "infra/egress", Name: fmt.Sprint(port), Protocol: route.ProtocolHTTP, Port: port,
			Rules: []route.Rule{{
				Route: route.Ref{Kind: "HTTPRoute", Namespace: "ns", Name: "r"}, Name: "0", Targets: []route.Target{{Weight: 1, Backend: "ns/b"}},
				Filters: []route.Filter{{Type: route.FilterHeaderModifier, Phase: route.PhaseResponseHeaders, Headers: &route.HeaderModifier{Set: []route.Header{{Name: "X-Port", Value: fmt.Sprint(port)}}}}},
			}},
		})
	}
	s.Listeners = append(s.Listeners, route.Listener{Gateway: "infra/hub", Name: "tunnel", Protocol: route.ProtocolTunnel, Port: 8443})
	return s
}

// listening is a gateway with its listeners running.
type listening struct {
	*rig
	*Listeners
	changed chan struct{}
	stop    context.CancelFunc
	done    chan error
}

func startListening(t *testing.T, s *route.Snapshot, next roundTrip, ports map[int]int, edges ...func(*Edges)) *listening {
	t.Helper()
	l := &listening{changed: make(chan struct{}, 99), done: make(chan error, 1)}
	l.rig = newRig(t, s, func(c *Config) {
		c.Endpoint, c.Edges.HeaderBytes = next.endpoint(), 8<<10
		for _, set := range edges {
			set(&c.Edges)
		}
	})
	var err error
	l.Listeners, err = NewListeners(ListenersConfig{
		Gateway: l.Gateway, Ports: ports, DrainTime: 5 * time.Second, Log: l.Gateway.cfg.Log, OnChange: func() { l.changed <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	go func() { l.done <- l.Run(ctx); close(l.done) }()
	t.Cleanup(func() { cancel(); <-l.done })
	<-l.changed
	return l
}

func (l *listening) get(t *testing.T, c *http.Client, addr netip.AddrPort) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr.String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(r)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	return res, err
}

func TestListenersConfig(t *testing.T) {
	if _, err := NewListeners(ListenersConfig{}); err == nil || !strings.Contains(err.Error(), "Gateway") {
		t.Errorf("without gateway: %v", err)
	}
	r := newRig(t, &route.Snapshot{}, nil)
	if _, err := NewListeners(ListenersConfig{Gateway: r.Gateway, Address: "localhost"}); err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("a name for an address: %v", err)
	}
}

func TestListenersFollowTheSnapshot(t *testing.T) {
	l := startListening(t, ported(80, 81), answers200, map[int]int{80: 0, 81: 0, 82: 0})
	http1, _ := clients(t)
	first := l.Addresses()
	if got := slices.Sorted(maps.Keys(first)); !slices.Equal(got, []int{80, 81}) {
		t.Fatalf("open are %v", got)
	}
	for port, addr := range first {
		if res, err := l.get(t, http1, addr); err != nil || res.Header.Get("X-Port") != fmt.Sprint(port) {
			t.Errorf("port %d at %v: %v, %v", port, addr, res, err)
		}
	}
	l.Use(ported(81, 82))
	<-l.changed
	second := l.Addresses()
	if got := slices.Sorted(maps.Keys(second)); !slices.Equal(got, []int{81, 82}) {
		t.Fatalf("open are %v", got)
	}
	if second[81] != first[81] {
		t.Error("a listener that stays was bound anew")
	}
	http1.CloseIdleConnections()
	if _, err := l.get(t, http1, first[80]); err == nil {
		t.Error("a listener that is gone still serves")
	}
	if res, err := l.get(t, http1, second[82]); err != nil || res.Header.Get("X-Port") != "82" {
		t.Errorf("the new listener: %v, %v", res, err)
	}
}

func TestAPortThatIsTakenCostsOnlyItself(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := taken.Addr().(*net.TCPAddr).Port
	l := startListening(t, ported(80, 81), answers200, map[int]int{80: port, 81: 0})
	if got := slices.Sorted(maps.Keys(l.Addresses())); !slices.Equal(got, []int{81}) {
		t.Errorf("open are %v, want 81 alone", got)
	}
	if err := l.Problems()[80]; err == nil || !strings.Contains(err.Error(), "port 80") || !strings.Contains(err.Error(), "bind.ports") {
		t.Errorf("problem %v", err)
	}
	http1, _ := clients(t)
	if _, err := l.get(t, http1, l.Addresses()[81]); err != nil {
		t.Error(err)
	}
	taken.Close()
	l.Use(ported(80, 81)) // a new snapshot tries at once, the timer every five seconds
	<-l.changed
	if len(l.Problems()) != 0 || l.Addresses()[80].Port() != uint16(port) {
		t.Errorf("problems %v, open %v", l.Problems(), l.Addresses())
	}
}

func TestBothVersionsOfHTTPComeIn(t *testing.T) {
	l := startListening(t, ported(80), answers200, map[int]int{80: 0})
	http1, http2 := clients(t)
	for want, c := range map[string]*http.Client{"HTTP/1.1": http1, "HTTP/2.0": http2} {
		if res, err := l.get(t, c, l.Addresses()[80]); err != nil || res.Proto != want || res.StatusCode != 200 {
			t.Errorf("%s: %v, %v", want, res, err)
		}
	}
}

func TestAHeadThatIsTooLarge(t *testing.T) {
	l := startListening(t, ported(80), scripted(t).RoundTrip, map[int]int{80: 0})
	http1, _ := clients(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addresses()[80].String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Large", strings.Repeat("x", 16<<10))
	res, err := http1.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d, want 431", res.StatusCode)
	}
}

func TestDraining(t *testing.T) {
	for _, c := range []struct {
		name     string
		finishes bool
	}{
		{"a request under way finishes, and its connection is closed", true},
		{"one that does not finish is cut off", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			entered, release := make(chan struct{}), make(chan struct{})
			l := startListening(t, ported(80), waiting(entered, release), map[int]int{80: 0})
			if !c.finishes {
				l.Listeners.cfg.DrainTime = 20 * time.Millisecond
			}
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addresses()[80].String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: api\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			<-entered
			l.stop()
			<-l.changed // the listener is closed
			if other, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", conn.RemoteAddr().String()); err == nil {
				other.Close()
				t.Error("a draining listener accepts")
			}
			if c.finishes {
				close(release)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			switch {
			case c.finishes && (err != nil || res.StatusCode != 200 || !res.Close):
				t.Errorf("%+v, %v; want 200 and the connection closed", res, err)
			case !c.finishes && err == nil:
				t.Errorf("it was answered: %+v", res)
			}
			if err := <-l.done; err != nil {
				t.Error(err)
			}
			if n := l.active.Load(); n != 0 {
				t.Errorf("%d requests left behind", n)
			}
		})
	}
}
