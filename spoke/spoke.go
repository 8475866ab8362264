package spoke

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	configv1alpha1 "penstock.dev/penstock/apis/config/v1alpha1"
	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway"
	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/gateway/telemetry"
	"penstock.dev/penstock/manifest"
	"penstock.dev/penstock/manifest/feed"
	"penstock.dev/penstock/manifest/file"
	"penstock.dev/penstock/tunnel"
)

// folderSource is the name of the folder among the feed's sources.
const folderSource = "folder"

// Config of a spoke: its file, and where a process writes.
type Config struct {
	configv1alpha1.SpokeConfig
	// Log takes the spoke's log, Access its access log where the file says stdout; JSON lines. Nil: nowhere.
	Log, Access io.Writer
	// Version is told to the hub.
	Version string
}

// Run runs a spoke until ctx is done: it then stops accepting, lets requests under way finish, and closes its tunnels. It
// returns when everything it started has stopped. It fails at once when it cannot join its hub.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	s := &spoke{cfg: cfg, log: telemetry.NewLogger(cfg.Log, cfg.Observe.LogLevel, cfg.Name)}
	if err := s.open(ctx); err != nil {
		return errors.Join(err, s.close())
	}
	return errors.Join(s.run(ctx), s.close())
}

// spoke is one running process.
type spoke struct {
	cfg        Config
	log        *slog.Logger
	metrics    *telemetry.Metrics
	access     *telemetry.AccessLog
	accessFile io.Closer
	refusals   *telemetry.Refusals
	endpoint   *endpoint.Endpoint
	gateway    *gateway.Gateway
	listeners  *gateway.Listeners
	folder     *file.Folder
	feed       *feed.Feed

	// With a parent.
	identity *identity
	tunnels  *tunnel.Client
	parent   *parent

	set      atomic.Pointer[manifest.Set] // that is served; holds the client key pairs
	served   atomic.Int64                 // revision of the view that is served
	began    atomic.Bool                  // a snapshot is served
	draining atomic.Bool
	findings atomic.Pointer[string] // the last ones logged, so that each change is logged once
}

// open makes everything that needs no goroutine of ours.
func (s *spoke) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(s.cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("spoke: stateDir: %w", err)
	}
	s.refusals, s.metrics = &telemetry.Refusals{}, telemetry.New(telemetry.Config{})
	if s.access, s.accessFile, err = telemetry.OpenAccessLog(s.cfg.Observe.AccessLog, s.cfg.Access, s.metrics); err != nil {
		return err
	}
	callers, err := newCallers(s.cfg.Callers)
	if err != nil {
		return err
	}
	if s.endpoint, err = endpoint.New(endpoint.Config{
		Keys: s, Hosts: s.cfg.Resolver.Addresses(), Servers: s.cfg.Resolver.Servers, Own: s.ownAddresses, Log: s.log,
	}); err != nil {
		return err
	}
	limits, edges := gateway.LimitsOf(s.cfg.Limits)
	g := gateway.Config{
		Name: s.cfg.Name, Limits: limits, Edges: edges, Identify: callers.identify, Endpoint: s.endpoint,
		Log: s.log, Metrics: s.metrics, AccessLog: s.access, Refusals: s.refusals,
	}
	opt := manifest.Options{Controller: manifest.SpokeController}
	if s.cfg.Parent != nil {
		if err := s.openParent(ctx); err != nil {
			return err
		}
		g.Parent = s.tunnels
		opt.View = &control.View{} // nothing is known of the catalog before the hub has spoken
	}
	if g.Self, err = s.self(); err != nil {
		return err
	}
	if s.gateway, err = gateway.New(g); err != nil {
		return err
	}
	if s.listeners, err = gateway.NewListeners(gateway.ListenersConfig{
		Gateway: s.gateway, Address: s.cfg.Bind.Address, Ports: s.cfg.Bind.PortMap(), Keys: s, Streams: s.endpoint, OnChange: s.bound, Log: s.log,
	}); err != nil {
		return err
	}
	validator, err := manifest.NewValidator()
	if err != nil {
		return err
	}
	if s.folder, err = file.New(file.Config{Dir: s.cfg.Manifests, Parse: validator.Parse, Log: s.log}); err != nil {
		return err
	}
	s.feed, err = feed.New(feed.Config{Sources: []string{folderSource}, Options: opt, Use: s.use, Report: s.report})
	return err
}

