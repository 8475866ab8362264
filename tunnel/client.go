package tunnel

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/tunnel/bhttp"
)

// Defaults of ClientConfig.
const (
	defaultLanes       = 1
	defaultDialTimeout = 3 * time.Second
	defaultStreamWait  = 100 * time.Millisecond
	defaultPing        = time.Second
	// maxLanes per hub (DESIGN.md, Lanes).
	maxLanes = 64
)

// ClientConfig of a Client. Identity and Session are required.
type ClientConfig struct {
	Identity Identity
	// Open runs the first control exchange of each connection; the connection takes requests once it returned nil.
	// A non-nil error closes the connection; P1 holds for what waited on it. nil: any answer to OPTIONS * will do.
	Open func(ctx context.Context, hub Hub, rt http.RoundTripper) error
	// Session runs for the life of the first connection to each hub (the watch). ctx ends with the connection, and
	// when its last request has ended after Drain; the connection then lasts until Session returns, at most
	// DialTimeout. When it returns the connection is drained and, unless ctx is done, dialed again. One Session per
	// hub runs at a time.
	Session func(ctx context.Context, hub Hub, rt http.RoundTripper) error
	// ListenPacket makes the client's socket; nil: an UDP socket of the system.
	ListenPacket func() (net.PacketConn, error)
	// Resolve turns "host:port" into an address; nil: the system's resolver.
	Resolve func(ctx context.Context, address string) (net.Addr, error)
	Log     *slog.Logger // nil: slog.Default
	Limits  bhttp.Limits
	// Lanes are the QUIC connections per hub [1], at most 64.
	Lanes int
	// DialTimeout of one handshake with its first control exchange [3s]; StreamWait for a free stream [100ms];
	// MaxIdle as in ServerConfig [15s]; Ping interval after whose double silence a hub is suspect and gets no new
	// request [1s].
	DialTimeout, StreamWait, MaxIdle, Ping time.Duration
	// Rand is for backoff jitter, [0,1); nil: math/rand/v2.
	Rand func() float64
	// Now is for tests of expiry; nil: time.Now.
	Now func() time.Time
}

func (cfg *ClientConfig) setDefaults() error {
	if cfg.Identity == nil || cfg.Session == nil {
		return errors.New("tunnel: client config lacks Identity or Session")
	}
	if cfg.Lanes > maxLanes {
		return errors.New("tunnel: client config has more than 64 lanes per hub")
	}
	orDefault(&cfg.Lanes, defaultLanes)
	orDefault(&cfg.DialTimeout, defaultDialTimeout)
	orDefault(&cfg.StreamWait, defaultStreamWait)
	orDefault(&cfg.MaxIdle, defaultMaxIdle)
	orDefault(&cfg.Ping, defaultPing)
	if cfg.Open == nil {
		cfg.Open = openByOptions
	}
	if cfg.ListenPacket == nil {
		cfg.ListenPacket = func() (net.PacketConn, error) { return net.ListenUDP("udp", nil) }
	}
	if cfg.Resolve == nil {
		cfg.Resolve = resolve
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return nil
}

func orDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Client is the spoke's end: a tunnel to every hub it is told of. It is safe for concurrent use.
type Client struct {
	cfg    ClientConfig
	tls    *tlsConfigs
	counts clientCounts
	turn   atomic.Uint32 // so that ties are spread

	mu      sync.Mutex
	run     context.Context // of Run; nil: not running
	wg      sync.WaitGroup
	hubs    []Hub
	running map[Hub]*link
	changed chan struct{} // closed and replaced whenever a lane comes or goes, or a dial ends

	links atomic.Pointer[[]*link] // of hubs, sorted by name; never changed after Store
}

// ClientStats counts since the start of a Client. Dials are handshakes begun, Streams opened; Exchanges had their head
// written (B.5: wire attempts).
type ClientStats struct{ Dials, Streams, Exchanges uint64 }

type clientCounts struct{ dials, streams, exchanges atomic.Uint64 }

// NewClient checks the config. It dials nothing before Run.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg,
		tls: &tlsConfigs{verifier: verifier{
			identity: cfg.Identity, accept: []Role{RoleHub}, usage: x509.ExtKeyUsageServerAuth, now: cfg.Now,
		}},
		running: make(map[Hub]*link),
		changed: make(chan struct{}),
	}
	c.links.Store(new([]*link))
	return c, nil
}

// Run keeps tunnels to all hubs until ctx is done; it then closes them after their last exchange, at most DialTimeout,
// and returns nil. It may be called once.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.run != nil {
		c.mu.Unlock()
		return errors.New("tunnel: Client.Run called twice")
	}
	c.run = ctx
	c.reconcile()
	c.mu.Unlock()
	c.watchHealth(ctx)
	c.mu.Lock()
	c.links.Store(new([]*link))
	c.notify()
	c.mu.Unlock()
	c.wg.Wait()
	return nil
}

// SetHubs replaces the hubs; tunnels to those that are gone drain. A hub whose address changed is another hub. It may be
// called before Run.
func (c *Client) SetHubs(hubs []Hub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hubs = slices.Clone(hubs)
	slices.SortFunc(c.hubs, func(a, b Hub) int {
		return strings.Compare(a.Name+"\x00"+a.Address, b.Name+"\x00"+b.Address)
	})
	c.hubs = slices.CompactFunc(c.hubs, func(a, b Hub) bool { return a == b })
	c.reconcile()
}

// reconcile starts and ends links so that they are those of hubs. With mu held.
func (c *Client) reconcile() {
	if c.run == nil || c.run.Err() != nil {
		return
	}
	links := make([]*link, 0, len(c.hubs))
	wanted := make(map[Hub]bool, len(c.hubs))
	for _, hub := range c.hubs {
		wanted[hub] = true
		l := c.running[hub]
		if l == nil {
			l = newLink(c, hub)
			c.running[hub] = l
			l.start(c.run)
		}
		links = append(links, l)
	}
	for hub, l := range c.running {
		if !wanted[hub] {
			l.stop()
			delete(c.running, hub)
		}
	}
	c.links.Store(&links)
	c.notify()
}

// notify wakes who waits for a lane. With mu held.
func (c *Client) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Client) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notify()
}

func (c *Client) changes() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Drain marks the connections to a hub as draining (the hub's drain event on the watch): they get no new request and are
// closed after their last one. The hub is dialed again, for it may come back.
func (c *Client) Drain(hub string) {
	for _, l := range *c.links.Load() {
		if l.hub.Name == hub {
			l.drain()
		}
	}
}

// Stats since the start.
func (c *Client) Stats() ClientStats {
	return ClientStats{
		Dials: c.counts.dials.Load(), Streams: c.counts.streams.Load(), Exchanges: c.counts.exchanges.Load(),
	}
}

func resolve(ctx context.Context, address string) (net.Addr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	ip := ips[rand.IntN(len(ips))] // behind one shared name every replica is met in time
	return &net.UDPAddr{IP: ip.Unmap().AsSlice(), Port: n, Zone: ip.Zone()}, nil
}
