package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/tunnel"
)

// Sealer encrypts what the catalog must not hold in the clear; hub/credential's key ring is one. The name is bound to
// the result: what was sealed under one name does not open under another. Implementations are safe for concurrent use.
type Sealer interface {
	Seal(name string, plaintext []byte) ([]byte, error)
	Open(name string, sealed []byte) ([]byte, error)
}

// Config of a Registry. Catalog, Sealer, Objects, TrustDomain and Name are required; other zero fields mean the
// default in brackets.
type Config struct {
	Catalog catalog.Catalog
	Sealer  Sealer
	// Objects takes the Cluster objects that Register makes.
	Objects Objects
	// TrustDomain of all identities, for example "example.com".
	TrustDomain string
	// Name of this replica: the instance in its certificate.
	Name string
	// Life of certificates [1h]; RecoverWindow after expiry in which a certificate may still be exchanged at the join
	// endpoint [168h].
	Life, RecoverWindow time.Duration
	// JoinAddresses are the "https://host:port" that join bundles name. Called per bundle; nil: none.
	JoinAddresses func() []string
	// Pseudonym of a gateway group outside, told to each gateway with its certificate. nil: none.
	Pseudonym func(group string) string
	// Elected reports whether this replica rotates keys and deletes what has expired. nil: always.
	Elected func() bool
	// Connected is the number of instances of a group that are connected now, for Info.State. nil: none.
	Connected func(group string) int
	Log       *slog.Logger // nil: slog.Default
}

// Registry is the hub's register of clusters, its CA and its own identity. Make it with New; it serves from memory once
// made, and follows the catalog while Run runs. Safe for concurrent use.
type Registry struct {
	cfg Config
	log *slog.Logger

	group     string // the hub's own
	cas       *table[root]
	trust     atomic.Pointer[trust] // what cas say
	keys      *table[[]byte]        // opened
	clusters  *table[clusterRecord]
	objects   *table[object]
	instances *table[instanceRecord]
	replicas  *table[control.Hub]

	own atomic.Pointer[ownCertificate]

	mu        sync.Mutex
	listeners []func()
}

var _ tunnel.Identity = (*Registry)(nil)

// New loads the registry, and makes the CA and the keys if the catalog has none. It needs the catalog; ctx bounds that.
func New(ctx context.Context, cfg Config) (*Registry, error) {
	switch {
	case cfg.Catalog == nil, cfg.Sealer == nil, cfg.Objects == nil:
		return nil, errors.New("registry: Config needs Catalog, Sealer and Objects")
	case !validInstance(cfg.Name):
		return nil, fmt.Errorf("registry: the replica name %q cannot stand in a certificate; use 1 to 64 of a-z A-Z 0-9 . _ -", cfg.Name)
	}
	if id, err := tunnel.ParseID("spiffe://" + cfg.TrustDomain + "/hub/" + newGroup()); err != nil || id.TrustDomain != cfg.TrustDomain {
		return nil, fmt.Errorf("registry: %q is not a trust domain; write a lower-case DNS name such as \"example.com\"", cfg.TrustDomain)
	}
	cfg.Life = cmp.Or(cfg.Life, time.Hour)
	cfg.RecoverWindow = cmp.Or(cfg.RecoverWindow, 7*24*time.Hour)
	if cfg.Life < time.Minute || cfg.Life > 90*24*time.Hour {
		return nil, fmt.Errorf("registry: a certificate life of %s is not between 1m and 90 days", cfg.Life)
	}
	if cfg.JoinAddresses == nil {
		cfg.JoinAddresses = func() []string { return nil }
	}
	if cfg.Pseudonym == nil {
		cfg.Pseudonym = func(string) string { return "" }
	}
	if cfg.Elected == nil {
		cfg.Elected = func() bool { return true }
	}
	if cfg.Connected == nil {
		cfg.Connected = func(string) int { return 0 }
	}
	log := cmp.Or(cfg.Log, slog.Default()).With("component", "registry")
	r := &Registry{cfg: cfg, log: log}
	r.cas = newTable(catalog.CAPrefix, log, r.openRoot)
	r.keys = newTable(catalog.KeysPrefix, log, r.openKey)
	r.clusters = newTable(catalog.ClustersPrefix, log, decode[clusterRecord])
	r.objects = newTable(objectsPrefix, log, decodeObject)
	r.instances = newTable(catalog.InstancesPrefix, log, decode[instanceRecord])
	r.clusters.newer = func(a, b clusterRecord) bool { return a.Changed.After(b.Changed) }
	r.instances.newer = func(a, b instanceRecord) bool { return a.Changed.After(b.Changed) }
	r.replicas = newTable(catalog.ReplicasPrefix, log, decode[control.Hub])
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	return r, r.renewOwn(time.Now())
}

// open loads all tables, founding the catalog's CA first if there is none.
func (r *Registry) open(ctx context.Context) error {
	_, err := r.cfg.Catalog.Get(ctx, catalog.PurposeKey(purposeGroup))
	if errors.Is(err, catalog.ErrNotFound) {
		err = r.found(ctx)
	}
	if err != nil {
		return stored("read the hub's group id", err)
	}
	for _, t := range r.tables() {
		if err := t.load(ctx, r.cfg.Catalog); err != nil {
			return err
		}
	}
	r.trustChanged()
	group, ok := r.keys.get(purposeGroup)
	_, _, _, err = r.HopKeys()
	if t := r.trust.Load(); !ok || err != nil || t.issuer == nil {
		return refuse(Unavailable, "the catalog's CA and keys cannot be opened",
			"give this replica the key ring of the others (keyring.file), or another catalog prefix")
	}
	r.group = string(group)
	return nil
}

// follower is a table of any kind.
type follower interface {
	load(context.Context, catalog.Catalog) error
	follow(context.Context, catalog.Catalog, func())
}

func (r *Registry) tables() []follower {
	return []follower{r.cas, r.keys, r.clusters, r.objects, r.instances, r.replicas}
}

// Run follows the catalog, renews this replica's certificate at half its life and, while elected, rotates the CDN-Loop
// keys daily and deletes what has expired. It returns when ctx is done and all of it has stopped.
func (r *Registry) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, t := range r.tables() {
		wg.Go(func() { t.follow(ctx, r.cfg.Catalog, r.changed) })
	}
	wg.Go(func() { r.keepOwn(ctx) })
	wg.Go(func() { r.every(ctx, time.Minute, "rotate the CDN-Loop key", r.rotateMAC) })
	wg.Go(func() { r.every(ctx, 10*time.Minute, "delete what has expired", r.sweep) })
	wg.Wait()
	return nil
}

// every runs a chore of the elected replica, a little apart from the other replicas.
func (r *Registry) every(ctx context.Context, interval time.Duration, what string, chore func(context.Context) error) {
	for sleep(ctx, interval-interval/10+rand.N(interval/5)) {
		if !r.cfg.Elected() {
			continue
		}
		if err := chore(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("could not "+what+"; trying again later", "error", err)
		}
	}
}

// sleep reports false when ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// OnChange has f called after every change of what Gone, Roots, HopKeys or Hubs answer. f must not block. It is called
// from several goroutines, and only while Run runs.
func (r *Registry) OnChange(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listeners = append(r.listeners, f)
}

func (r *Registry) changed() {
	r.trustChanged()
	r.mu.Lock()
	listeners := r.listeners
	r.mu.Unlock()
	for _, f := range listeners {
		f()
	}
}