// openParent joins the hub, or takes up the identity of the last run.
func (s *spoke) openParent(ctx context.Context) (err error) {
	if s.identity, err = loadIdentity(ctx, s.cfg.StateDir, s.cfg.Parent.Bundle); err != nil {
		return err
	}
	s.parent = &parent{
		told:     map[string]int64{},
		identity: s.identity, version: s.cfg.Version, log: s.log, setHubs: s.setHubs,
		drain:    func(hub string) { s.tunnels.Drain(hub) },
		view:     func(revision int64, v *control.View) { s.feed.SetView(v, revision) },
		refusals: s.refusals, served: s.served.Load,
	}
	s.tunnels, err = tunnel.NewClient(tunnel.ClientConfig{
		Identity: s.identity, Open: s.parent.open, Session: s.parent.session, Lanes: s.cfg.Parent.Lanes, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.setHubs(s.identity.current.Load().Hubs)
	return nil
}

// setHubs says which hubs to keep a tunnel to: the configured ones, else those that the hubs advertise.
func (s *spoke) setHubs(advertised []control.Hub) {
	var hubs []tunnel.Hub
	for _, address := range s.cfg.Parent.Hubs {
		hubs = append(hubs, tunnel.Hub{Name: address, Address: address})
	}
	if len(hubs) == 0 {
		for _, h := range advertised {
			hubs = append(hubs, tunnel.Hub{Name: h.Name, Address: h.Address, Zone: h.Zone})
		}
	}
	s.tunnels.SetHubs(hubs)
}

// self is who this gateway is on a path: the group of its certificate or, without a hub, an id kept in the state folder.
func (s *spoke) self() (hop.Self, error) {
	if s.identity != nil {
		h := s.identity.current.Load()
		return hop.Self{Group: h.id.Group, Instance: h.Instance, Pseudonym: h.Pseudonym}, nil
	}
	name := filepath.Join(s.cfg.StateDir, "group")
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		id := make([]byte, 16)
		if _, err := rand.Read(id); err != nil {
			return hop.Self{}, err
		}
		data = []byte(hex.EncodeToString(id))
		err = writeFile(name, data)
	}
	group := strings.TrimSpace(string(data))
	if raw, herr := hex.DecodeString(group); err == nil && (herr != nil || len(raw) != 16) {
		err = fmt.Errorf("want 32 hex digits; remove the file")
	}
	if err != nil {
		return hop.Self{}, fmt.Errorf("spoke: gateway id in %s: %w", name, err)
	}
	// HOPS A.3: without a domain key the pseudonym is a hash of the group id.
	sum := sha256.Sum256([]byte("penstock pseudonym v1\n" + group))
	pseudonym := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
	return hop.Self{Group: group, Instance: s.cfg.Name, Pseudonym: pseudonym}, nil
}

func (s *spoke) close() error {
	if s.endpoint != nil {
		s.endpoint.Close()
	}
	if s.accessFile != nil {
		return s.accessFile.Close()
	}
	return nil
}

// run serves until ctx is done. Tunnels and control outlive the listeners: requests under way need them.
func (s *spoke) run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, work := errgroup.WithContext(work)
	do := func(f func(context.Context) error) { group.Go(func() error { return f(work) }) }

	do(s.access.Run)
	do(s.feed.Run)
	do(func(ctx context.Context) error {
		return s.folder.Run(ctx, func(st file.State) { s.feed.Objects(folderSource, st.Set.Objects(), st.Problems, 0) })
	})
	if s.tunnels != nil {
		do(s.tunnels.Run)
		do(func(ctx context.Context) error { s.parent.keepFresh(ctx, s.tunnels); return nil })
		s.metrics.Tunnels(s.tunnelStatus)
	}
	s.metrics.HiddenRepeats(gateway.HiddenRepeats(s.endpoint, s.gateway))
	do(telemetry.Serve{
		Metrics: s.cfg.Observe.Metrics, MetricsHandler: s.metrics.Handler(), Health: s.cfg.Observe.Health,
		Ready: s.ready, Pprof: s.cfg.Observe.Pprof, Log: s.log,
	}.Run)

	listening, closeListeners := context.WithCancel(work)
	defer closeListeners()
	drained := make(chan struct{})
	group.Go(func() error {
		defer close(drained)
		return s.listeners.Run(listening)
	})
	s.log.Info("spoke started", "mode", s.mode())
	select {
	case <-ctx.Done():
		s.draining.Store(true)
		s.log.Info("draining")
		closeListeners()
		<-drained
	case <-work.Done(): // something failed
	}
	stop()
	return group.Wait()
}

