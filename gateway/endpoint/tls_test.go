package endpoint_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/internal/testkit/origin"
)

// keys is a set of client key pairs.
type keys map[string]tls.Certificate

func (k keys) KeyPair(name string) (*tls.Certificate, error) {
	c, ok := k[name]
	if !ok {
		return nil, errors.New("no such key pair")
	}
	return &c, nil
}

func TestWhoIsTrusted(t *testing.T) {
	ca, stranger, clients := origin.NewCA(t), origin.NewCA(t), origin.NewCA(t)
	const name = origin.DefaultName
	held := keys{
		"team/good":  clients.Issue(t, origin.Leaf{Client: true, Names: []string{"spoke"}}),
		"team/wrong": stranger.Issue(t, origin.Leaf{Client: true, Names: []string{"spoke"}}),
	}
	for _, tc := range []struct {
		name   string
		opts   []origin.Option
		change func(b *route.Backend)
		cause  endpoint.Cause // "": trusted
	}{
		{"the name in the certificate", nil, nil, ""},
		{"a wildcard in the certificate", []origin.Option{origin.Names(name, "*.example.com")}, func(b *route.Backend) { b.TLS.ServerName = "other.example.com" }, ""},
		{"another name", nil, func(b *route.Backend) { b.TLS.ServerName = "other.example.com" }, endpoint.TLSCertificateError},
		{"no ServerName means the hostname", nil, func(b *route.Backend) { b.TLS.ServerName = "" }, ""},
		{"another CA", nil, func(b *route.Backend) { b.TLS.CAs = []string{stranger.PEM()} }, endpoint.TLSCertificateError},
		{"the right CA among others", nil, func(b *route.Backend) { b.TLS.CAs = []string{stranger.PEM(), ca.PEM()} }, ""},
		{"a CA that is not PEM", nil, func(b *route.Backend) { b.TLS.CAs = []string{"no"} }, endpoint.TLSCertificateError},
		{"the system's roots, which do not know it", nil, func(b *route.Backend) { b.TLS.CAs = nil }, endpoint.TLSCertificateError},
		{"an expired certificate", []origin.Option{origin.Certificate(origin.Leaf{Names: []string{name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})}, nil, endpoint.TLSCertificateError},
		{"one that is not yet valid", []origin.Option{origin.Certificate(origin.Leaf{Names: []string{name}, NotBefore: time.Now().Add(30 * time.Minute)})}, nil, endpoint.TLSCertificateError},
		{"a client's certificate", []origin.Option{origin.Certificate(origin.Leaf{Names: []string{name}, Client: true})}, nil, endpoint.TLSCertificateError},
		{"TLS 1.1", []origin.Option{origin.Versions(tls.VersionTLS10, tls.VersionTLS11)}, nil, endpoint.TLSProtocolError},
		{"TLS 1.2", []origin.Option{origin.Versions(tls.VersionTLS12, tls.VersionTLS12)}, nil, ""},
		{"TLS 1.3", []origin.Option{origin.Versions(tls.VersionTLS13, tls.VersionTLS13)}, nil, ""},

		{"a SAN instead of the name", []origin.Option{origin.Names("san.example.org")}, san("san.example.org", ""), ""},
		{"one of two SANs", []origin.Option{origin.Names("san.example.org")}, func(b *route.Backend) { b.TLS.DNSNames = []string{"no.example.org", "san.example.org"} }, ""},
		{"a SAN that a wildcard covers", []origin.Option{origin.Names("*.example.org")}, san("san.example.org", ""), ""},
		{"a wildcard SAN asked for as such", []origin.Option{origin.Names("*.example.org")}, san("*.example.org", ""), ""},
		{"the name but not the SAN", nil, san("san.example.org", ""), endpoint.TLSCertificateError},
		{"a URI", []origin.Option{origin.Certificate(origin.Leaf{Names: []string{name}, URIs: []string{"spiffe://td/api"}})}, san("", "spiffe://td/api"), ""},
		{"a URI alone, without any name", []origin.Option{origin.Certificate(origin.Leaf{URIs: []string{"spiffe://td/api"}})}, san("", "spiffe://td/api"), ""},
		{"another URI", []origin.Option{origin.Certificate(origin.Leaf{URIs: []string{"spiffe://td/other"}})}, san("", "spiffe://td/api"), endpoint.TLSCertificateError},
		{"a URI that only begins alike", []origin.Option{origin.Certificate(origin.Leaf{URIs: []string{"spiffe://td/api2"}})}, san("", "spiffe://td/api"), endpoint.TLSCertificateError},
		{"the SAN from another CA", []origin.Option{origin.Names("san.example.org")}, func(b *route.Backend) {
			san("san.example.org", "")(b)
			b.TLS.CAs = []string{stranger.PEM()}
		}, endpoint.TLSCertificateError},
		{"the SAN by the system's roots, which do not know it", []origin.Option{origin.Names("san.example.org")}, func(b *route.Backend) {
			san("san.example.org", "")(b)
			b.TLS.CAs = nil
		}, endpoint.TLSCertificateError},
		{"the SAN in an expired certificate", []origin.Option{origin.Certificate(origin.Leaf{Names: []string{"san.example.org"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})}, san("san.example.org", ""), endpoint.TLSCertificateError},
		{"the SAN in a client's certificate", []origin.Option{origin.Certificate(origin.Leaf{Names: []string{"san.example.org"}, Client: true})}, san("san.example.org", ""), endpoint.TLSCertificateError},

		{"a client certificate that is wanted", []origin.Option{origin.ClientsOf(clients)}, func(b *route.Backend) { b.TLS.ClientCertificate = "team/good" }, ""},
		{"a client certificate that is not held", []origin.Option{origin.ClientsOf(clients)}, func(b *route.Backend) { b.TLS.ClientCertificate = "team/none" }, endpoint.TLSProtocolError},

		{"h2 that the server does not speak", []origin.Option{origin.HTTP1()}, func(b *route.Backend) { b.Protocol = "HTTP2" }, endpoint.TLSProtocolError},
		{"gRPC, which is h2", []origin.Option{origin.HTTP1()}, func(b *route.Backend) { b.Protocol = "GRPC" }, endpoint.TLSProtocolError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := origin.Start(t, append([]origin.Option{origin.Signed(ca)}, tc.opts...)...)
			b := backend(o)
			b.Hostname, b.TLS.ServerName = name, name
			if tc.change != nil {
				tc.change(b)
			}
			e := start(t, endpoint.Config{Keys: held, Hosts: map[string][]netip.Addr{name: {o.Addr().Addr()}}})
			req := request(t, http.MethodPost, "/", strings.NewReader("data"))
			if tc.cause == "" {
				do(t, e, b, req)
				if got := o.Arrivals()[0].ServerName; got != b.TLS.ServerName && b.TLS.ServerName != "" {
					t.Errorf("SNI %q, want ServerName %q", got, b.TLS.ServerName)
				}
				return
			}
			got := fails(t, e, b, req)
			want(t, got, tc.cause, false, false, false, 18)
			if got.Class != retry.NoRepeat || o.Total() != 0 || e.Sent() != 0 {
				t.Errorf("class %s, %d arrived, %d sent; want no-repeat, 0, 0", got.Class, o.Total(), e.Sent())
			}
		})
	}

	t.Run("a client certificate that the server refuses", func(t *testing.T) {
		// With TLS 1.3 the client is done before the server has looked; the request may have left.
		o := origin.Start(t, origin.Signed(ca), origin.ClientsOf(clients))
		e := start(t, endpoint.Config{Keys: held}, o)
		for _, name := range []string{"team/wrong", ""} {
			b := backend(o)
			b.TLS.ClientCertificate = name
			fails(t, e, b, request(t, http.MethodGet, "/", nil))
			if o.Total() != 0 {
				t.Errorf("a request with client certificate %q was served", name)
			}
		}
	})
}

// san asks for subjectAltNames.
func san(dns, uri string) func(b *route.Backend) {
	return func(b *route.Backend) {
		if dns != "" {
			b.TLS.DNSNames = []string{dns}
		}
		if uri != "" {
			b.TLS.URIs = []string{uri}
		}
	}
}

func TestTheProtocolIsNegotiated(t *testing.T) {
	for _, tc := range []struct {
		protocol string
		opts     []origin.Option
		proto    string
	}{
		{"", nil, "HTTP/2.0"},
		{"HTTP", nil, "HTTP/2.0"},
		{"MCP", nil, "HTTP/2.0"},
		{"HTTP2", nil, "HTTP/2.0"},
		{"GRPC", nil, "HTTP/2.0"},
		{"HTTP11", nil, "HTTP/1.1"},
		{"", []origin.Option{origin.HTTP1()}, "HTTP/1.1"},
		{"H2C", []origin.Option{origin.Plain()}, "HTTP/2.0"},
		{"GRPC", []origin.Option{origin.Plain()}, "HTTP/2.0"},
		{"", []origin.Option{origin.Plain()}, "HTTP/1.1"},
	} {
		o := origin.Start(t, tc.opts...)
		e := start(t, endpoint.Config{}, o)
		b := backend(o)
		b.Protocol = tc.protocol
		do(t, e, b, request(t, http.MethodGet, "/", nil))
		if got := o.Arrivals()[0].Proto; got != tc.proto {
			t.Errorf("protocol %q, TLS %t: arrived by %s, want %s", tc.protocol, b.TLS != nil, got, tc.proto)
		}
	}
}

func TestNothingOfTheRequestIsSentBeforeThePeerIsVerified(t *testing.T) {
	// The server records every byte it decrypts; with a CA that is not trusted there must be none.
	ca := origin.NewCA(t)
	cert := ca.Issue(t, origin.Leaf{Names: []string{"raw.example.com"}})
	var mu sync.Mutex
	var plain, wire bytes.Buffer
	e, b := raw(t, "", func(_ int, c net.Conn) {
		tap := &tapped{Conn: c, mu: &mu, to: &wire}
		tc := tls.Server(tap, &tls.Config{Certificates: []tls.Certificate{cert}})
		data, _ := io.ReadAll(tc)
		mu.Lock()
		plain.Write(data)
		mu.Unlock()
	})
	b.TLS = &route.TLS{ServerName: "raw.example.com", CAs: []string{origin.NewCA(t).PEM()}}
	for _, change := range []func(){func() {}, func() { b.TLS.DNSNames = []string{"raw.example.com"} }} {
		change()
		req := request(t, http.MethodPost, "/secret-path", strings.NewReader("secret-body"))
		got := fails(t, e, b, req)
		want(t, got, endpoint.TLSCertificateError, false, false, false, 18)
	}
	e.Close()
	mu.Lock()
	defer mu.Unlock()
	if plain.Len() > 0 || bytes.Contains(wire.Bytes(), []byte("secret")) {
		t.Errorf("%d bytes of the request were sent", plain.Len())
	}
	if wire.Len() == 0 {
		t.Error("no handshake was seen: the test looks at the wrong place")
	}
}

type tapped struct {
	net.Conn
	mu *sync.Mutex
	to *bytes.Buffer
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.to.Write(p[:n])
	c.mu.Unlock()
	return n, err
}

func TestAResetHandshakeMayBeTriedAgainOnce(t *testing.T) { // row 18
	e, b := raw(t, "", func(_ int, c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	b.TLS = &route.TLS{ServerName: "raw.example.com"}
	got := fails(t, e, b, request(t, http.MethodGet, "/", nil))
	want(t, got, endpoint.TLSProtocolError, false, false, false, 18)
	if got.Class != retry.ConnectFailure {
		t.Errorf("class %s", got.Class)
	}
}

func TestASilentHandshakeTimesOut(t *testing.T) {
	e, b := raw(t, "", func(_ int, c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	b.TLS = &route.TLS{ServerName: "raw.example.com"}
	b.Timeouts.Connect = 50 * time.Millisecond
	got := fails(t, e, b, request(t, http.MethodGet, "/", nil))
	want(t, got, endpoint.ConnectionTimeout, false, false, false, 17)
}
