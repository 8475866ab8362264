package origin

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// DefaultName is the name in an origin's certificate unless Names says otherwise.
const DefaultName = "origin.example.com"

// Option changes an origin.
type Option func(*options)

type options struct {
	address    string
	plain      bool
	h1, h2     bool
	ca         *CA
	leaf       Leaf
	clientCA   *CA
	minVersion uint16
	maxVersion uint16
}

// Plain serves cleartext HTTP/1.1, and HTTP/2 with prior knowledge.
func Plain() Option { return func(o *options) { o.plain = true } }

// HTTP1 serves HTTP/1.1 alone.
func HTTP1() Option { return func(o *options) { o.h1, o.h2 = true, false } }

// HTTP2 serves HTTP/2 alone.
func HTTP2() Option { return func(o *options) { o.h1, o.h2 = false, true } }

// Address to listen on, without port: one of 127.0.0.0/8, or "[::1]".
func Address(ip string) Option { return func(o *options) { o.address = ip } }

// Signed uses this CA rather than an own one.
func Signed(ca *CA) Option { return func(o *options) { o.ca = ca } }

// Names in the certificate.
func Names(names ...string) Option { return func(o *options) { o.leaf.Names = names } }

// Certificate says all about the certificate.
func Certificate(l Leaf) Option { return func(o *options) { o.leaf = l } }

// ClientsOf asks every client for a certificate of this CA.
func ClientsOf(ca *CA) Option { return func(o *options) { o.clientCA = ca } }

// Versions limits the TLS versions served.
func Versions(lowest, highest uint16) Option {
	return func(o *options) { o.minVersion, o.maxVersion = lowest, highest }
}

// Origin is a running server. Safe for concurrent use.
type Origin struct {
	// CA that signed the certificate; nil with Plain.
	CA *CA

	plain   bool
	addr    netip.AddrPort
	name    string
	conns   atomic.Int64
	release chan struct{}
	once    sync.Once

	mu       sync.Mutex
	arrivals []*Arrival
	scripts  map[string]*script
	changed  chan struct{} // closed and replaced at each arrival
}

// Arrival is one request as it arrived.
type Arrival struct {
	Method, Path, RawQuery, Proto, Host string
	// ID is its X-Request-Id.
	ID     string
	Header http.Header
	// ContentLength and TransferEncoding as framed on the wire.
	ContentLength    int64
	TransferEncoding []string
	// Conn numbers the connections from 1.
	Conn int64
	// ServerName is the SNI; ClientCertificates how many the client showed.
	ServerName         string
	ClientCertificates int
	// Gone is closed when the request is over at the origin: answered, or cancelled by the client.
	Gone <-chan struct{}
	// Cancelled says, once Gone is closed, that the client went first.
	cancelled atomic.Bool
}

// Cancelled reports whether the client gave the request up. Ask after Gone.
func (a *Arrival) Cancelled() bool { return a.cancelled.Load() }

type connKey struct{}

// Start serves until the test ends.
func Start(t testing.TB, opts ...Option) *Origin {
	t.Helper()
	cfg := options{address: "127.0.0.1", h1: true, h2: true, leaf: Leaf{Names: []string{DefaultName}}}
	for _, opt := range opts {
		opt(&cfg)
	}
	l, err := net.Listen("tcp", cfg.address+":0")
	if err != nil {
		t.Fatalf("origin: listen on %s: %v", cfg.address, err)
	}
	o := &Origin{
		plain:   cfg.plain,
		addr:    l.Addr().(*net.TCPAddr).AddrPort(),
		name:    DefaultName,
		release: make(chan struct{}),
		scripts: map[string]*script{},
		changed: make(chan struct{}),
	}
	if len(cfg.leaf.Names) > 0 {
		o.name = cfg.leaf.Names[0]
	}

	srv := &http.Server{
		Handler:   o,
		ErrorLog:  log.New(io.Discard, "", 0), // refused handshakes are the point of some tests
		Protocols: new(http.Protocols),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, o.conns.Add(1))
		},
	}
	srv.Protocols.SetHTTP1(cfg.h1)
	if cfg.plain {
		srv.Protocols.SetUnencryptedHTTP2(cfg.h2)
	} else {
		srv.Protocols.SetHTTP2(cfg.h2)
		srv.TLSConfig = o.tlsConfig(t, cfg)
	}

	served := make(chan struct{})
	go func() {
		defer close(served)
		if cfg.plain {
			_ = srv.Serve(l)
		} else {
			_ = srv.ServeTLS(l, "", "")
		}
	}()
	t.Cleanup(func() {
		o.Release()
		_ = srv.Close()
		<-served
	})
	return o
}

