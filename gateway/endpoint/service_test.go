package endpoint_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/internal/testkit/origin"
)

// closedPort is an address on which nobody listens any more.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func service(origins ...*origin.Origin) *route.Backend {
	b := &route.Backend{Key: "team/web:80", Via: route.ViaService, Port: 80, Protocol: "HTTP11"}
	for _, o := range origins {
		b.Endpoints = append(b.Endpoints, o.Addr().String())
	}
	return b
}

func TestAServiceIsSpreadOverItsEndpoints(t *testing.T) {
	a, b := origin.Start(t, origin.Plain()), origin.Start(t, origin.Plain())
	e := start(t, endpoint.Config{})
	s := service(a, b)
	for range 10 {
		do(t, e, s, request(t, http.MethodGet, "/x", nil))
	}
	if a.Total() != 5 || b.Total() != 5 {
		t.Errorf("%d and %d requests, want 5 each", a.Total(), b.Total())
	}
	if got := a.Wait(t, "/x", 1).Host; got != "workload.example" {
		t.Errorf("the Service was asked for host %q, want what the workload wrote", got)
	}
	if a.Connections() != 1 {
		t.Errorf("%d connections for 5 requests one after the other", a.Connections())
	}
}

func TestAnEndpointThatDoesNotConnectIsPassedOver(t *testing.T) {
	o := origin.Start(t, origin.Plain())
	e := start(t, endpoint.Config{})
	s := service(o)
	s.Endpoints = append(s.Endpoints, closedPort(t))
	for range 6 {
		if _, body := do(t, e, s, request(t, http.MethodPost, "/echo", strings.NewReader("body"))); body != "body" {
			t.Errorf("echo %q", body)
		}
	}
	if o.Total() != 6 {
		t.Errorf("%d requests arrived, want 6", o.Total())
	}
}

func TestAServiceThatCannotBeReached(t *testing.T) {
	own := origin.Start(t, origin.Plain())
	for _, c := range []struct {
		name      string
		endpoints []string
		want      endpoint.Cause
	}{
		{"no endpoint is ready", nil, endpoint.ConnectionRefused},
		{"none listens", []string{closedPort(t)}, endpoint.ConnectionRefused},
		{"it is our own listener: a loop", []string{own.Addr().String()}, endpoint.SelfDial},
		{"an endpoint is no address", []string{"web:80"}, endpoint.DestinationProhibited},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := start(t, endpoint.Config{Own: func() []netip.AddrPort { return []netip.AddrPort{own.Addr()} }})
			_, err := e.RoundTrip(request(t, http.MethodGet, "/", nil), &route.Backend{Key: "team/web:80", Via: route.ViaService, Endpoints: c.endpoints})
			var got *endpoint.Error
			if !errors.As(err, &got) || got.Cause != c.want || got.Sent {
				t.Errorf("%v, want %s with nothing sent", err, c.want)
			}
		})
	}
	if own.Connections() != 0 {
		t.Errorf("%d connections to our own listener", own.Connections())
	}
}

func TestAServiceWithTLS(t *testing.T) {
	o := origin.Start(t)
	e := start(t, endpoint.Config{})
	s := service(o)
	s.Protocol, s.TLS = "", &route.TLS{ServerName: o.Name(), CAs: []string{o.CA.PEM()}}
	do(t, e, s, request(t, http.MethodGet, "/x", nil))
	if got := o.Wait(t, "/x", 1); got.ServerName != o.Name() || got.Proto != "HTTP/2.0" {
		t.Errorf("server name %q, %s", got.ServerName, got.Proto)
	}
	s.TLS = &route.TLS{ServerName: "other.example.com", CAs: s.TLS.CAs}
	_, err := e.RoundTrip(request(t, http.MethodGet, "/x", nil), s)
	var got *endpoint.Error
	if !errors.As(err, &got) || got.Cause != endpoint.TLSCertificateError {
		t.Errorf("%v, want %s", err, endpoint.TLSCertificateError)
	}
}

func TestDialService(t *testing.T) {
	e := start(t, endpoint.Config{})
	for name, o := range map[string]*origin.Origin{"in the clear": origin.Start(t, origin.Plain()), "with TLS": origin.Start(t, origin.HTTP1())} {
		t.Run(name, func(t *testing.T) {
			s := service(o)
			s.Endpoints = slices.Insert(s.Endpoints, 0, closedPort(t))
			if o.CA != nil {
				s.TLS = &route.TLS{ServerName: o.Name(), CAs: []string{o.CA.PEM()}}
			}
			c, err := e.DialService(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, "GET /raw HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("%v, %v", res, err)
			}
		})
	}
	if _, err := e.DialService(t.Context(), backend(origin.Start(t))); err == nil {
		t.Error("a Backend was dialed as if it were a Service")
	}
}

// switching answers with a 101 and sends what comes back in capitals.
func switching(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + to + "\r\n\r\nhello ")
		_ = rw.Flush()
		for {
			b, err := rw.ReadByte()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(strings.ToUpper(string(b))))
		}
	}
}

func TestUpgrades(t *testing.T) {
	ask := func(t *testing.T, path string) *http.Request {
		r := request(t, http.MethodGet, path, nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		return r
	}
	for name, o := range map[string]*origin.Origin{"https, which would speak h2": origin.Start(t), "plain": origin.Start(t, origin.Plain())} {
		t.Run(name, func(t *testing.T) {
			o.On("/ws", switching("websocket"))
			o.On("/other", switching("irc"))
			e := start(t, endpoint.Config{}, o)
			b := backend(o)
			t.Run("the destination switches", func(t *testing.T) {
				res, err := e.RoundTrip(ask(t, "/ws"), b)
				if err != nil {
					t.Fatal(err)
				}
				stream, ok := res.Body.(io.ReadWriteCloser)
				if !ok || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Upgrade") != "websocket" {
					t.Fatalf("%d, body %T", res.StatusCode, res.Body)
				}
				if _, err := io.WriteString(stream, "abc"); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len("hello ABC"))
				if _, err := io.ReadFull(stream, got); err != nil || string(got) != "hello ABC" {
					t.Errorf("%q, %v", got, err)
				}
				if err := stream.Close(); err != nil {
					t.Error(err)
				}
			})
			t.Run("it answers like any other request", func(t *testing.T) {
				if res, body := do(t, e, b, ask(t, "/status/403")); res.StatusCode != http.StatusForbidden {
					t.Errorf("%d %q", res.StatusCode, body)
				}
			})
			t.Run("it switches to something else", func(t *testing.T) {
				_, err := e.RoundTrip(ask(t, "/other"), b)
				var got *endpoint.Error
				if !errors.As(err, &got) || got.Cause != endpoint.ProtocolError || !got.Sent {
					t.Errorf("%v, want %s", err, endpoint.ProtocolError)
				}
			})
			t.Run("it switches unasked", func(t *testing.T) {
				h1 := *b
				h1.Protocol = "HTTP11"
				_, err := e.RoundTrip(request(t, http.MethodGet, "/ws", nil), &h1)
				var got *endpoint.Error
				if !errors.As(err, &got) || got.Cause != endpoint.ProtocolError {
					t.Errorf("%v, want %s", err, endpoint.ProtocolError)
				}
			})
		})
	}
}
