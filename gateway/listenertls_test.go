package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/internal/testkit/origin"
)

// secured is a gateway with TLS listeners on one port: two HTTPS ones of different names and one for raw streams.
type secured struct {
	*rig
	*Listeners
	ca     *origin.CA
	pairs  map[string]*tls.Certificate
	served chan struct{}
}

func (s *secured) KeyPair(name string) (*tls.Certificate, error) {
	if p := s.pairs[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no key pair %s", name)
}

// DialService is a Service that answers each line in capitals.
func (s *secured) DialService(_ context.Context, b *route.Backend) (net.Conn, error) {
	if b.Key != "ns/db:5432" {
		return nil, errors.New("refused")
	}
	near, far := tcpPair()
	go func() {
		defer far.Close()
		for r := bufio.NewReader(far); ; {
			line, err := r.ReadString('\n')
			_, _ = io.WriteString(far, strings.ToUpper(line))
			if err != nil {
				return
			}
		}
	}()
	return near, nil
}

// tcpPair is a connection on loopback, both ends.
func tcpPair() (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		panic(err)
	}
	if b, err = l.Accept(); err != nil {
		panic(err)
	}
	return a, b
}

func startSecured(t *testing.T, change func(*route.Snapshot, *secured)) *secured {
	t.Helper()
	s := &secured{ca: origin.NewCA(t), pairs: map[string]*tls.Certificate{}, served: make(chan struct{}, 99)}
	for name, host := range map[string]string{"ns/bank": "bank.example.com", "ns/wild": "*.example.com", "ns/ended": "ended.example.com"} {
		pair := s.ca.Issue(t, origin.Leaf{Names: []string{host}})
		s.pairs[name] = &pair
	}
	rule := func(kind, backend string) []route.Rule {
		return []route.Rule{{Route: route.Ref{Kind: kind, Namespace: "ns", Name: "r"}, Name: "0", Targets: []route.Target{{Weight: 1, Backend: backend}}}}
	}
	listener := func(name, hostname string, p route.Protocol, tls *route.ListenerTLS, rules []route.Rule) route.Listener {
		return route.Listener{Gateway: "infra/egress", Name: name, Protocol: p, Port: 443, Hostname: hostname, TLS: tls, Rules: rules}
	}
	snapshot := &route.Snapshot{
		Backends: []route.Backend{{Key: "ns/b", Via: route.ViaEndpoint, Authority: "api.example.com"}, {Key: "ns/db:5432", Via: route.ViaService, Endpoints: []string{"10.0.0.1:1"}}},
		Listeners: []route.Listener{
			listener("bank", "bank.example.com", route.ProtocolHTTPS, &route.ListenerTLS{Certificates: []string{"ns/bank"}, ClientCAs: []string{s.ca.PEM()}}, rule("HTTPRoute", "ns/b")),
			listener("wild", "*.example.com", route.ProtocolHTTPS, &route.ListenerTLS{Certificates: []string{"ns/wild"}}, rule("HTTPRoute", "ns/b")),
			listener("raw", "raw.example.com", route.ProtocolTLS, &route.ListenerTLS{Passthrough: true}, rule("TLSRoute", "ns/db:5432")),
			listener("ended", "ended.example.com", route.ProtocolTLS, &route.ListenerTLS{Certificates: []string{"ns/ended"}}, rule("TLSRoute", "ns/db:5432")),
		},
	}
	if change != nil {
		change(snapshot, s)
	}
	s.rig = newRig(t, snapshot, func(c *Config) { c.Endpoint = roundTrip(answers200).endpoint() })
	var err error
	s.Listeners, err = NewListeners(ListenersConfig{
		Gateway: s.Gateway, Keys: s, Streams: s, Ports: map[int]int{443: 0}, DrainTime: time.Second, Log: s.Gateway.cfg.Log,
		OnChange: func() { s.served <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-s.served
	return s
}

func (s *secured) address() string { return s.Addresses()[443].String() }

// client speaks to the listeners by a server name, whatever the URL's host.
func (s *secured) client(t *testing.T, name string, h2 bool, certificates ...tls.Certificate) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	tr := &http.Transport{
		Protocols: p, TLSClientConfig: &tls.Config{RootCAs: s.ca.Pool(), ServerName: name, Certificates: certificates},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.address())
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestHTTPSListeners(t *testing.T) {
	s := startSecured(t, nil)
	client := s.ca.Issue(t, origin.Leaf{Client: true})
	stranger := origin.NewCA(t).Issue(t, origin.Leaf{Client: true})
	for _, c := range []struct {
		name, server, host string
		certificates       []tls.Certificate
		want               int // 0: the handshake fails
	}{
		{"a host of the server name", "a.example.com", "a.example.com", nil, 200},
		{"another host of the same listener", "a.example.com", "b.example.com", nil, 200},
		{"a host of a stricter listener is misdirected", "a.example.com", "bank.example.com", nil, 421},
		{"a listener that wants a client certificate, without one", "bank.example.com", "bank.example.com", nil, 0},
		{"with one of another CA", "bank.example.com", "bank.example.com", []tls.Certificate{stranger}, 0},
		{"with a good one", "bank.example.com", "bank.example.com", []tls.Certificate{client}, 200},
		{"a name that no listener has", "example.org", "example.org", nil, 0},
	} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, h2 %v", c.name, h2), func(t *testing.T) {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+c.host+"/", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := s.client(t, c.server, h2, c.certificates...).Do(req)
				if c.want == 0 {
					if err == nil {
						res.Body.Close()
						t.Fatalf("%d, want no connection", res.StatusCode)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if res.StatusCode != c.want || h2 != (res.ProtoMajor == 2) {
					t.Errorf("%d over %s, want %d", res.StatusCode, res.Proto, c.want)
				}
			})
		}
	}
}

func TestANameWithoutListenerIsToldSo(t *testing.T) {
	s := startSecured(t, nil)
	_, err := tls.Dial("tcp", s.address(), &tls.Config{ServerName: "example.org", RootCAs: s.ca.Pool()})
	if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("%v, want the alert unrecognized_name", err)
	}
}

