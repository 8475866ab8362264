package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/gateway/route"
)

// ListenersConfig says where the HTTP listeners of a snapshot are bound. Gateway is required; zero fields mean what
// stands in brackets.
type ListenersConfig struct {
	Gateway *Gateway
	// Address that all listeners bind to ["127.0.0.1"].
	Address string
	// Ports maps a listener's port to the one bound [itself]; 0: any free one, see Listeners.Addresses.
	Ports map[int]int
	// DrainTime is what requests under way get when a listener closes [30s].
	DrainTime time.Duration
	// Keys has the key pairs that HTTPS and TLS listeners name. nil: there are none, and such listeners refuse handshakes.
	Keys Keys
	// Streams dials the Services of TLSRoutes; endpoint.Endpoint is one. nil: such streams are refused.
	Streams Streams
	// OnChange is told each time a listener was opened or closed, or could not be opened. It must not block. nil: nobody.
	OnChange func()
	Log      *slog.Logger // [slog.Default]
}

// Keys returns key pairs by name ("namespace/name", route.ListenerTLS.Certificates). Implementations are safe for concurrent
// use.
type Keys interface {
	KeyPair(name string) (*tls.Certificate, error)
}

// Streams dials a Service for a stream that is not HTTP; endpoint.Endpoint is one. Safe for concurrent use.
type Streams interface {
	DialService(ctx context.Context, b *route.Backend) (net.Conn, error)
}

// Listeners binds the HTTP listeners of the snapshots that a Gateway serves: it opens and closes them as the snapshot
// changes and keeps the others. HTTP/1.1 and HTTP/2 come in, in the clear (with prior knowledge) or over TLS, and TLS
// streams of TLSRoutes; HTTPS and TLS listeners may share a port. Safe for concurrent use.
type Listeners struct {
	cfg ListenersConfig

	mu     sync.Mutex
	open   map[int]*listener
	failed map[int]error
	tls    atomic.Pointer[tlsTable] // of the snapshot that is served

	// What Run waits for, in this order: the servers, then their connections, then the handlers on them, which
	// http.Server.Close leaves behind. Each begins only while one of the kind before is alive.
	servers, conns, handlers sync.WaitGroup
}

// listener is one bound port.
type listener struct {
	secure bool
	server *http.Server
	cut    context.CancelFunc // of the requests that are left, streams behind a 101 among them
	// requests in the handler, and streams of TLSRoutes: net/http forgets those whose connection became a stream.
	requests *sync.WaitGroup
	socket   net.Listener
	address  netip.AddrPort
}

const (
	defaultDrainTime = 30 * time.Second
	rebindEvery      = 5 * time.Second
)

// NewListeners binds nothing before Run.
func NewListeners(cfg ListenersConfig) (*Listeners, error) {
	if cfg.Gateway == nil {
		return nil, errors.New("gateway: ListenersConfig.Gateway is nil; give the gateway whose snapshot is served")
	}
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1"
	}
	if _, err := netip.ParseAddr(cfg.Address); err != nil {
		return nil, fmt.Errorf("gateway: listen address %q is no IP address; write for example 127.0.0.1", cfg.Address)
	}
	if cfg.DrainTime == 0 {
		cfg.DrainTime = defaultDrainTime
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Listeners{cfg: cfg, open: map[int]*listener{}, failed: map[int]error{}}, nil
}

// Addresses that are bound now, by the port of the listener in the snapshot.
func (l *Listeners) Addresses() map[int]netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[int]netip.AddrPort, len(l.open))
	for port, o := range l.open {
		out[port] = o.address
	}
	return out
}

// Problems are the listeners that could not be bound, by port. Each is tried again every five seconds.
func (l *Listeners) Problems() map[int]error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.failed)
}

// Run follows the snapshots until ctx is done. It then stops accepting, lets requests under way finish for DrainTime,
// cuts what is left, and returns nil when all of it has stopped. A port that cannot be bound costs only itself.
func (l *Listeners) Run(ctx context.Context) error {
	defer l.cfg.Gateway.Close()
	defer l.handlers.Wait()
	defer l.conns.Wait()
	defer l.servers.Wait()
	defer l.follow(nil)
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		snapshot, changed := l.cfg.Gateway.served()
		l.tls.Store(l.newTLSTable(snapshot)) // before a port opens that needs it
		l.follow(ports(snapshot))
		var retry <-chan time.Time
		if len(l.Problems()) > 0 {
			again.Reset(rebindEvery)
			retry = again.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry:
		}
	}
}

// place is a port, and whether TLS is spoken there.
type place struct {
	port   int
	secure bool
}

