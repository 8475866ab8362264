package registry

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
)

// replicaTTL is how long a hub that vanished without a word is still advertised.
const replicaTTL = 10 * time.Second

// Advertise keeps this hub's address in the catalog until ctx is done, and then takes it out again. Under the same name
// the newer one wins, so that a restarted hub need not wait for the lease of its former self. It returns when that is
// done; a catalog that is away is waited for.
func (r *Registry) Advertise(ctx context.Context, hub control.Hub) error {
	if !validInstance(hub.Name) || hub.Address == "" {
		return refuse(BadRequest, "a hub is advertised by name and address", "set name and tunnel.advertise")
	}
	for {
		if err := r.advertise(ctx, hub); ctx.Err() == nil {
			r.log.Warn("this hub is not advertised; trying again", "hub", hub.Name, "error", err)
		}
		if !sleep(ctx, time.Second) { // ctx is done, now or before
			return nil
		}
	}
}

var errLeaseLost = errors.New("registry: the lease of this replica was lost")

// advertise holds one lease.
func (r *Registry) advertise(ctx context.Context, hub control.Hub) error {
	leased, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	id, lost, err := r.cfg.Catalog.Lease(leased, replicaTTL)
	if err != nil {
		return err
	}
	key := catalog.ReplicaKey(hub.Name)
	revision, err := r.cfg.Catalog.Commit(ctx, catalog.Op{Key: key, Value: encode(hub), Lease: id})
	if err != nil {
		return err
	}
	select {
	case <-lost:
		return errLeaseLost
	case <-ctx.Done():
	}
	// At once, not a lease later: no spoke should still be told of a hub that is shutting down.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_, err = r.cfg.Catalog.Commit(last, catalog.Op{Key: key, Delete: true, If: revision})
	return err
}

// Hubs that are advertised now, by name.
func (r *Registry) Hubs() []control.Hub {
	hubs := make([]control.Hub, 0, 4)
	for _, h := range r.replicas.all() {
		hubs = append(hubs, h)
	}
	slices.SortFunc(hubs, func(a, b control.Hub) int { return cmp.Compare(a.Name, b.Name) })
	return hubs
}
