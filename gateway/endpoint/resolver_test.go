package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/internal/testkit/origin"
)

// nameserver answers by a function and counts questions.
type nameserver struct {
	addr string

	mu     sync.Mutex
	asked  map[string]int // "name type"
	answer func(q dns.Question, n int) *dns.Msg
}

// serveDNS answers on UDP and TCP at one port of 127.0.0.1. answer is given the question and how often it was asked
// before; nil is SERVFAIL.
func serveDNS(t *testing.T, answer func(q dns.Question, n int) *dns.Msg) *nameserver {
	t.Helper()
	s := &nameserver{asked: map[string]int{}, answer: answer}
	var udp net.PacketConn
	var tcp net.Listener
	for range 20 { // the port that UDP got may be taken on TCP
		var err error
		if udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		s.addr = udp.LocalAddr().String()
		if tcp, err = net.Listen("tcp", s.addr); err == nil {
			break
		}
		_ = udp.Close()
	}
	if tcp == nil {
		t.Fatal("no port is free on both UDP and TCP")
	}
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	for _, srv := range []*dns.Server{{PacketConn: udp, Handler: s}, {Listener: tcp, Handler: s}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		running.Go(func() { _ = srv.ActivateAndServe() })
		<-started
		t.Cleanup(func() { _ = srv.Shutdown() })
	}
	return s
}

func (s *nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	key := strings.ToLower(q.Question[0].Name) + " " + dns.TypeToString[q.Question[0].Qtype]
	s.mu.Lock()
	n := s.asked[key]
	s.asked[key]++
	m := s.answer(q.Question[0], n)
	s.mu.Unlock()
	if m == nil {
		m = &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}
	}
	code, truncated := m.Rcode, m.Truncated
	m.SetReply(q)
	m.Rcode = code
	m.Truncated = truncated
	if _, isTCP := w.RemoteAddr().(*net.TCPAddr); !isTCP && truncated {
		m.Answer = nil
	} else {
		m.Truncated = false
	}
	_ = w.WriteMsg(m)
}

func (s *nameserver) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name+". A"] + s.asked[name+". AAAA"]
}

// records is an answer of zone-file lines.
func records(t *testing.T, lines ...string) *dns.Msg {
	t.Helper()
	m := &dns.Msg{}
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			t.Errorf("record %q: %v", l, err)
			continue
		}
		m.Answer = append(m.Answer, rr)
	}
	return m
}

// zone answers A questions with lines and all others with nothing.
func zone(t *testing.T, lines ...string) func(dns.Question, int) *dns.Msg {
	return func(q dns.Question, _ int) *dns.Msg {
		if q.Qtype != dns.TypeA {
			return &dns.Msg{}
		}
		return records(t, lines...)
	}
}

// named is a Backend for an origin that is found by DNS alone.
func named(t *testing.T, o *origin.Origin, s *nameserver, name string) (*endpoint.Endpoint, *route.Backend) {
	e := start(t, endpoint.Config{Servers: []string{s.addr}})
	b := backend(o)
	b.Hostname = name
	return e, b
}

func TestNamesAreFound(t *testing.T) {
	o := origin.Start(t)
	for _, tc := range []struct {
		name   string
		answer func(q dns.Question, n int) *dns.Msg
	}{
		{"by an address", zone(t, "api.example.net. 60 A 127.0.0.1")},
		{"through an alias in the answer", zone(t, "api.example.net. 60 CNAME x.example.org.", "x.example.org. 60 A 127.0.0.1")},
		{"through an alias in the answer, told backwards", zone(t, "x.example.org. 60 A 127.0.0.1", "API.example.net. 60 CNAME x.example.org.")},
		{"through an alias that has to be asked for", func(q dns.Question, n int) *dns.Msg {
			switch {
			case q.Qtype != dns.TypeA:
				return &dns.Msg{}
			case q.Name == "api.example.net.":
				return records(t, "api.example.net. 60 CNAME x.example.org.")
			default:
				return records(t, "x.example.org. 60 A 127.0.0.1")
			}
		}},
		{"by TCP, the answer being too large", func(q dns.Question, n int) *dns.Msg {
			m := zone(t, "api.example.net. 60 A 127.0.0.1")(q, n)
			m.Truncated = true
			return m
		}},
		{"although one family fails", func(q dns.Question, n int) *dns.Msg {
			if q.Qtype == dns.TypeAAAA {
				return nil
			}
			return records(t, "api.example.net. 60 A 127.0.0.1")
		}},
		{"at the second question, the first having failed", func(q dns.Question, n int) *dns.Msg {
			if n == 0 {
				return nil
			}
			return zone(t, "api.example.net. 60 A 127.0.0.1")(q, n)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, b := named(t, o, serveDNS(t, tc.answer), "api.example.net")
			do(t, e, b, request(t, http.MethodGet, "/", nil))
		})
	}
}

