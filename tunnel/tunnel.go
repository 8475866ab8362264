package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"time"

	"penstock.dev/penstock/tunnel/bhttp"
)

// ALPN is the protocol version. Within it a meaning never changes.
const ALPN = "penstock/1"

// ControlAuthority is the authority of control requests; they are decided before all else and never forwarded.
const ControlAuthority = "hub.penstock.internal"

// Role of a gateway in its certificate.
type Role string

// The roles.
const (
	RoleSpoke Role = "spoke"
	RoleHub   Role = "hub"
)

// ID is a gateway group's SPIFFE identity: spiffe://<trust-domain>/cluster/<cluster>/gateway/<group> (spoke) or
// spiffe://<trust-domain>/hub/<group> (hub, no cluster).
type ID struct {
	TrustDomain string
	Role        Role
	Cluster     string
	Group       string
}

// ParseID parses a SPIFFE id of one of the two forms.
func ParseID(uri string) (ID, error) { panic("todo") }

// String is the SPIFFE URI.
func (id ID) String() string { panic("todo") }

// Peer is the other end of a tunnel as its certificate proves it.
type Peer struct {
	ID
	// Instance is the Subject serialNumber: one process.
	Instance string
	// Serial of the certificate in lower-case hex.
	Serial string
	// NotAfter of the certificate.
	NotAfter time.Time
}

// PeerFrom returns the peer whose tunnel a request came in on.
func PeerFrom(ctx context.Context) (Peer, bool) { panic("todo") }

// Identity is a gateway's own certificate and whom it trusts. Both change while it runs; implementations are safe for
// concurrent use.
type Identity interface {
	// Certificate to show now.
	Certificate() (*tls.Certificate, error)
	// Roots to trust now. A new pool value means a new trust bundle version, and a new tls.Config.
	Roots() *x509.CertPool
	// Admit has the last word on a peer whose chain and role are good: revoked, suspended, locked. It may block for a
	// few milliseconds, not longer.
	Admit(Peer) error
}

// ServerConfig of a Server. Identity and Handler are required.
type ServerConfig struct {
	Identity Identity
	// Handler of every exchange, control ones too; http.ErrAbortHandler resets the stream with `cancelled`.
	Handler http.Handler
	// Accept are the roles let in; nil: spoke and hub.
	Accept []Role
	Log    *slog.Logger
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

// Server is the hub's end of tunnels.
type Server struct{}

// NewServer checks the config.
func NewServer(cfg ServerConfig) (*Server, error) { panic("todo") }

// Serve accepts tunnels on pc until ctx is done or Drain has finished, then closes everything and returns. It does not
// close pc.
func (s *Server) Serve(ctx context.Context, pc net.PacketConn) error { panic("todo") }

// Drain begins the drain of B.1: Draining() closes at once so that watches can send the event; from 1 RTT + 250 ms on
// new exchanges are answered with `rejected`, control exchanges excepted; it returns when no exchange is left or DrainTime has
// passed, and Serve then returns.
func (s *Server) Drain(ctx context.Context) { panic("todo") }

// Draining is closed when Drain begins.
func (s *Server) Draining() <-chan struct{} { panic("todo") }

// Cut closes, at once, the connections of all peers for which gone is true: revocation.
func (s *Server) Cut(gone func(Peer) bool) (n int) { panic("todo") }

// Peers that are connected, one entry per connection.
func (s *Server) Peers() []Peer { panic("todo") }

// Hub is one hub replica as it advertises itself.
type Hub struct {
	// Name of the replica: its instance id or host name, for status and logs.
	Name string `json:"name"`
	// Address "host:port" (UDP).
	Address string `json:"address"`
	Zone    string `json:"zone,omitempty"`
}

// ClientConfig of a Client. Identity and Session are required.
type ClientConfig struct {
	Identity Identity
	// Open runs the first control exchange of each connection; the connection takes requests once it returned nil.
	// A non-nil error closes the connection; P1 holds for what waited on it.
	Open func(ctx context.Context, hub Hub, rt http.RoundTripper) error
	// Session runs for the life of the first connection to each hub (the watch). ctx ends with the connection. When
	// it returns the connection is drained and, unless ctx is done, dialed again.
	Session func(ctx context.Context, hub Hub, rt http.RoundTripper) error
	// ListenPacket makes the client's socket; nil: an UDP socket of the system.
	ListenPacket func() (net.PacketConn, error)
	// Resolve turns "host:port" into an address; nil: the system's resolver.
	Resolve func(ctx context.Context, address string) (net.Addr, error)
	Log     *slog.Logger
	Limits  bhttp.Limits
	// Lanes are the QUIC connections per hub [1].
	Lanes int
	// DialTimeout of one handshake with its first control exchange [3s]; StreamWait for a free stream [100ms];
	// MaxIdle as in ServerConfig [15s]; Ping interval after whose double silence a hub is suspect and gets no new
	// request [1s].
	DialTimeout, StreamWait, MaxIdle, Ping time.Duration
	// Rand is for backoff jitter, [0,1); nil: math/rand/v2.
	Rand func() float64
	Now  func() time.Time
}

// Client is the spoke's end: a tunnel to every hub it is told of.
type Client struct{}

// NewClient checks the config. It dials nothing before Run.
func NewClient(cfg ClientConfig) (*Client, error) { panic("todo") }

// Run keeps tunnels to all hubs until ctx is done; it then closes them after their last exchange, at most DialTimeout.
func (c *Client) Run(ctx context.Context) error { panic("todo") }

// SetHubs replaces the hubs; tunnels to those that are gone drain.
func (c *Client) SetHubs(hubs []Hub) { panic("todo") }

// RoundTrip makes one try on the hub with the least outstanding exchanges, never a second one: gateway/retry decides
// about that. It implements http.RoundTripper; errors are *Error.
//
// With Tries in the request's context, hubs that were tried are taken only if there is no other.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) { panic("todo") }

// Drain marks the connections to a hub as draining (the hub's drain event on the watch).
func (c *Client) Drain(hub string) { panic("todo") }

// Status of each hub, sorted by name.
func (c *Client) Status() []HubStatus { panic("todo") }

// HubStatus is one hub as a spoke sees it.
type HubStatus struct {
	Hub
	// State: connecting, ready, suspect, draining, failed.
	State       string        `json:"state"`
	Lanes       int           `json:"lanes"`
	Outstanding int           `json:"outstanding"`
	RTT         time.Duration `json:"rtt"`
	// Error of the last dial, with state failed or connecting.
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since"`
}

// Tries remembers, over the tries of one request, which hubs were used. Not safe for concurrent use.
type Tries struct {
	// Elsewhere: the next try must not use a hub that was tried (P5); with no other, the error is ErrNoOther.
	Elsewhere bool
}

// WithTries puts t into ctx.
func WithTries(ctx context.Context, t *Tries) context.Context { panic("todo") }