func (s *spoke) mode() string {
	if s.tunnels != nil {
		return "Parent"
	}
	return "Endpoint"
}

// use serves a snapshot.
func (s *spoke) use(snapshot *route.Snapshot, set *manifest.Set) {
	s.set.Store(set)
	s.gateway.Use(snapshot)
}

// report logs what is wrong with the manifests, once per change, and acknowledges the view.
func (s *spoke) report(r feed.Result) {
	s.metrics.Snapshot(r.ViewRevision, len(r.Problems))
	lines := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		lines[i] = p.String()
	}
	text := strings.Join(lines, "\n")
	if old := s.findings.Swap(&text); old == nil || *old != text {
		for _, line := range lines {
			s.log.Warn("manifest", "finding", line)
		}
	}
	if r.Err != nil {
		s.log.Error("the last good snapshot stays in use", "error", r.Err)
		return
	}
	s.served.Store(r.ViewRevision)
	s.began.Store(true)
}

// ready: a snapshot is served, every listener is bound, and, with a parent, a tunnel is up and the hub has said what is
// granted.
func (s *spoke) ready() error {
	switch {
	case s.draining.Load():
		return errors.New("draining")
	case !s.began.Load():
		return errors.New("the manifests have not been read yet")
	}
	for port, err := range s.listeners.Problems() {
		return fmt.Errorf("listener on port %d is not bound: %w", port, err)
	}
	if len(s.listeners.Addresses()) < s.wantedListeners() {
		return errors.New("listeners are being bound")
	}
	if s.tunnels == nil {
		return nil
	}
	up := slices.ContainsFunc(s.tunnels.Status(), func(h tunnel.HubStatus) bool { return h.State == tunnel.StateReady })
	switch {
	case !up:
		return errors.New("no tunnel to a hub is up")
	case s.served.Load() == 0:
		return errors.New("the hub has not said yet what is granted")
	}
	return nil
}

// wantedListeners is the number of ports that the snapshot listens on.
func (s *spoke) wantedListeners() int {
	ports := map[int]bool{}
	for _, l := range s.gateway.Snapshot().Listeners {
		ports[l.Port] = ports[l.Port] || l.Protocol == route.ProtocolHTTP
	}
	maps.DeleteFunc(ports, func(_ int, http bool) bool { return !http })
	return len(ports)
}

// bound logs where the listeners are.
func (s *spoke) bound() {
	addresses := s.listeners.Addresses()
	for _, port := range slices.Sorted(maps.Keys(addresses)) {
		s.log.Info("listening", "for", "workloads", "port", port, "address", addresses[port].String())
	}
}

// KeyPair implements endpoint.Keys and gateway.Keys: client certificates and those of listeners, of the folder's Secrets.
func (s *spoke) KeyPair(name string) (*tls.Certificate, error) { return s.set.Load().KeyPair(name) }

// ownAddresses are the sockets of this process; dialing one is a loop.
func (s *spoke) ownAddresses() []netip.AddrPort {
	own := slices.Collect(maps.Values(s.listeners.Addresses()))
	for _, text := range []string{s.cfg.Observe.Metrics, s.cfg.Observe.Health, s.cfg.Observe.Pprof} {
		if a, err := netip.ParseAddrPort(text); err == nil {
			own = append(own, a)
		}
	}
	return own
}

// tunnelStatus is what metrics show of the hubs.
func (s *spoke) tunnelStatus() []telemetry.TunnelStatus {
	hubs := s.tunnels.Status()
	out := make([]telemetry.TunnelStatus, len(hubs))
	for i, h := range hubs {
		out[i] = telemetry.TunnelStatus{Hub: h.Name, State: h.State, Connections: h.Lanes, Outstanding: h.Outstanding, RTT: h.RTT}
	}
	return out
}
