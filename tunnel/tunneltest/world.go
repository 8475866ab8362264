package tunneltest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/tunnel"
)

// Option of a World.
type Option func(*options)

type options struct {
	latency time.Duration
	loss    float64
	seed    uint64
	hubs    int
	handler http.Handler
	server  func(*tunnel.ServerConfig)
}

// Latency of the network in each direction; default 1 ms.
func Latency(d time.Duration) Option { return func(o *options) { o.latency = d } }

// Loss drops this share of the packets in each direction, as seed says.
func Loss(share float64, seed uint64) Option {
	return func(o *options) { o.loss, o.seed = share, seed }
}

// Hubs is how many there are at start; default 1. They are called hub-a, hub-b ...
func Hubs(n int) Option { return func(o *options) { o.hubs = n } }

// Handler of all hubs for everything but control exchanges; default: Echo.
func Handler(h http.Handler) Option { return func(o *options) { o.handler = h } }

// Server changes the config of all hubs.
func Server(f func(*tunnel.ServerConfig)) Option { return func(o *options) { o.server = f } }

// World is hubs, spokes and the network between them. It must be made in a synctest bubble, and is taken down by the
// test's cleanup.
type World struct {
	CA   *CA
	Hubs []*Hub

	t    testing.TB
	opts options
	net  *network
	port atomic.Uint32
}

// New makes a world whose hubs are up.
func New(t testing.TB, opts ...Option) *World {
	t.Helper()
	o := options{latency: time.Millisecond, hubs: 1, handler: Echo}
	for _, opt := range opts {
		opt(&o)
	}
	w := &World{CA: NewCA(t, ""), t: t, opts: o, net: newNetwork(o.latency, o.loss, o.seed)}
	for i := range o.hubs {
		w.StartHub(t, "hub-"+string(rune('a'+i)))
	}
	return w
}

// Echo answers 200 with the content of the request; without content, with its path.
var Echo http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(w, r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if n == 0 {
		_, _ = io.WriteString(w, r.URL.Path) // the spoke may be gone
	}
})

// Hub is one hub replica of a World.
type Hub struct {
	*tunnel.Server
	tunnel.Hub
	Identity *Identity

	world *World
	addr  netip.AddrPort
	stop  context.CancelFunc
	ended chan struct{}
}

// StartHub adds a hub.
func (w *World) StartHub(t testing.TB, name string) *Hub {
	t.Helper()
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(len(w.Hubs) + 1)}), 8443)
	h := &Hub{
		Hub:      tunnel.Hub{Name: name, Address: addr.String()},
		Identity: w.CA.Identity(w.CA.HubID("hubs"), Leaf{Instance: name}),
		world:    w, addr: addr,
	}
	w.Hubs = append(w.Hubs, h)
	h.Start(t)
	return h
}