func TestNamesAreNotFound(t *testing.T) { // row 15
	o := origin.Start(t)
	missing := func(dns.Question, int) *dns.Msg { return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNameError}} }
	for _, tc := range []struct {
		name   string
		host   string
		answer func(q dns.Question, n int) *dns.Msg
	}{
		{"that do not exist", "api.example.net", missing},
		{"without addresses", "api.example.net", func(dns.Question, int) *dns.Msg { return &dns.Msg{} }},
		{"while the server fails", "api.example.net", func(dns.Question, int) *dns.Msg { return nil }},
		{"whose addresses belong to another name", "api.example.net", zone(t, "evil.example.net. 60 A 127.0.0.1")},
		{"that are aliases of themselves", "api.example.net", zone(t, "api.example.net. 60 CNAME b.example.net.", "b.example.net. 60 CNAME api.example.net.")},
		{"in decimal", "2130706433", missing},
		{"in hexadecimal", "0x7f000001", missing},
		{"in octal", "0177.0.0.1", missing},
		{"in short form", "127.1", missing},
		{"in digits that are not ASCII", "１２７.0.0.1", zone(t, "api.example.net. 60 A 127.0.0.1")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, b := named(t, o, serveDNS(t, tc.answer), tc.host)
			body := &watched{Reader: strings.NewReader("x")}
			req := request(t, http.MethodPost, "/", body)
			req.ContentLength = 1
			want(t, fails(t, e, b, req), endpoint.DNSError, false, false, false, 15)
			if body.touched() || o.Total() != 0 {
				t.Errorf("body touched %t, %d arrived", body.touched(), o.Total())
			}
		})
	}
}

func TestAnswersAreRememberedForTheirTime(t *testing.T) {
	o := origin.Start(t, origin.HTTP1())
	for _, tc := range []struct {
		name   string
		answer func(q dns.Question, n int) *dns.Msg
	}{
		{"found", zone(t, "api.example.net. 60 A 127.0.0.1")},
		{"with a TTL of 0, for a second", zone(t, "api.example.net. 0 A 127.0.0.1")},
		{"not found", func(dns.Question, int) *dns.Msg { return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNameError}} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serveDNS(t, tc.answer)
			e, b := named(t, o, s, "api.example.net")
			o.On("/", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
			for range 5 { // five connections, one lookup
				if res, err := e.RoundTrip(request(t, http.MethodGet, "/", nil), b); err == nil {
					_ = res.Body.Close()
				}
			}
			if n := s.count("api.example.net"); n != 2 {
				t.Errorf("%d questions, want one per family", n)
			}
		})
	}
}

func TestOneLookupPerNameIsUnderWay(t *testing.T) { // F-62
	o := origin.Start(t, origin.HTTP1())
	asked, let := make(chan struct{}, 100), make(chan struct{})
	s := serveDNS(t, func(q dns.Question, n int) *dns.Msg {
		asked <- struct{}{}
		<-let
		return zone(t, "api.example.net. 60 A 127.0.0.1")(q, n)
	})
	e, b := named(t, o, s, "api.example.net")
	b.Protocol = "HTTP11"
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if res, err := e.RoundTrip(request(t, http.MethodGet, "/", nil), b); err != nil {
				t.Error(err)
			} else {
				_ = res.Body.Close()
			}
		})
	}
	<-asked
	close(let)
	wg.Wait()
	if n := s.count("api.example.net"); n != 2 {
		t.Errorf("%d questions for 20 requests at once, want one per family", n)
	}
}

func TestAWaiterCanGoBeforeTheAnswer(t *testing.T) {
	o := origin.Start(t)
	let := make(chan struct{})
	s := serveDNS(t, func(dns.Question, int) *dns.Msg { <-let; return nil })
	defer close(let)
	e, b := named(t, o, s, "api.example.net")
	got := fails(t, e, b, request(t, http.MethodGet, "/", nil).WithContext(cancelled(t)))
	if got.Sent || !errors.Is(got, context.Canceled) || got.Row() != 30 {
		t.Errorf("row %d: %v", got.Row(), got)
	}
}

