package tunnel

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"penstock.dev/penstock/tunnel/bhttp"
)

// Defaults of ServerConfig and ClientConfig.
const (
	defaultMaxStreams = 1024
	defaultMaxIdle    = 15 * time.Second
	defaultDrainTime  = 30 * time.Second
)

// ServerConfig of a Server. Identity and Handler are required.
type ServerConfig struct {
	Identity Identity
	// Handler of every exchange, control ones too; http.ErrAbortHandler resets the stream with `cancelled`. See Server
	// for what its request and writer can do.
	Handler http.Handler
	// Accept are the roles let in; nil: spoke and hub.
	Accept []Role
	Log    *slog.Logger // nil: slog.Default
	Limits bhttp.Limits
	// MaxStreams per connection [1024]; MaxIdle before a silent connection is given up [15s]; DrainTime is the hard
	// deadline of Drain [30s].
	MaxStreams int
	MaxIdle    time.Duration
	DrainTime  time.Duration
	// Connected is told of each connection that comes and goes; it must not block. nil: nobody.
	Connected func(p Peer, up bool)
	// Now is for tests of expiry; nil: time.Now.
	Now func() time.Time
}

// Server is the hub's end of tunnels. It is safe for concurrent use.
//
// A handler sees an HTTP/1.1 request whose Body streams and whose context carries the Peer and ends when the spoke
// cancels, the connection dies or the handler returns. ContentLength is -1 when the spoke did not know it. The writer
// is an http.Flusher; http.ResponseController also finds deadlines. Small answers are kept back and written whole, at
// the latest with 32 KiB; from the first Flush on every Write goes out at once. WriteHeader with 1xx sends an
// informational response; trailers are declared by the Trailer header or http.TrailerPrefix. After WriteHeader(101), or
// a 2xx to CONNECT, Write and Body are the raw bytes of the stream, and the writer's CloseWrite
// ends our direction alone; there is no Hijack.
type Server struct {
	cfg      ServerConfig
	tls      *tlsConfigs
	gate     gate
	half     halfOpen
	counts   serverCounts
	draining chan struct{}
	drain    sync.Once
	life     context.Context // ends when Drain has finished
	end      context.CancelFunc

	mu    sync.Mutex
	conns map[*serverConn]struct{}
	left  chan struct{} // closed and replaced whenever a connection goes
}

// ServerStats counts since the start of a Server.
type ServerStats struct {
	// Exchanges whose handler was started; Rejected ones, whose handler never will be; Malformed heads; Panics of the
	// handler (row 32; http.ErrAbortHandler is none).
	Exchanges, Rejected, Malformed, Panics uint64
}

type serverCounts struct{ exchanges, rejected, malformed, panics atomic.Uint64 }

// NewServer checks the config.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Identity == nil || cfg.Handler == nil {
		return nil, errors.New("tunnel: server config lacks Identity or Handler")
	}
	if cfg.Accept == nil {
		cfg.Accept = []Role{RoleSpoke, RoleHub}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.MaxStreams <= 0 {
		cfg.MaxStreams = defaultMaxStreams
	}
	if cfg.MaxIdle <= 0 {
		cfg.MaxIdle = defaultMaxIdle
	}
	if cfg.DrainTime <= 0 {
		cfg.DrainTime = defaultDrainTime
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Connected == nil {
		cfg.Connected = func(Peer, bool) {}
	}
	s := &Server{
		cfg: cfg,
		tls: &tlsConfigs{verifier: verifier{
			identity: cfg.Identity, accept: cfg.Accept, usage: x509.ExtKeyUsageClientAuth, now: cfg.Now,
		}},
		draining: make(chan struct{}),
		conns:    make(map[*serverConn]struct{}),
		left:     make(chan struct{}),
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Serve accepts tunnels on pc until ctx is done or Drain has finished, then closes everything and returns nil, once the
// last handler has returned. It does not close pc. An error is one of the socket.
func (s *Server) Serve(ctx context.Context, pc net.PacketConn) error {
	tr := &quic.Transport{Conn: pc, VerifySourceAddress: s.half.crowded, ConnContext: s.admit}
	defer tr.Close()
	ln, err := tr.Listen(s.tls.server(), &quic.Config{
		HandshakeIdleTimeout:  handshakeTimeout,
		MaxIdleTimeout:        s.cfg.MaxIdle,
		MaxIncomingStreams:    int64(s.cfg.MaxStreams),
		MaxIncomingUniStreams: -1,
	})
	if err != nil {
		return fmt.Errorf("tunnel: listen on %s: %w", pc.LocalAddr(), err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := ln.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			} else {
				err = fmt.Errorf("tunnel: accept on %s: %w", pc.LocalAddr(), err)
				cancel()
			}
			return err
		}
		s.half.opened(conn.Context())
		wg.Go(func() { s.serveConn(ctx, conn) })
	}
}

// handshakeTimeout without a packet; twice that in all (quic.Config).
const handshakeTimeout = 5 * time.Second

// errDraining refuses a handshake.
var errDraining = errors.New("tunnel: this hub is draining")

// admit refuses new connections of a draining hub before their handshake: CONNECTION_REFUSED sends the spoke elsewhere
// at once.
func (s *Server) admit(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	select {
	case <-s.draining:
		return nil, errDraining
	default:
		return s.half.begin(ctx), nil
	}
}

// Cut closes, at once, the connections of all peers for which gone is true: revocation. Exchanges on them are reset;
// their handlers see their context end.
func (s *Server) Cut(gone func(Peer) bool) (n int) {
	for _, c := range s.all() {
		if gone(c.peer) {
			c.conn.CloseWithError(closeCut, "not admitted any more")
			n++
		}
	}
	return n
}

// Peers that are connected, one entry per connection, in no order.
func (s *Server) Peers() []Peer {
	conns := s.all()
	peers := make([]Peer, len(conns))
	for i, c := range conns {
		peers[i] = c.peer
	}
	return peers
}

// Stats since the start.
func (s *Server) Stats() ServerStats {
	return ServerStats{
		Exchanges: s.counts.exchanges.Load(), Rejected: s.counts.rejected.Load(),
		Malformed: s.counts.malformed.Load(), Panics: s.counts.panics.Load(),
	}
}

func (s *Server) all() []*serverConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*serverConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

func (s *Server) add(c *serverConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
}

func (s *Server) remove(c *serverConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	close(s.left)
	s.left = make(chan struct{})
}

// connections still there, and a channel that is closed when one of them goes.
func (s *Server) connections() (int, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns), s.left
}
