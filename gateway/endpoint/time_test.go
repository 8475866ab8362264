package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"penstock.dev/penstock/gateway/route"
)

// Everything here runs in virtual time, and so in memory.

// resolving makes a resolver with one name, n.example.com, whose answer the test sets.
func resolving(t *testing.T) (r *resolver, answer *func(qtype uint16) (*dns.Msg, error), asked *int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r, err := newResolver(ctx, nil, []string{"192.0.2.53:53"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	answer, asked = new(func(uint16) (*dns.Msg, error)), new(int)
	r.exchange = func(_ context.Context, _ string, qtype uint16) (*dns.Msg, error) {
		mu.Lock()
		defer mu.Unlock()
		if qtype == dns.TypeA {
			*asked++
		}
		return (*answer)(qtype)
	}
	return r, answer, asked
}

// address answers with one IPv4 address.
func address(ip string, ttl int) func(uint16) (*dns.Msg, error) {
	return func(qtype uint16) (*dns.Msg, error) {
		m := &dns.Msg{}
		if qtype == dns.TypeA {
			rr, err := dns.NewRR(fmt.Sprintf("n.example.com. %d A %s", ttl, ip))
			m.Answer = []dns.RR{rr}
			return m, err
		}
		return m, nil
	}
}

// absent answers that there is no such name, with an SOA of that TTL; negative: without.
func absent(ttl int) func(uint16) (*dns.Msg, error) {
	return func(uint16) (*dns.Msg, error) {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNameError}}
		if ttl >= 0 {
			m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Ttl: uint32(ttl)}, Minttl: uint32(ttl)}}
		}
		return m, nil
	}
}

func TestAnswersLiveAsLongAsTheirTTLWithinBounds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer func(uint16) (*dns.Msg, error)
		life   time.Duration
	}{
		{"a TTL of 0 is a second", address("192.0.2.1", 0), time.Second},
		{"a TTL of 30 s is 30 s", address("192.0.2.1", 30), 30 * time.Second},
		{"a TTL of a day is 5 minutes", address("192.0.2.1", 86400), 5 * time.Minute},
		{"absence without SOA is a second", absent(-1), time.Second},
		{"absence for 3 s is 3 s", absent(3), 3 * time.Second},
		{"absence for an hour is 5 s", absent(3600), 5 * time.Second},
		{"a failure is a second", func(uint16) (*dns.Msg, error) { return nil, errors.New("answered SERVFAIL") }, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, answer, asked := resolving(t)
				*answer = tc.answer
				look := func() int {
					_, _ = r.lookup(t.Context(), "n.example.com")
					return *asked
				}
				look()
				time.Sleep(tc.life - time.Millisecond)
				if n := look(); n != 1 {
					t.Errorf("asked %d times before its end", n)
				}
				time.Sleep(time.Millisecond)
				if n := look(); n != 2 {
					t.Errorf("asked %d times after its end", n)
				}
			})
		})
	}
}