// ports that a snapshot wants open. Translate lets one port speak TLS or not, not both.
func ports(s *route.Snapshot) []place {
	var out []place
	for i := range s.Listeners {
		p := place{s.Listeners[i].Port, s.Listeners[i].Protocol != route.ProtocolHTTP}
		if s.Listeners[i].Protocol != route.ProtocolTunnel && !slices.ContainsFunc(out, func(o place) bool { return o.port == p.port }) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b place) int { return a.port - b.port })
	return out
}

// follow closes what is not wanted any more, then opens what is new: a port may move from one listener to another.
func (l *Listeners) follow(wanted []place) {
	l.mu.Lock()
	changed := false
	for port, o := range l.open {
		if !slices.Contains(wanted, place{port, o.secure}) {
			delete(l.open, port)
			l.drain(o)
			changed = true
		}
	}
	for port := range l.failed {
		if !slices.ContainsFunc(wanted, func(p place) bool { return p.port == port }) {
			delete(l.failed, port)
			changed = true
		}
	}
	for _, p := range wanted {
		port := p.port
		if l.open[port] != nil {
			continue
		}
		o, err := l.bind(port, p.secure)
		if err != nil {
			if l.failed[port] == nil {
				l.cfg.Log.Error("listener not bound; trying again", "port", port, "every", rebindEvery, "error", err)
				changed = true
			}
			l.failed[port] = err
			continue
		}
		delete(l.failed, port)
		l.open[port] = o
		changed = true
	}
	l.mu.Unlock()
	if changed && l.cfg.OnChange != nil {
		l.cfg.OnChange()
	}
}

// bind opens a port and serves it. The lock is held.
func (l *Listeners) bind(port int, secure bool) (*listener, error) {
	bound, mapped := l.cfg.Ports[port]
	if !mapped {
		bound = port
	}
	socket, err := net.Listen("tcp", net.JoinHostPort(l.cfg.Address, strconv.Itoa(bound)))
	if err != nil {
		return nil, fmt.Errorf("gateway: listener on port %d: %w; free the port, or map it to another one under bind.ports", port, err)
	}
	edges := l.cfg.Gateway.cfg.Edges
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(secure)
	protocols.SetUnencryptedHTTP2(!secure)
	in := intake{protocol: route.ProtocolHTTP, port: port}
	if secure {
		in.protocol = route.ProtocolHTTPS
	}
	workload := tlsState(l.cfg.Gateway.workload(in))
	ctx, cut := context.WithCancel(context.Background())
	requests := &sync.WaitGroup{}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l.handlers.Add(1)
			defer l.handlers.Done()
			requests.Add(1)
			defer requests.Done()
			workload.ServeHTTP(w, r)
		}),
		ConnState:         l.count,
		ConnContext:       withConnected,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Protocols:         protocols,
		ReadHeaderTimeout: edges.HeadTime,
		IdleTimeout:       edges.ConnectionIdle,
		MaxHeaderBytes:    edges.HeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: edges.ConnectionStreams, WriteByteTimeout: edges.WriteIdle},
		ErrorLog:          slog.NewLogLogger(l.cfg.Log.Handler(), slog.LevelDebug),
	}
	incoming := net.Listener(newCrowd(socket, edges, l.cfg.Gateway.cfg.Metrics))
	if secure {
		incoming = l.secure(ctx, port, incoming, requests)
	}
	l.servers.Go(func() {
		if err := server.Serve(judging{incoming, edges}); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			l.cfg.Log.Error("listener ended", "port", port, "error", err)
		}
	})
	address := socket.Addr().(*net.TCPAddr).AddrPort()
	return &listener{secure: secure, server: server, cut: cut, requests: requests, socket: socket, address: netip.AddrPortFrom(address.Addr().Unmap(), address.Port())}, nil
}

// count follows the connections of all servers.
func (l *Listeners) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		l.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		l.conns.Done()
	}
}

// drain closes a server in the background: no new connection, "Connection: close" or GOAWAY on the old ones, and the
// axe after DrainTime.
func (l *Listeners) drain(o *listener) {
	// At once, not when the goroutine gets to it: who is told of the change may count on it.
	_ = o.socket.Close()
	o.server.SetKeepAlivesEnabled(false)
	l.servers.Go(func() {
		defer o.cut() // what net/http has let go of ends too
		ctx, cancel := context.WithTimeout(context.Background(), l.cfg.DrainTime)
		defer cancel()
		if err := o.server.Shutdown(ctx); err != nil {
			l.cfg.Log.Warn("requests cut off at the end of the drain time", "address", o.address, "drainTime", l.cfg.DrainTime)
			_ = o.server.Close()
			return
		}
		streams := make(chan struct{})
		go func() {
			defer close(streams)
			o.requests.Wait()
		}()
		select {
		case <-streams:
		case <-ctx.Done():
			l.cfg.Log.Warn("streams cut off at the end of the drain time", "address", o.address, "drainTime", l.cfg.DrainTime)
			o.cut()
			<-streams
		}
	})
}
