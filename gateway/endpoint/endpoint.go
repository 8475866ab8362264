package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// Keys returns client key pairs by name, see route.TLS.ClientCertificate. Implementations are safe for concurrent use.
type Keys interface {
	KeyPair(name string) (*tls.Certificate, error)
}

// Config of an Endpoint. The zero value dials with the system's resolver and roots, guard on, and refuses credentials.
type Config struct {
	Credentials Credentials
	Keys        Keys
	// Hosts are static answers: name (lower case, no dot at the end) to addresses. They stand before any server.
	Hosts map[string][]netip.Addr
	// Servers are DNS servers "ip:port"; empty: those of the system.
	Servers []string
	// Own lists the address and port of every own listener and of every registered gateway; an unspecified address
	// stands for every own interface. Dialing one is a loop (self-dial), decided before the guard. Called per dial.
	Own func() []netip.AddrPort
	// Roots for Backends without a CA of their own; nil: the system's.
	Roots *x509.CertPool
	Log   *slog.Logger // nil: nothing is logged
	// IdleTimeout of pooled connections [90s]; MaxIdlePerBackend [64].
	IdleTimeout       time.Duration
	MaxIdlePerBackend int
	// Dial is for tests: it dials an address that was already checked; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// The defaults of Config.
const (
	defaultIdleTimeout = 90 * time.Second
	defaultMaxIdle     = 64
)

// Endpoint originates requests. Safe for concurrent use.
type Endpoint struct {
	cfg      Config
	resolver *resolver
	self     self
	codec    codec
	sent     atomic.Int64
	turn     atomic.Uint64 // whose turn it is among the endpoints of Services

	base    context.Context // of dials that several requests wait for
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.RWMutex
	pools  map[poolKey]*pool
	closed bool
}

// New checks the config. Close the Endpoint when done.
func New(cfg Config) (*Endpoint, error) {
	if cfg.IdleTimeout <= 0 {
		cfg.IdleTimeout = defaultIdleTimeout
	}
	if cfg.MaxIdlePerBackend <= 0 {
		cfg.MaxIdlePerBackend = defaultMaxIdle
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e := &Endpoint{
		cfg:   cfg,
		self:  self{own: cfg.Own, interfaces: net.InterfaceAddrs},
		codec: newCodec(),
		pools: map[poolKey]*pool{},
	}
	e.base, e.stop = context.WithCancel(context.Background())
	var err error
	if e.resolver, err = newResolver(e.base, cfg.Hosts, cfg.Servers); err != nil {
		e.stop()
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	return e, nil
}

// RoundTrip makes exactly one attempt: at most one wire request, no hidden repeat, no redirect followed. It returns an
// *Error on failure. req is not changed. It is read as a server's request: ContentLength 0 is no body, -1 one of unknown
// length.
//
// If the error is Unprocessed and nothing was Sent, req.Body was neither read nor closed, with one exception: the body
// of unknown length of a GET, HEAD, DELETE or OPTIONS is read for a byte, to learn whether there is one, and closed. In
// all other cases it is closed, sooner or later. A retry.Body makes attempts independent of that.
//
// The time to response headers is bounded by req's context alone; its end also ends the response's body, so a caller
// that limits one attempt cancels by a timer of its own, with a cause of its own, and stops that when RoundTrip returns;
// a cancel without a cause is a client that is gone. Informational responses
// go to the context's httptrace.ClientTrace.
//
// A request with "Connection: Upgrade" and one protocol in Upgrade goes out on HTTP/1.1, or, to a Backend whose protocol is
// HTTP/2 alone, as an extended CONNECT (RFC 8441) if the destination has said that it takes these; else nothing is sent. If
// the destination switches, the response has status 101 and a Body that is an io.ReadWriteCloser of raw bytes, with
// CloseWrite where the connection has it; any other answer is an ordinary response.
func (e *Endpoint) RoundTrip(req *http.Request, b *route.Backend) (*http.Response, error) {
	if req.Method == http.MethodConnect {
		return nil, &Error{Cause: ProtocolError, Class: retry.NoRepeat, Err: errors.New("CONNECT is not sent to a Backend")}
	}
	if b.Via == route.ViaService && b.Authority == "" {
		own := *b
		own.Authority = req.Host // a Service sees the Host that the workload wrote
		b = &own
	}
	if upgradeOf(req) != "" {
		b = forUpgrade(b)
	}
	to, err := e.destinations(b)
	if err != nil {
		return nil, err
	}
	body := newUpload(req.Context(), req)
	for i, at := range to {
		res, err := e.at(req, at, body)
		if err == nil || i == len(to)-1 || !notConnected(err) || body != nil && body.probed || req.Context().Err() != nil {
			return res, err
		}
	}
	return nil, errors.New("not reached: there is a destination")
}

// at makes the attempt at one destination.
func (e *Endpoint) at(req *http.Request, b *route.Backend, body *upload) (*http.Response, error) {
	for range rounds {
		res, err := e.attempt(req, b, body)
		if errors.Is(err, errRotated) {
			continue // nothing was sent; the next one uses the new version's connections
		}
		if err != nil && body != nil && body.probed {
			body.abandon() // it was read; a read of it may be under way
		}
		return res, err
	}
	return nil, credentialError(b.Credential, fmt.Errorf("%w %d times", errRotated, rounds))
}

// attempt is one pass: connection, copy, credential, send.
func (e *Endpoint) attempt(req *http.Request, b *route.Backend, body *upload) (*http.Response, error) {
	version, err := e.credentialVersion(b)
	if err != nil {
		return nil, err
	}
	p, err := e.pool(b, version)
	if err != nil {
		return nil, err
	}
	take := p.get
	if upgradeOf(req) != "" && p.plan.wantsH2Only() {
		take = func(ctx context.Context) (*conn, error) { return e.openOne(ctx, p.plan) }
	}
	c, err := take(req.Context())
	if err != nil {
		return nil, err
	}
	x := newExchange(req.Context(), c, body, b.Timeouts.Idle)
	x.upgrade = upgradeOf(req)
	out := outbound(x.ctx, req, b, body, c.h2)
	if err := e.inject(out, b, p.plan, c.host, version); err != nil {
		c.release()
		x.cancel(err)
		return nil, err
	}
	switch {
	case x.upgrade == "":
	case c.h2:
		x.extend(out)
	default:
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{x.upgrade}
		x.key = out.Header.Get("Sec-Websocket-Key")
	}
	return x.run(out)
}

// pool returns the pool of a Backend at a credential version.
func (e *Endpoint) pool(b *route.Backend, version string) (*pool, error) {
	key := keyOf(b, version)
	e.mu.RLock()
	p := e.pools[key]
	e.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	plan, err := e.newPlan(b)
	if err != nil {
		// Translate refuses what cannot work; this is the last look.
		return nil, &Error{Cause: settingsCause(b), Class: retry.NoRepeat, Err: fmt.Errorf("Backend %s: %w", b.Key, err)}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if p = e.pools[key]; p != nil {
		return p, nil
	}
	// Keys go out of use with each change of a Backend and each rotation; their connections time out by themselves.
	for k, old := range e.pools {
		if old.stale() {
			delete(e.pools, k)
		}
	}
	p = &pool{e: e, key: key, plan: plan, closed: e.closed, used: time.Now()}
	e.pools[key] = p
	return p, nil
}

// settingsCause of a Backend that cannot be dialed as it is written.
func settingsCause(b *route.Backend) Cause {
	if _, err := normalName(b.Hostname); err != nil {
		return DNSError
	}
	if _, err := parsePrefixes(b.AllowedCIDRs); err != nil {
		return DestinationProhibited
	}
	return TLSCertificateError
}

// Sent counts wire requests (heads handed to a connection) since the start; hidden repeats are Sent minus attempts.
func (e *Endpoint) Sent() int64 { return e.sent.Load() }

// Close closes idle connections and stops background work. Exchanges under way go on; their connections are closed
// after them.
func (e *Endpoint) Close() {
	e.mu.Lock()
	e.closed = true
	pools := make([]*pool, 0, len(e.pools))
	for _, p := range e.pools {
		pools = append(pools, p)
	}
	e.mu.Unlock()
	e.stop()
	for _, p := range pools {
		p.close()
	}
	e.running.Wait()
}
