package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	configv1alpha1 "penstock.dev/penstock/apis/config/v1alpha1"
	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway"
	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/telemetry"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/credential"
	"penstock.dev/penstock/hub/registry"
	"penstock.dev/penstock/manifest"
	"penstock.dev/penstock/manifest/feed"
	"penstock.dev/penstock/tunnel"
)

// startTime bounds everything that must be there before a hub can serve: catalog, CA, keys, first snapshot.
const startTime = 60 * time.Second

// Config of a hub: its file, and where a process writes.
type Config struct {
	configv1alpha1.HubConfig
	// Log takes the hub's log, Access its access log where the file says stdout; JSON lines. Nil: nowhere.
	Log, Access io.Writer
	// Version is shown in status.
	Version string
}

// Run runs a hub until ctx is done: it then turns unready, drains its tunnels and stops. It returns when everything it
// started has stopped.
func Run(ctx context.Context, cfg Config) error {
	h := &hub{cfg: cfg, started: time.Now(), board: newBoard()}
	if cfg.Log == nil {
		h.cfg.Log = io.Discard
	}
	h.log = telemetry.NewLogger(h.cfg.Log, cfg.Observe.LogLevel, cfg.Name)
	if err := h.open(ctx); err != nil {
		return errors.Join(err, h.close())
	}
	return errors.Join(h.run(ctx), h.close())
}

// hub is one running replica.
type hub struct {
	cfg     Config
	log     *slog.Logger
	started time.Time

	store      *store
	catalog    catalog.Catalog
	backing    *backing
	secrets    *credential.Store
	vault      *credential.Vault
	registry   *registry.Registry
	endpoint   *endpoint.Endpoint
	gateway    *gateway.Gateway
	tunnels    *tunnel.Server
	metrics    *telemetry.Metrics
	access     *telemetry.AccessLog
	accessFile io.Closer
	refusals   *telemetry.Refusals
	validator  *manifest.Validator
	feed       *feed.Feed
	board      *board
	reports    reports

	rootsFile sync.Mutex     // held to write ca.crt
	packet    net.PacketConn // the tunnels' socket
	joining   net.Listener
	elected   atomic.Bool
	draining  atomic.Bool
	served    atomic.Pointer[served] // what the last translation gave
	next      *served                // being made by the feed's goroutine
	// translated and rotated wake the status writer.
	translated, rotated chan struct{}
	unacknowledged      chan struct{} // wakes acknowledge
	folderProblems      atomic.Pointer[[]manifest.Problem]
	changedAt, seenAt   atomic.Int64           // revisions: the last change of an object, the last event that was none
	adminAddress        atomic.Pointer[string] // of the TLS listener, once it is bound
}

// open makes everything that needs no goroutine of ours.
func (h *hub) open(ctx context.Context) (err error) {
	if len(h.cfg.Tunnel.Advertise) > 1 {
		return fmt.Errorf("hub: tunnel.advertise has %d addresses; a replica is advertised under one, leave the others out", len(h.cfg.Tunnel.Advertise))
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	h.translated, h.rotated, h.unacknowledged = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	h.refusals = &telemetry.Refusals{}
	h.metrics = telemetry.New(telemetry.Config{})
	if h.access, h.accessFile, err = telemetry.OpenAccessLog(h.cfg.Observe.AccessLog, h.cfg.Access, h.metrics); err != nil {
		return err
	}
	if err := os.MkdirAll(h.cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("hub: stateDir: %w", err)
	}
	if h.validator, err = manifest.NewValidator(); err != nil {
		return err
	}
	ring, err := credential.OpenKeyring(h.cfg.Keyring.File)
	if err != nil {
		return err
	}
	if h.backing, err = openBacking(ctx, h.cfg.HubConfig, h.log); err != nil {
		return err
	}
	h.catalog = h.backing.catalog
	objects := catalog.NewObjects(h.catalog)
	h.store = &store{objects: objects, sealer: ring}
	h.secrets = credential.NewStore(h.catalog, ring)
	h.vault = credential.NewVault(h.catalog, ring, h.log)
	h.vault.Changed(func(ref, _ string) {
		h.metrics.Rotated(ref)
		h.wakeWriter(h.rotated)
	})
	h.registry, err = registry.New(ctx, registry.Config{
		Catalog: h.catalog, Sealer: ring, Objects: objects, TrustDomain: h.cfg.TrustDomain, Name: h.cfg.Name,
		Life: h.cfg.Join.CertificateLife.Duration, RecoverWindow: h.cfg.Join.RecoverWindow.Duration,
		JoinAddresses: h.joinAddresses, Pseudonym: func(group string) string { return h.hopKeys().Pseudonym(group) },
		Elected: h.elected.Load, Connected: h.connected, Log: h.log,
	})
	if err != nil {
		return err
	}
	keys := h.hopKeys()
	if keys == nil {
		return errors.New("hub: the trust domain's keys cannot be read; give this replica the key ring of the others (keyring.file)")
	}
	if h.endpoint, err = endpoint.New(endpoint.Config{
		Credentials: credentials{h.vault}, Keys: h, Hosts: h.cfg.Resolver.Addresses(), Servers: h.cfg.Resolver.Servers, Own: h.ownAddresses, Log: h.log,
	}); err != nil {
		return err
	}
	if h.tunnels, err = tunnel.NewServer(tunnel.ServerConfig{
		Identity: h.registry, Log: h.log, DrainTime: h.cfg.Tunnel.DrainTime.Duration,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.gateway.Tunnel().ServeHTTP(w, r) }),
	}); err != nil {
		return err
	}
	limits, edges := gateway.LimitsOf(h.cfg.Limits)
	h.gateway, err = gateway.New(gateway.Config{
		Name: h.cfg.Name, Self: h.self(keys), Limits: limits, Edges: edges, Endpoint: h.endpoint,
		Control: (&controller{
			hello: h.hello, board: h.board, draining: h.tunnels.Draining(), renew: h.registry.Renew, gone: h.registry.Gone,
			reports: &h.reports, refused: h.refusals.Add, log: h.log,
		}).handler(),
		Log: h.log, Metrics: h.metrics, AccessLog: h.access, Refusals: h.refusals,
	})
	if err != nil {
		return err
	}
	h.feed, err = feed.New(feed.Config{
		Sources: []string{catalogSource}, Options: h.options(), Use: h.use, Report: h.report,
	})
	if err != nil {
		return err
	}
	return h.listen(ctx)
}