func TestAnOldAnswerServesWhileDNSFails(t *testing.T) { // F-62
	synctest.Test(t, func(t *testing.T) {
		r, answer, _ := resolving(t)
		*answer = address("192.0.2.1", 10)
		look := func() error {
			_, err := r.lookup(t.Context(), "n.example.com")
			return err
		}
		if err := look(); err != nil {
			t.Fatal(err)
		}
		*answer = func(uint16) (*dns.Msg, error) { return nil, errors.New("answered SERVFAIL") }
		time.Sleep(69 * time.Second) // 10 s of life, 59 s stale
		if err := look(); err != nil {
			t.Errorf("within a minute of its end: %v", err)
		}
		time.Sleep(time.Second)
		if err := look(); err == nil {
			t.Error("it served for more than a minute after its end")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r, answer, _ := resolving(t)
		*answer = address("192.0.2.1", 10)
		_, _ = r.lookup(t.Context(), "n.example.com")
		*answer = absent(1)
		time.Sleep(11 * time.Second)
		if _, err := r.lookup(t.Context(), "n.example.com"); !errors.Is(err, errNoAddress) {
			t.Errorf("a name that is gone: %v; its old answer must not serve", err)
		}
	})
}

func TestAThousandAddressesAreSixteen(t *testing.T) { // F-62
	many := func(qtype uint16) (*dns.Msg, error) {
		m := &dns.Msg{}
		for i := range 1000 {
			h := dns.RR_Header{Name: "n.example.com.", Rrtype: qtype, Ttl: 60}
			if qtype == dns.TypeA {
				m.Answer = append(m.Answer, &dns.A{Hdr: h, A: net.IPv4(198, 51, byte(i>>8), byte(i))})
			} else {
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: h, AAAA: net.ParseIP(fmt.Sprintf("2600::%x", i+1))})
			}
		}
		return m, nil
	}
	for _, tc := range []struct {
		name      string
		answer    func(uint16) (*dns.Msg, error)
		six, four int
	}{
		{"of both families", many, 8, 8},
		{"of IPv4", func(q uint16) (*dns.Msg, error) {
			if q == dns.TypeAAAA {
				return &dns.Msg{}, nil
			}
			return many(q)
		}, 0, 16},
		{"of IPv6, beside one of IPv4", func(q uint16) (*dns.Msg, error) {
			if q == dns.TypeA {
				return address("192.0.2.1", 1)(q)
			}
			return many(q)
		}, 15, 1},
	} {
		r, answer, _ := resolving(t)
		*answer = tc.answer
		addrs, err := r.lookup(t.Context(), "n.example.com")
		if err != nil {
			t.Fatal(err)
		}
		four := 0
		for _, a := range addrs {
			if a.Is4() {
				four++
			}
		}
		if len(addrs)-four != tc.six || four != tc.four {
			t.Errorf("%s: %d and %d, want %d and %d", tc.name, len(addrs)-four, four, tc.six, tc.four)
		}
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	r, answer, _ := resolving(t)
	*answer = absent(5)
	for i := range 5000 {
		_, _ = r.lookup(t.Context(), fmt.Sprintf("n%d.example.com", i))
	}
	if n := len(r.cache); n > maxNames {
		t.Errorf("%d names are kept", n)
	}
}

// eyeballs dials a Backend with these addresses; dial says how each behaves. It returns what was dialed, and when.
func eyeballs(t *testing.T, addrs []string, dial func(ctx context.Context, a netip.Addr) error) ([]string, error) {
	t.Helper()
	var hosts []netip.Addr
	for _, a := range addrs {
		hosts = append(hosts, netip.MustParseAddr(a))
	}
	var mu sync.Mutex
	var dialed []string
	began := time.Now()
	e, err := New(Config{
		Hosts: map[string][]netip.Addr{"n.example.com": hosts},
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			a := netip.MustParseAddrPort(address).Addr()
			mu.Lock()
			dialed = append(dialed, fmt.Sprintf("%s at %s", a, time.Since(began)))
			mu.Unlock()
			if err := dial(ctx, a); err != nil {
				return nil, err
			}
			here, there := net.Pipe()
			t.Cleanup(func() { _ = there.Close() })
			return here, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	p, err := e.newPlan(&route.Backend{Key: "k", Hostname: "n.example.com", Port: 443})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), p.connect)
	defer cancel()
	c, err := e.connect(ctx, p)
	if err == nil {
		_ = c.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	return dialed, err
}

var errRefused = &net.OpError{Op: "dial", Err: errors.New("refused")}

func TestAddressesAreTriedInTurn(t *testing.T) { // RFC 8305
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	addrs := []string{"2600::1", "2600::2", "192.0.1.1", "192.0.1.2"}
	for _, tc := range []struct {
		name   string
		dial   func(ctx context.Context, a netip.Addr) error
		dialed []string
		cause  Cause
	}{
		{
			"the first answers", func(context.Context, netip.Addr) error { return nil },
			[]string{"2600::1 at 0s"},
			"",
		},
		{"the first is silent for 250 ms", func(ctx context.Context, a netip.Addr) error {
			if a.Is6() {
				return hang(ctx)
			}
			return nil
		}, []string{"2600::1 at 0s", "192.0.1.1 at 250ms"}, ""},
		{"the first is refused, the other family comes at once", func(_ context.Context, a netip.Addr) error {
			if a.Is6() {
				return errRefused
			}
			return nil
		}, []string{"2600::1 at 0s", "192.0.1.1 at 0s"}, ""},
		{"the first is slow but wins", func(_ context.Context, a netip.Addr) error {
			if a.Is6() {
				time.Sleep(300 * time.Millisecond)
				return nil
			}
			time.Sleep(time.Second)
			return nil
		}, []string{"2600::1 at 0s", "192.0.1.1 at 250ms"}, ""},
		{
			"all are refused", func(context.Context, netip.Addr) error { return errRefused },
			[]string{"2600::1 at 0s", "192.0.1.1 at 0s", "2600::2 at 0s", "192.0.1.2 at 0s"},
			ConnectionRefused,
		},
		{
			"all are silent", func(ctx context.Context, _ netip.Addr) error { return hang(ctx) },
			[]string{"2600::1 at 0s", "192.0.1.1 at 250ms", "2600::2 at 500ms", "192.0.1.2 at 750ms"},
			ConnectionTimeout,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				dialed, err := eyeballs(t, addrs, tc.dial)
				if diff := cmp.Diff(tc.dialed, dialed); diff != "" {
					t.Errorf("dialed (-want +got):\n%s", diff)
				}
				var failed *Error
				if errors.As(err, &failed) != (tc.cause != "") || failed != nil && (failed.Cause != tc.cause || failed.Sent) {
					t.Errorf("error %v, want cause %q", err, tc.cause)
				}
				if tc.cause == ConnectionTimeout && time.Since(began) != defaultConnect {
					t.Errorf("it took %s, want %s", time.Since(began), defaultConnect)
				}
			})
		})
	}
}

