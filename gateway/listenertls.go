package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"penstock.dev/penstock/gateway/route"
)

// tlsTable is the TLS side of a snapshot. It is made anew with each snapshot and never changed, so a connection that is up
// keeps what it was made with, and new ones get new certificates at once.
type tlsTable struct {
	snapshot *route.Snapshot
	// configs of the listeners that end TLS here; a listener that is missing refuses handshakes.
	configs map[*route.Listener]*tls.Config
}

// newTLSTable reads the key pairs of all listeners. One that cannot be read costs its listener only.
func (l *Listeners) newTLSTable(s *route.Snapshot) *tlsTable {
	t := &tlsTable{snapshot: s, configs: map[*route.Listener]*tls.Config{}}
	for i := range s.Listeners {
		listener := &s.Listeners[i]
		if listener.TLS == nil || listener.TLS.Passthrough {
			continue
		}
		c, err := l.newTLSConfig(listener)
		if err != nil {
			l.cfg.Log.Error("listener refuses handshakes", "gateway", listener.Gateway, "listener", listener.Name, "error", err)
			continue
		}
		t.configs[listener] = c
	}
	return t
}

func (l *Listeners) newTLSConfig(listener *route.Listener) (*tls.Config, error) {
	if l.cfg.Keys == nil {
		return nil, errors.New("gateway: this gateway has no key pairs for listeners")
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if listener.Protocol == route.ProtocolHTTPS {
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	for _, name := range listener.TLS.Certificates {
		pair, err := l.cfg.Keys.KeyPair(name)
		if err != nil {
			return nil, fmt.Errorf("gateway: certificate %s: %w", name, err)
		}
		c.Certificates = append(c.Certificates, *pair)
	}
	if len(listener.TLS.ClientCAs) == 0 {
		return c, nil
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	for _, bundle := range listener.TLS.ClientCAs {
		if !c.ClientCAs.AppendCertsFromPEM([]byte(bundle)) {
			return nil, errors.New("gateway: a CA bundle for client certificates holds none; store it again")
		}
	}
	if listener.TLS.ClientOptional {
		// AllowInsecureFallback (GEP-91): whoever comes is let in, and what was not verified proves nothing. So nothing is
		// asked for: a certificate that is shown all the same would stand beside the verified ones of other listeners.
		c.ClientAuth = tls.NoClientCert
	}
	return c, nil
}

// errNoListener ends a handshake for a name that no listener has.
var errNoListener = errors.New("no listener has this server name")

// config is what a client's hello is answered with.
func (t *tlsTable) config(port int, hello *tls.ClientHelloInfo) (*tls.Config, error) {
	listener := t.snapshot.Secure(port, serverName(hello.ServerName))
	if listener == nil {
		return nil, errNoListener
	}
	if c := t.configs[listener]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("listener %s of %s cannot end TLS", listener.Name, listener.Gateway)
}

// secure takes the connections of a port where TLS is spoken: those for HTTPS listeners come out of Accept, once the
// handshake is done; those for TLSRoutes are served beside it. ctx ends with the port.
func (l *Listeners) secure(ctx context.Context, port int, socket net.Listener, streams *sync.WaitGroup) net.Listener {
	s := &secureListener{Listener: socket, l: l, port: port, ctx: ctx, streams: streams, accepted: make(chan net.Conn), ended: make(chan struct{})}
	l.servers.Go(s.run)
	return s
}

// secureListener sorts connections by the server name of their hello.
type secureListener struct {
	net.Listener
	l        *Listeners
	port     int
	ctx      context.Context
	streams  *sync.WaitGroup // what a drain waits for
	accepted chan net.Conn
	ended    chan struct{} // no more is accepted
	err      error         // why; set before ended is closed
	once     sync.Once
}

// Accept returns a connection of an HTTPS listener, its handshake done.
func (s *secureListener) Accept() (net.Conn, error) {
	select {
	case c := <-s.accepted:
		return c, nil
	case <-s.ended:
		return nil, s.err
	}
}

func (s *secureListener) run() {
	var sorting sync.WaitGroup
	defer sorting.Wait()
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			s.once.Do(func() { s.err = err; close(s.ended) })
			return
		}
		sorting.Go(func() { s.sort(c) })
	}
}

// sort reads a connection's hello and hands it on.
func (s *secureListener) sort(c net.Conn) {
	stop := context.AfterFunc(s.ctx, func() { _ = c.Close() }) // a client that says nothing holds up no end
	peeked, name, err := peekHello(c, s.l.cfg.Gateway.cfg.Edges.HeadTime)
	stop()
	if err != nil {
		_ = c.Close()
		return
	}
	table := s.l.tls.Load()
	listener := table.snapshot.Secure(s.port, serverName(name))
	switch {
	case listener == nil:
		refuseName(peeked)
	case listener.Protocol == route.ProtocolTLS:
		// Streams are counted as handlers, and last until their ends or the end of the drain time.
		s.l.handlers.Add(1)
		defer s.l.handlers.Done()
		s.streams.Add(1)
		defer s.streams.Done()
		s.l.stream(s.ctx, peeked, table, listener, serverName(name))
	default:
		s.deliver(peeked, table)
	}
}

// deliver makes the handshake and hands the connection to the server.
func (s *secureListener) deliver(c net.Conn, table *tlsTable) {
	secured := tls.Server(c, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return table.config(s.port, hello)
	}})
	ctx, cancel := context.WithTimeout(s.ctx, s.l.cfg.Gateway.cfg.Edges.HeadTime)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return
	}
	out := net.Conn(secured)
	if state := secured.ConnectionState(); state.NegotiatedProtocol != "h2" {
		out = judge(secured, s.l.cfg.Gateway.cfg.Edges, &state)
	}
	select {
	case s.accepted <- out:
	case <-s.ended:
		_ = c.Close()
	}
}

// refuseName answers a hello that no listener is for, as RFC 6066 §3 says, and closes.
func refuseName(c net.Conn) {
	// crypto/tls sends unrecognized_name for no error; the alert, fatal, is written here: record type 21, TLS 1.2.
	_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 112})
	_ = c.Close()
}

// serverName is in the form that Decide compares; a name that is an address is none (RFC 6066 §3).
func serverName(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if net.ParseIP(name) != nil {
		return ""
	}
	return name
}