// Start serves at the hub's address, again after Kill or Stop: a new process with the same name and address.
func (h *Hub) Start(t testing.TB) {
	t.Helper()
	w := h.world
	cfg := tunnel.ServerConfig{Identity: h.Identity, Log: slog.New(slog.DiscardHandler)}
	var srv *tunnel.Server
	cfg.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Host == tunnel.ControlAuthority {
			control(srv, rw, r)
			return
		}
		w.opts.handler.ServeHTTP(rw, r)
	})
	if w.opts.server != nil {
		w.opts.server(&cfg)
	}
	srv, err := tunnel.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.net.setCut(h.addr.Addr(), false)
	pc := w.net.listen(h.addr)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	h.Server, h.stop, h.ended = srv, cancel, ended
	go func() {
		defer close(ended)
		if err := srv.Serve(ctx, pc); err != nil {
			t.Errorf("hub %s: %v", h.Name, err)
		}
		pc.Close()
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

// Kill is kill -9: nothing the hub would still say reaches anybody. It returns when the handlers have returned.
func (h *Hub) Kill() {
	h.world.net.setCut(h.addr.Addr(), true)
	h.stop()
	<-h.ended
}

// Stop ends the hub at once, closing its connections.
func (h *Hub) Stop() {
	h.stop()
	<-h.ended
}

// Partition drops all packets from and to this hub until Heal.
func (h *Hub) Partition() { h.world.net.setCut(h.addr.Addr(), true) }

// Heal ends Partition.
func (h *Hub) Heal() { h.world.net.setCut(h.addr.Addr(), false) }

// Partition drops all packets until Heal.
func (w *World) Partition() { w.net.setAll(true) }

// Heal ends Partition.
func (w *World) Heal() { w.net.setAll(false) }

// Listen makes a socket in the world's network, for a test that plays an end of a tunnel itself.
func (w *World) Listen(addr netip.AddrPort) net.PacketConn { return w.net.listen(addr) }

// Addresses of all hubs.
func (w *World) Addresses() []tunnel.Hub {
	hubs := make([]tunnel.Hub, len(w.Hubs))
	for i, h := range w.Hubs {
		hubs[i] = h.Hub
	}
	return hubs
}

// Paths of the control exchanges that hubs and spokes of a World make.
const (
	pathHello = "/v1/hello"
	pathWatch = "/v1/watch"
)

// control answers what a World's spokes ask: hello, and a watch whose only events are a byte at its start and one for
// drain.
func control(srv *tunnel.Server, w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != pathWatch {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	say := func(what string) {
		if _, err := io.WriteString(w, what); err == nil {
			w.(http.Flusher).Flush()
		}
	}
	say("w")
	select {
	case <-srv.Draining():
		say("d")
		<-r.Context().Done()
	case <-r.Context().Done():
	}
}

// Spoke is a started Client.
type Spoke struct {
	*tunnel.Client
	Identity *Identity

	lanes int
	stop  context.CancelFunc
	done  chan struct{}
}

// Config is that of a spoke of cluster name; a test changes it before Start.
func (w *World) Config(name string) (tunnel.ClientConfig, *Identity) {
	id := w.CA.Spoke(name)
	spoke := netip.AddrFrom4([4]byte{10, 1, 0, 1})
	cfg := tunnel.ClientConfig{
		Identity: id,
		Log:      slog.New(slog.DiscardHandler),
		Open: func(ctx context.Context, _ tunnel.Hub, rt http.RoundTripper) error {
			res, err := controlGet(ctx, rt, pathHello)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusNoContent {
				return fmt.Errorf("hello: %s", res.Status)
			}
			return nil
		},
		ListenPacket: func() (net.PacketConn, error) {
			const firstPort = 1024
			return w.net.listen(netip.AddrPortFrom(spoke, uint16(firstPort+w.port.Add(1)))), nil
		},
		Resolve: func(_ context.Context, address string) (net.Addr, error) {
			addr, err := netip.ParseAddrPort(address)
			if err != nil {
				return nil, err
			}
			return net.UDPAddrFromAddrPort(addr), nil
		},
	}
	return cfg, id
}

// Start runs a Client with that config, told of all hubs, and a watch as its Session if it has none. It returns when the
// tunnels are up, or after the time that they need in a network without faults.
func (w *World) Start(t testing.TB, cfg tunnel.ClientConfig) *Spoke {
	t.Helper()
	s := &Spoke{lanes: max(1, cfg.Lanes), done: make(chan struct{})}
	if cfg.Session == nil {
		cfg.Session = func(ctx context.Context, hub tunnel.Hub, rt http.RoundTripper) error {
			return watch(ctx, rt, func() { s.Drain(hub.Name) })
		}
	}
	client, err := tunnel.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Client = client
	client.SetHubs(w.Addresses())
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() {
		defer close(s.done)
		if err := client.Run(ctx); err != nil {
			t.Errorf("Client.Run: %v", err)
		}
	}()
	t.Cleanup(s.Stop)
	for range rounds {
		time.Sleep(w.opts.latency + time.Millisecond)
		if s.up() {
			break
		}
	}
	synctest.Wait()
	return s
}

// rounds of the latency that a tunnel gets to come up: handshake, hello, and again after a lost packet.
const rounds = 50

// up reports whether every lane to every hub is there.
func (s *Spoke) up() bool {
	for _, hub := range s.Status() {
		if hub.State != "ready" || hub.Lanes < s.lanes {
			return false
		}
	}
	return true
}

// Dial runs a Client for a spoke of cluster name; see Start.
func (w *World) Dial(t testing.TB, name string) *Spoke {
	t.Helper()
	cfg, id := w.Config(name)
	s := w.Start(t, cfg)
	s.Identity = id
	return s
}

// Stop ends the Client's Run and waits for it.
func (s *Spoke) Stop() {
	s.stop()
	<-s.done
}

func controlGet(ctx context.Context, rt http.RoundTripper, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+tunnel.ControlAuthority+path, nil)
	if err != nil {
		return nil, err
	}
	return rt.RoundTrip(req)
}

// watch reads events until the connection ends.
func watch(ctx context.Context, rt http.RoundTripper, drain func()) error {
	res, err := controlGet(ctx, rt, pathWatch)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var event [1]byte
	for {
		if _, err := io.ReadFull(res.Body, event[:]); err != nil {
			return err
		}
		if event[0] == 'd' {
			drain()
		}
	}
}
