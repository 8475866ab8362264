package gateway

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/gateway/telemetry"
	"penstock.dev/penstock/tunnel"
)

// Endpoint makes one attempt towards the outside; gateway/endpoint.Endpoint is one. Errors are *endpoint.Error.
type Endpoint interface {
	RoundTrip(*http.Request, *route.Backend) (*http.Response, error)
}

// Config of a Gateway. Self.Group is required. Zero fields mean what stands in brackets.
type Config struct {
	// Name of this process, for logs and refusals.
	Name string
	// Self is who this gateway is on a path; SetSelf replaces it, for example when keys rotate.
	Self hop.Self
	// Limits that requests are clamped to. Limits.Headers is the time to response headers of a Backend that sets none
	// [30s]; a Backend may raise it, up to 600 s.
	Limits hop.Limits
	// Edges bounds what a client may take at a workload listener.
	Edges Edges
	// MaxRequests in the handler at one time [20000]. Beyond it a request is refused before anything else; towards a
	// tunnel that is the proof P5.
	MaxRequests int
	// BodyBytes kept of one request for a repeat [64 KiB].
	BodyBytes int
	// Identify says who sent a request at a workload listener, and deletes the proof from it. nil: nobody is anybody.
	// An error means that a proof was sent that is not good (401), or could not be checked: wrap ErrIdentityUnavailable
	// (503).
	Identify func(*http.Request) (hop.Subject, error)
	// Vouches reports whether a peer that is a hub may speak for a cluster (Cluster.spec.vouchesFor). nil: for none.
	Vouches func(peer tunnel.Peer, cluster string) bool
	// Parent makes one try towards a parent; tunnel.Client is one. nil: there is no parent.
	Parent http.RoundTripper
	// Endpoint makes attempts towards the outside. nil: there is none.
	Endpoint Endpoint
	// Control serves tunnel.ControlAuthority. nil: 404.
	Control http.Handler
	// Log of what operators must know [slog.Default]. Metrics [one of its own], AccessLog [none], Refusals [none].
	Log       *slog.Logger
	Metrics   *telemetry.Metrics
	AccessLog *telemetry.AccessLog
	Refusals  *telemetry.Refusals
	// Rand is for weights and jitter, from [0,1) [math/rand/v2].
	Rand func() float64
}

// ErrIdentityUnavailable is wrapped by an error of Config.Identify when the proof could not be checked.
var ErrIdentityUnavailable = errors.New("the identity cannot be checked right now")

// Gateway serves requests. Make it with New. Safe for concurrent use.
type Gateway struct {
	cfg   Config
	self  atomic.Pointer[hop.Self]
	table atomic.Pointer[table]
	// active counts requests in the handler, control exchanges not among them.
	active atomic.Int64
	// wire counts attempts towards the outside that were, or still may be, sent.
	wire   atomic.Int64
	bodies *retry.Pool
	copies *copies
	// peer is tunnel.PeerFrom; tests put another one in.
	peer func(context.Context) (tunnel.Peer, bool)

	mu sync.Mutex
	// destinations by Backend key. Those of Backends that are gone are kept while something is in flight
	// there, or held down: a Backend that comes back meanwhile must not be repeated at (HOPS-AND-RETRIES, Theorem 3).
	destinations map[string]*destination
	// changed is closed, and made anew, by each Use: Listeners wait for it.
	changed chan struct{}
}

// table is what one request is judged by. A request reads it once.
type table struct {
	snapshot *route.Snapshot
	// limits are those of the config, with Headers raised to the longest time that a Backend of the snapshot grants:
	// Tmax, which also is how long a hold-down lasts.
	limits hop.Limits
}

// The limits where the config sets none.
const (
	defaultHeaders     = 30 * time.Second
	defaultMaxRequests = 20_000
	maxHeaders         = 600 * time.Second
)

// New checks the config. The gateway serves nothing before Use.
func New(cfg Config) (*Gateway, error) {
	if cfg.Self.Group == "" {
		return nil, errors.New("gateway: Config.Self.Group is empty; every loop check needs the id of the gateway group")
	}
	cfg.Edges = cfg.Edges.withDefaults()
	if cfg.MaxRequests == 0 {
		cfg.MaxRequests = defaultMaxRequests
	}
	if cfg.Limits.Headers == 0 {
		cfg.Limits.Headers = defaultHeaders
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Metrics == nil {
		cfg.Metrics = telemetry.New(telemetry.Config{})
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	g := &Gateway{cfg: cfg, bodies: retry.NewPool(0), copies: newCopies(), peer: tunnel.PeerFrom, destinations: map[string]*destination{}, changed: make(chan struct{})}
	g.SetSelf(cfg.Self)
	g.table.Store(&table{snapshot: &route.Snapshot{}, limits: cfg.Limits})
	return g, nil
}

// Use serves a snapshot from the next request on. It must not be edited afterwards. One that is not compiled is
// compiled here; if that fails, the last good one stays and the log says why.
func (g *Gateway) Use(s *route.Snapshot) {
	compiled, err := s.Compile()
	if err != nil {
		g.cfg.Log.Error("snapshot refused, the last good one stays", "error", err)
		return
	}
	limits := g.cfg.Limits
	for i := range compiled.Backends {
		limits.Headers = max(limits.Headers, min(compiled.Backends[i].Timeouts.ResponseHeaders, maxHeaders))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.table.Store(&table{snapshot: compiled, limits: limits})
	for key, d := range g.destinations {
		if compiled.Backend(key) == nil && d.idle() && !d.guards.Holding() {
			delete(g.destinations, key)
		}
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// Snapshot that is served now; never nil.
func (g *Gateway) Snapshot() *route.Snapshot { return g.table.Load().snapshot }

// Attempts towards the outside since the start whose head was, or still may be, sent. Endpoint.Sent beyond it is hidden
// repeats (HOPS-AND-RETRIES B.5); read Sent first.
func (g *Gateway) Attempts() int64 { return g.wire.Load() }

// SetSelf replaces who this gateway is: its pseudonym once it is known, its keys when they rotate. The group must stay
// the same.
func (g *Gateway) SetSelf(self hop.Self) { g.self.Store(&self) }

// served returns the snapshot and a channel that is closed when there is another one.
func (g *Gateway) served() (*route.Snapshot, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.table.Load().snapshot, g.changed
}

// destination of a Backend, made when it is first used.
func (g *Gateway) destination(key string) *destination {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.destinations[key]
	if d == nil {
		d = &destination{}
		g.destinations[key] = d
	}
	return d
}

// Tunnel serves requests of peers, for tunnel.Server. A request without a peer in its context is refused.
func (g *Gateway) Tunnel() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.serve(w, r, intake{protocol: route.ProtocolTunnel})
	})
}

// Workload serves requests of workloads as those of the HTTP listeners on a port.
func (g *Gateway) Workload(port int) http.Handler {
	return g.workload(intake{protocol: route.ProtocolHTTP, port: port})
}

func (g *Gateway) workload(in intake) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, in) })
}