func (o *Origin) tlsConfig(t testing.TB, cfg options) *tls.Config {
	t.Helper()
	o.CA = cfg.ca
	if o.CA == nil {
		o.CA = NewCA(t)
	}
	c := &tls.Config{
		Certificates: []tls.Certificate{o.CA.Issue(t, cfg.leaf)},
		MinVersion:   cfg.minVersion,
		MaxVersion:   cfg.maxVersion,
	}
	if cfg.clientCA != nil {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs = cfg.clientCA.Pool()
	}
	return c
}

// Addr is where it listens.
func (o *Origin) Addr() netip.AddrPort { return o.addr }

// Port it listens on.
func (o *Origin) Port() int { return int(o.addr.Port()) }

// Name is the first name in its certificate.
func (o *Origin) Name() string { return o.name }

// URL is scheme, address and port, without a path: for clients that look nothing up.
func (o *Origin) URL() string {
	if o.plain {
		return "http://" + o.addr.String()
	}
	return "https://" + o.addr.String()
}

// Connections is the number of connections accepted so far, those of failed handshakes included.
func (o *Origin) Connections() int { return int(o.conns.Load()) }

// Release lets everything go that waits for it: /slow, the end of /sse, Hang.
func (o *Origin) Release() { o.once.Do(func() { close(o.release) }) }

// Total is the number of requests that arrived.
func (o *Origin) Total() int { return len(o.Arrivals()) }

// Count is the number of requests that arrived for a path.
func (o *Origin) Count(path string) int {
	return o.count(func(a *Arrival) bool { return a.Path == path })
}

// CountID is the number of requests that arrived with an X-Request-Id.
func (o *Origin) CountID(id string) int {
	return o.count(func(a *Arrival) bool { return a.ID == id })
}

func (o *Origin) count(is func(*Arrival) bool) (n int) {
	for _, a := range o.Arrivals() {
		if is(a) {
			n++
		}
	}
	return n
}

// Arrivals so far, in order.
func (o *Origin) Arrivals() []*Arrival {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*Arrival(nil), o.arrivals...)
}

// Wait returns the n-th arrival (from 1) of a path, once it is there.
func (o *Origin) Wait(t testing.TB, path string, n int) *Arrival {
	t.Helper()
	for {
		o.mu.Lock()
		seen, changed := 0, o.changed
		for _, a := range o.arrivals {
			if a.Path == path {
				if seen++; seen == n {
					o.mu.Unlock()
					return a
				}
			}
		}
		o.mu.Unlock()
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("origin: arrival %d of %s: the test ended with %d", n, path, seen)
		}
	}
}

// ServeHTTP implements http.Handler: record, then answer.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, over := o.record(r)
	defer over()
	step := o.next(a.Path)
	if step == nil {
		step = o.standing(a.Path)
	}
	step(w, r)
}

func (o *Origin) record(r *http.Request) (*Arrival, func()) {
	gone := make(chan struct{})
	a := &Arrival{
		Method: r.Method, Path: r.URL.Path, RawQuery: r.URL.RawQuery, Proto: r.Proto, Host: r.Host,
		ID:               r.Header.Get("X-Request-Id"),
		Header:           r.Header.Clone(),
		ContentLength:    r.ContentLength,
		TransferEncoding: r.TransferEncoding,
		Gone:             gone,
	}
	a.Conn, _ = r.Context().Value(connKey{}).(int64)
	if r.TLS != nil {
		a.ServerName = r.TLS.ServerName
		a.ClientCertificates = len(r.TLS.PeerCertificates)
	}
	o.mu.Lock()
	o.arrivals = append(o.arrivals, a)
	close(o.changed)
	o.changed = make(chan struct{})
	o.mu.Unlock()
	return a, func() {
		a.cancelled.Store(r.Context().Err() != nil)
		close(gone)
	}
}