// options of each translation.
func (h *hub) options() manifest.Options {
	return manifest.Options{Controller: manifest.HubController, Catalog: true}
}

// listen opens the sockets whose addresses others must be told.
func (h *hub) listen(ctx context.Context) (err error) {
	address := net.JoinHostPort(h.cfg.Bind.Address, strconv.Itoa(h.cfg.Bind.Port(manifest.BuiltinTunnelPort)))
	if h.packet, err = (&net.ListenConfig{}).ListenPacket(ctx, "udp", address); err != nil {
		return fmt.Errorf("hub: listen for tunnels on udp %s: %w; set bind.address or bind.ports", address, err)
	}
	if h.joining, err = (&net.ListenConfig{}).Listen(ctx, "tcp", h.cfg.Join.Address); err != nil {
		return fmt.Errorf("hub: listen for joins on tcp %s: %w; set join.address", h.cfg.Join.Address, err)
	}
	return nil
}

// close ends what open made, in reverse order.
func (h *hub) close() error {
	var errs []error
	for _, c := range []io.Closer{h.joining, h.packet} {
		if c != nil {
			if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if h.gateway != nil {
		h.gateway.Close() // before what its copies of requests use
	}
	if h.endpoint != nil {
		h.endpoint.Close()
	}
	if h.backing != nil {
		errs = append(errs, h.backing.close())
	}
	if h.accessFile != nil {
		errs = append(errs, h.accessFile.Close())
	}
	return errors.Join(errs...)
}

// run serves until ctx is done, then drains. Serving outlives ctx by the drain: only then does work stop.
func (h *hub) run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, work := errgroup.WithContext(work)
	do := func(f func(context.Context) error) { group.Go(func() error { return f(work) }) }

	do(h.access.Run)
	do(h.registry.Run)
	do(h.vault.Run)
	do(h.backing.run)
	do(h.followCatalog)
	do(h.feed.Run)
	do(h.acknowledge)
	do(h.lead)
	do(func(ctx context.Context) error { return h.tunnels.Serve(ctx, h.packet) })
	do(h.serveJoin)
	do(h.serveAdmin)
	advertised, withdraw := context.WithCancel(work)
	defer context.AfterFunc(ctx, withdraw)() // a hub that drains is dialed by nobody
	group.Go(func() error { return h.advertise(advertised) })
	do(telemetry.Serve{
		Metrics: h.cfg.Observe.Metrics, MetricsHandler: h.metrics.Handler(), Health: h.cfg.Observe.Health,
		Ready: h.ready, Pprof: h.cfg.Observe.Pprof, Log: h.log,
	}.Run)
	h.metrics.Peers(h.peers)
	h.metrics.HiddenRepeats(gateway.HiddenRepeats(h.endpoint, h.gateway))
	h.registry.OnChange(h.registryChanged)
	h.registryChanged()
	h.log.Info("hub started", "group", h.registry.Group(), "tunnel", h.packet.LocalAddr().String(), "join", h.joining.Addr().String())

	select {
	case <-ctx.Done():
		h.draining.Store(true)
		h.log.Info("draining", "atMost", h.cfg.Tunnel.DrainTime.Duration)
		h.tunnels.Drain(work)
	case <-work.Done(): // something failed
	}
	stop()
	return group.Wait()
}

// registryChanged cuts who is revoked, at once, and tells the others what changed.
func (h *hub) registryChanged() {
	if keys := h.hopKeys(); keys != nil {
		h.gateway.SetSelf(h.self(keys))
	}
	n := h.tunnels.Cut(func(p tunnel.Peer) bool { _, gone := h.registry.Gone(p); return gone })
	if n > 0 {
		h.log.Info("tunnels cut", "connections", n)
	}
	roots := h.registry.RootsPEM()
	h.board.trust(roots)
	h.board.advertise(h.cfg.Name, h.registry.Hubs())
	h.writeRoots(roots)
}

// writeRoots keeps the hub's CA in stateDir/ca.crt, for --ca-file of whoever operates it from elsewhere.
func (h *hub) writeRoots(roots string) {
	name := filepath.Join(h.cfg.StateDir, "ca.crt")
	h.rootsFile.Lock()
	defer h.rootsFile.Unlock()
	if old, err := os.ReadFile(name); err == nil && string(old) == roots {
		return
	}
	if err := os.WriteFile(name, []byte(roots), 0o644); err != nil {
		h.log.Warn("CA not written for clients of the admin API", "error", err)
	}
}

// hopKeys are the trust domain's keys now; nil while they cannot be read.
func (h *hub) hopKeys() *hop.Keys {
	domain, current, previous, err := h.registry.HopKeys()
	if err != nil {
		h.log.Error("keys of the trust domain", "error", err)
		return nil
	}
	return hop.NewKeys(domain, current, previous)
}

func (h *hub) self(keys *hop.Keys) hop.Self {
	group := h.registry.Group()
	return hop.Self{Group: group, Instance: h.cfg.Name, Pseudonym: keys.Pseudonym(group), Keys: keys}
}

func (h *hub) hello() control.Hello {
	return control.Hello{
		Name: h.cfg.Name, Group: h.registry.Group(), Ancestors: []string{h.registry.Group()}, Version: h.cfg.Version,
	}
}

// ready: a snapshot is served, spokes are told where the tunnels are, and no drain has begun.
func (h *hub) ready() error {
	switch {
	case h.draining.Load():
		return errors.New("draining")
	case h.served.Load() == nil:
		return errors.New("the catalog has not been read yet")
	case len(h.board.hubs()) == 0:
		return errors.New("this hub is not advertised yet")
	}
	return nil
}

// advertise tells the catalog where this replica's tunnels are.
func (h *hub) advertise(ctx context.Context) error {
	return h.registry.Advertise(ctx, control.Hub{Name: h.cfg.Name, Address: h.tunnelAddress(), Zone: h.cfg.Tunnel.Zone})
}

// tunnelAddress is what spokes dial.
func (h *hub) tunnelAddress() string {
	if len(h.cfg.Tunnel.Advertise) > 0 {
		return h.cfg.Tunnel.Advertise[0]
	}
	return h.packet.LocalAddr().String()
}

// joinAddresses are what join bundles name.
func (h *hub) joinAddresses() []string {
	if len(h.cfg.Join.Advertise) > 0 {
		return h.cfg.Join.Advertise
	}
	return []string{"https://" + h.joining.Addr().String()}
}

// serveJoin serves the HTTPS join endpoint, once this hub is advertised: a spoke that joined before that would have been told
// of no hub, and would have nobody to ask again.
func (h *hub) serveJoin(ctx context.Context) error {
	if !h.board.awaitHubs(ctx) {
		return nil
	}
	srv := &http.Server{
		Handler: h.registry.JoinHandler(), TLSConfig: h.registry.JoinTLS(), MaxHeaderBytes: 16 << 10,
		ReadTimeout: 20 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	return serveHTTP(ctx, srv, func() error { return srv.ServeTLS(h.joining, "", "") })
}

// serveHTTP runs serve until ctx is done, then shuts srv down.
func serveHTTP(ctx context.Context, srv *http.Server, serve func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- serve() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := srv.Shutdown(last)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// connected counts the instances of a group that have a tunnel to this replica.
func (h *hub) connected(group string) int {
	instances := map[string]bool{}
	for _, p := range h.tunnels.Peers() {
		if p.Group == group {
			instances[p.Instance] = true
		}
	}
	return len(instances)
}

// peers counts connections by cluster.
func (h *hub) peers() map[string]int {
	counts := map[string]int{}
	for _, p := range h.tunnels.Peers() {
		counts[p.Cluster]++
	}
	return counts
}

// ownAddresses are all the sockets of this replica and the tunnels of all others: dialing one is a loop.
func (h *hub) ownAddresses() []netip.AddrPort {
	var own []netip.AddrPort
	add := func(address string) {
		if a, err := netip.ParseAddrPort(address); err == nil {
			own = append(own, a)
		}
	}
	for _, l := range h.sockets() {
		add(l.Address)
	}
	for _, other := range h.registry.Hubs() {
		add(other.Address)
	}
	return own
}