// memory is an HTTP server on pipes, for virtual time.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}
func (m *memory) Close() error   { return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inMemory serves h within a synctest bubble, and returns an Endpoint that reaches it, and the number of connections.
func inMemory(t *testing.T, protocol string, cfg Config, h http.HandlerFunc) (*Endpoint, *route.Backend, func() int) {
	t.Helper()
	m := &memory{conns: make(chan net.Conn), done: make(chan struct{})}
	var mu sync.Mutex
	conns := map[net.Conn]http.ConnState{}
	srv := &http.Server{Handler: h, Protocols: new(http.Protocols), ConnState: func(c net.Conn, s http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		conns[c] = s
	}}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(m)
	}()
	cfg.Hosts = map[string][]netip.Addr{"n.example.com": {netip.MustParseAddr("127.0.0.1")}}
	cfg.Dial = m.dial
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		close(m.done)
		_ = srv.Close()
		<-served
	})
	b := &route.Backend{Key: "k", Hostname: "n.example.com", Port: 80, Protocol: protocol, AllowedCIDRs: []string{"127.0.0.1/32"}}
	return e, b, func() int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		open := 0
		for _, s := range conns {
			if s != http.StateClosed {
				open++
			}
		}
		return open
	}
}

func send(t *testing.T, e *Endpoint, b *route.Backend) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://w/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := e.RoundTrip(req, b)
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
	_ = res.Body.Close()
}

func TestIdleConnectionsEndByThemselves(t *testing.T) {
	for _, protocol := range []string{"HTTP11", "H2C"} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, b, open := inMemory(t, protocol, Config{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
				send(t, e, b)
				time.Sleep(80 * time.Second)
				send(t, e, b) // the time begins anew
				time.Sleep(80 * time.Second)
				if n := open(); n != 1 {
					t.Errorf("%d connections before the idle timeout, want 1", n)
				}
				time.Sleep(11 * time.Second)
				if n := open(); n != 0 {
					t.Errorf("%d connections after it", n)
				}
				send(t, e, b)
			})
		})
	}
}

func TestAConnectionInUseIsNotIdle(t *testing.T) {
	for _, protocol := range []string{"HTTP11", "H2C"} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, b, open := inMemory(t, protocol, Config{}, func(w http.ResponseWriter, _ *http.Request) {
					time.Sleep(4 * time.Minute) // longer than the pool's idle time, shorter than the body's
				})
				b.Timeouts.Idle = time.Hour
				send(t, e, b)
				if n := open(); n != 1 {
					t.Errorf("%d connections, want 1", n)
				}
			})
		})
	}
}

func TestOnlySoManyConnectionsStayIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b, open := inMemory(t, "HTTP11", Config{MaxIdlePerBackend: 3}, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { send(t, e, b) })
		}
		time.Sleep(500 * time.Millisecond)
		if n := open(); n != 10 {
			t.Errorf("%d connections for 10 requests at once", n)
		}
		wg.Wait()
		if n := open(); n != 3 {
			t.Errorf("%d connections stay, want 3", n)
		}
	})
}

func TestHTTP2IsDialedOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b, open := inMemory(t, "H2C", Config{}, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { send(t, e, b) })
		}
		time.Sleep(500 * time.Millisecond)
		if n := open(); n != 1 {
			t.Errorf("%d connections for 50 requests at once, want 1", n)
		}
		wg.Wait()
	})
}