func TestANewCertificateServesNewConnections(t *testing.T) {
	s := startSecured(t, nil)
	shown := func() string {
		c, err := tls.Dial("tcp", s.address(), &tls.Config{ServerName: "a.example.com", RootCAs: s.ca.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := shown()
	old := s.client(t, "a.example.com", false)
	get := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.example.com/", nil)
		if err != nil {
			return err
		}
		res, err := old.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	pair := s.ca.Issue(t, origin.Leaf{Names: []string{"*.example.com"}})
	next := *s.Snapshot()
	next.Listeners = slices.Clone(next.Listeners)
	s.pairs["ns/wild2"] = &pair
	renewed := *next.Listeners[1].TLS
	renewed.Certificates = []string{"ns/wild2"}
	next.Listeners[1].TLS = &renewed
	s.Use(&route.Snapshot{Listeners: next.Listeners, Backends: next.Backends})
	for shown() == before { // the listeners follow in their own time
		if t.Context().Err() != nil {
			t.Fatal("the old certificate is still shown")
		}
	}
	if err := get(); err != nil {
		t.Errorf("a connection that was up: %v", err)
	}
}

func TestStreamsOfTLSRoutes(t *testing.T) {
	s := startSecured(t, nil)
	talk := func(t *testing.T, c net.Conn) {
		t.Helper()
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 6)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "HELLO\n" {
			t.Errorf("%q, %v", got, err)
		}
	}
	t.Run("TLS is ended here", func(t *testing.T) {
		c, err := tls.Dial("tcp", s.address(), &tls.Config{ServerName: "ended.example.com", RootCAs: s.ca.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		talk(t, c)
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
			t.Errorf("then %q, %v", rest, err)
		}
	})
	t.Run("TLS is passed through as it came", func(t *testing.T) {
		c, err := net.Dial("tcp", s.address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// The Service here answers lines in capitals: what comes back shows that the hello reached it byte by byte.
		hello := clientHello(t, "raw.example.com")
		if _, err := c.Write(append(slices.Clone(hello), "\nhello\n"...)); err != nil {
			t.Fatal(err)
		}
		want := strings.ToUpper(string(hello) + "\nhello\n")
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
	})
	t.Run("a Service that cannot be reached ends the stream", func(t *testing.T) {
		s := startSecured(t, func(r *route.Snapshot, _ *secured) {
			r.Backends[1].Key = "ns/gone:1"
			r.Listeners[2].Rules[0].Targets[0].Backend, r.Listeners[3].Rules[0].Targets[0].Backend = "ns/gone:1", "ns/gone:1"
		})
		c, err := tls.Dial("tcp", s.address(), &tls.Config{ServerName: "ended.example.com", RootCAs: s.ca.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.ReadAll(c); err == nil {
			return // closed, as it must be
		}
	})
	t.Run("what is no TLS is closed", func(t *testing.T) {
		c, err := net.Dial("tcp", s.address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: raw.example.com\r\n\r\n")
		if got, _ := io.ReadAll(c); strings.Contains(string(got), "200") {
			t.Errorf("answered %q", got)
		}
	})
	if got := s.metric(`penstock_streams_total{outcome="whole"}`); got == "0" {
		t.Error("no stream is counted as whole")
	}
}

// clientHello is the first flight of a TLS client.
func clientHello(t *testing.T, name string) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() { _ = tls.Client(near, &tls.Config{ServerName: name}).Handshake(); near.Close() }()
	buf := make([]byte, 16<<10)
	n, err := far.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	// A record may be written in parts.
	for want := 5 + int(buf[3])<<8 + int(buf[4]); n < want; {
		m, err := far.Read(buf[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	return buf[:n]
}

func FuzzHello(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{22, 3, 1, 0, 5, 1, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		near, far := net.Pipe()
		go func() {
			_, _ = far.Write(data)
			far.Close()
		}()
		defer near.Close()
		c, _, err := peekHello(near, time.Minute)
		if err != nil {
			return
		}
		// What was looked at must still be there, byte by byte.
		got, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(data), string(got)) && string(got) != string(data) {
			t.Errorf("%q is read where %q was sent", got, data)
		}
	})
}

func TestAClientThatSaysNothingHoldsUpNoEnd(t *testing.T) {
	s := startSecured(t, nil)
	c, err := net.Dial("tcp", s.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{22, 3, 1}); err != nil { // the beginning of a hello
		t.Fatal(err)
	}
	began := time.Now()
	s.Use(&route.Snapshot{}) // the port closes
	if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	if took := time.Since(began); took > 8*time.Second { // less than it has for a hello
		t.Errorf("closed after %v", took)
	}
}