func TestRebindingReachesNothing(t *testing.T) { // T-D12, TH-E2
	o := origin.Start(t, origin.HTTP1(), origin.Plain())
	o.On("/", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	for _, tc := range []struct {
		name   string
		answer func(q dns.Question, n int) *dns.Msg
		host   string
	}{
		{"a name of a loopback address", zone(t, "api.example.net. 0 A 127.0.0.1"), "api.example.net"},
		{"an alias into the inside", zone(t, "api.example.net. 0 CNAME localhost.", "localhost. 0 A 127.0.0.1"), "api.example.net"},
		{"a good answer beside a bad one", zone(t, "api.example.net. 0 A 198.18.0.1", "api.example.net. 0 A 127.0.0.1"), "api.example.net"},
		{"a bad one in the other family", func(q dns.Question, _ int) *dns.Msg {
			if q.Qtype == dns.TypeAAAA {
				return records(t, "api.example.net. 0 AAAA ::ffff:127.0.0.1", "api.example.net. 0 AAAA 64:ff9b::7f00:1")
			}
			return records(t, "api.example.net. 0 A 198.18.0.1")
		}, "api.example.net"},
		{"answers that alternate", func(q dns.Question, n int) *dns.Msg {
			if q.Qtype != dns.TypeA {
				return &dns.Msg{}
			}
			return records(t, fmt.Sprintf("api.example.net. 0 A %s", []string{"169.254.169.254", "127.0.0.1"}[n%2]))
		}, "api.example.net"},
		{"localhost", nil, "localhost"},
		{"a name under it", nil, "x.localhost"},
		{"a literal", nil, "127.0.0.1"},
		{"a literal with a dot at the end", nil, "127.0.0.1."},
		{"an IPv6 literal", nil, "::1"},
		{"one in brackets", nil, "[::1]"},
		{"IPv4-mapped", nil, "::ffff:127.0.0.1"},
		{"NAT64", nil, "64:ff9b::7f00:1"},
		{"the unspecified address", nil, "0.0.0.0"},
		{"its IPv6 form", nil, "::"},
		{"a zone", nil, "fe80::1%lo"},
		{"metadata", nil, "169.254.169.254"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answer := tc.answer
			if answer == nil {
				answer = func(dns.Question, int) *dns.Msg { return nil }
			}
			e := start(t, endpoint.Config{Servers: []string{serveDNS(t, answer).addr}})
			b := backend(o)
			b.Hostname = tc.host
			b.AllowedCIDRs = []string{"198.18.0.0/15"} // the good answers; nothing else of the inside
			for range 4 {
				want(t, fails(t, e, b, request(t, http.MethodGet, "/", nil)), endpoint.DestinationProhibited, false, false, false, 16)
			}
			if o.Connections() != 0 {
				t.Errorf("%d connections reached the inside", o.Connections())
			}
		})
	}
}

func TestOwnListenersAreALoop(t *testing.T) { // F-52
	o := origin.Start(t)
	for _, tc := range []struct {
		name string
		own  netip.AddrPort
	}{
		{"by address", o.Addr()},
		{"by any address of this machine", netip.AddrPortFrom(netip.IPv4Unspecified(), o.Addr().Port())},
		{"by any IPv6 address of this machine", netip.AddrPortFrom(netip.IPv6Unspecified(), o.Addr().Port())},
	} {
		for _, cidrs := range [][]string{loopback, nil} { // the loop is told before the guard
			e := start(t, endpoint.Config{Own: func() []netip.AddrPort { return []netip.AddrPort{tc.own} }}, o)
			b := backend(o)
			b.AllowedCIDRs = cidrs
			want(t, fails(t, e, b, request(t, http.MethodGet, "/", nil)), endpoint.SelfDial, false, false, false, 11)
		}
	}
	if o.Connections() != 0 {
		t.Errorf("%d connections", o.Connections())
	}
}

func TestASilentServerGivesWayToTheNext(t *testing.T) {
	o := origin.Start(t)
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close() // refuses
	s := serveDNS(t, zone(t, "api.example.net. 60 A 127.0.0.1"))
	e := start(t, endpoint.Config{Servers: []string{dead.LocalAddr().String(), s.addr}})
	b := backend(o)
	b.Hostname = "api.example.net"
	do(t, e, b, request(t, http.MethodGet, "/", nil))
}

func TestConfigIsChecked(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  endpoint.Config
	}{
		{"a server without port", endpoint.Config{Servers: []string{"10.0.0.10"}}},
		{"a server by name", endpoint.Config{Servers: []string{"dns.example.com:53"}}},
		{"a static host that is no name", endpoint.Config{Hosts: map[string][]netip.Addr{"a b": nil}}},
	} {
		if e, err := endpoint.New(tc.cfg); err == nil {
			e.Close()
			t.Errorf("%s is accepted", tc.name)
		}
	}
	e := start(t, endpoint.Config{})
	for name, b := range map[string]*route.Backend{
		"a port of 0":         {Key: "k", Hostname: "a.example.com"},
		"a range that is not": {Key: "k", Hostname: "a.example.com", Port: 1, AllowedCIDRs: []string{"10.0.0.1"}},
		"no hostname":         {Key: "k", Port: 1},
		"a key without Keys":  {Key: "k", Hostname: "a.example.com", Port: 1, TLS: &route.TLS{ClientCertificate: "x"}},
	} {
		if got := fails(t, e, b, request(t, http.MethodGet, "/", nil)); got.Sent {
			t.Errorf("%s: %v", name, got)
		}
	}
}