func TestCloseEndsWhatIsIdleNowAndTheRestLater(t *testing.T) {
	for _, protocol := range []string{"HTTP11", "H2C"} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, b, open := inMemory(t, protocol, Config{}, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) })
				send(t, e, b)
				var wg sync.WaitGroup
				wg.Go(func() { send(t, e, b) })
				time.Sleep(500 * time.Millisecond)
				e.Close()
				if n := open(); n != 1 {
					t.Errorf("%d connections while one exchange goes on", n)
				}
				wg.Wait()
				if n := open(); n != 0 {
					t.Errorf("%d connections after the last exchange", n)
				}
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://w/", nil)
				if _, err := e.RoundTrip(req, b); !errors.Is(err, ErrClosed) {
					t.Errorf("after Close: %v", err)
				}
			})
		})
	}
}

func TestASilentBodyEndsAtTheIdleTimeout(t *testing.T) { // F-43
	for _, protocol := range []string{"HTTP11", "H2C"} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, b, _ := inMemory(t, protocol, Config{}, func(w http.ResponseWriter, r *http.Request) {
					for range 3 { // not idle yet
						_, _ = w.Write([]byte("x"))
						_ = http.NewResponseController(w).Flush()
						time.Sleep(4 * time.Minute)
					}
					<-r.Context().Done()
				})
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://w/", nil)
				began := time.Now()
				res, err := e.RoundTrip(req, b)
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				var failed *Error
				if string(data) != "xxx" || !errors.Is(err, ErrIdle) || !errors.As(err, &failed) || failed.Row() != 27 {
					t.Errorf("%q, %v", data, err)
				}
				if took := time.Since(began); took != 13*time.Minute {
					t.Errorf("ended after %s, want 8 + 5 minutes", took)
				}
			})
		})
	}
}

func TestASlowReaderIsNotTheUpstreamsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b, _ := inMemory(t, "HTTP11", Config{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100_000)) })
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://w/", nil)
		res, err := e.RoundTrip(req, b)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n, err := io.Copy(io.Discard, res.Body); n != 100_000 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		_ = res.Body.Close()
	})
}

func TestAnUploadKeepsAnExchangeAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b, _ := inMemory(t, "H2C", Config{}, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			n, _ := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(w, n)
		})
		pr, pw := io.Pipe()
		go func() {
			for range 10 {
				time.Sleep(4 * time.Minute)
				_, _ = pw.Write([]byte("x"))
			}
			_ = pw.Close()
		}()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://w/", pr)
		req.ContentLength = -1
		res, err := e.RoundTrip(req, b)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(res.Body); string(data) != "10" || err != nil {
			t.Errorf("%q, %v", data, err)
		}
		_ = res.Body.Close()
	})
}

func TestAGetBodyThatStallsIsTakenAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b, _ := inMemory(t, "HTTP11", Config{}, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		})
		pr, pw := io.Pipe()
		go func() {
			time.Sleep(10 * time.Second)
			_, _ = pw.Write([]byte("late"))
			_ = pw.Close()
		}()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://w/", pr)
		req.ContentLength = -1
		res, err := e.RoundTrip(req, b)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(res.Body); string(data) != "late" || err != nil {
			t.Errorf("%q, %v", data, err)
		}
		_ = res.Body.Close()
	})
}

func TestUnusedPoolsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, b, _ := inMemory(t, "HTTP11", Config{}, func(http.ResponseWriter, *http.Request) {})
		for i := range 100 {
			c := *b
			c.Key = fmt.Sprint(i)
			send(t, e, &c)
		}
		time.Sleep(10 * time.Minute)
		c := *b
		c.Key = "new"
		send(t, e, &c)
		if n := len(e.pools); n != 1 {
			t.Errorf("%d pools, want the one that is used", n)
		}
	})
}

func TestTheOrderOfAddresses(t *testing.T) {
	in := []string{"192.0.1.1:1", "192.0.1.2:1", "192.0.1.3:1", "[2600::1]:1"}
	var targets []netip.AddrPort
	for _, s := range in {
		targets = append(targets, netip.MustParseAddrPort(s))
	}
	var got []string
	for _, a := range interleave(targets) {
		got = append(got, a.String())
	}
	if wanted := []string{"192.0.1.1:1", "[2600::1]:1", "192.0.1.2:1", "192.0.1.3:1"}; !slices.Equal(got, wanted) {
		t.Errorf("%v, want %v", got, wanted)
	}
}
