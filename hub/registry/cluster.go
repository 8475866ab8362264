package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/tunnel"
)

// Registration asks for a cluster to be registered.
type Registration struct {
	// Name is a DNS label.
	Name   string
	Labels map[string]string
	// Role of its gateways; empty: spoke, or what the Cluster object says.
	Role tunnel.Role
	// TTL of the token; 0: 15 minutes.
	TTL time.Duration
	// Owner of the Cluster object, if it has to be made; empty: "cli".
	Owner string
}

// State of a cluster, as Cluster.status.state says it.
type State string

// The states.
const (
	Pending      State = "Pending"      // no gateway has joined yet
	Ready        State = "Ready"        // at least one instance is connected
	Disconnected State = "Disconnected" // joined, none connected
	Suspended    State = "Suspended"
	Revoked      State = "Revoked"
)

// Info is a cluster as the registry knows it. It holds no secret.
type Info struct {
	Name     string
	Role     tunnel.Role
	Labels   map[string]string
	SourceIP string
	State    State
	// Created is the origin time of the object; Joined and Revoked are zero before that happened.
	Created, Joined, Revoked time.Time
	// Group is the gateway group id; empty while Pending or Revoked.
	Group string
	// TokenExpires is when the last unredeemed token stops working; zero: there is none.
	TokenExpires time.Time
	// Instances that have joined, sorted by name, connected or not.
	Instances []Instance
}

// Instance is one gateway process that has joined.
type Instance struct {
	Name       string
	Generation int64
	NotAfter   time.Time
	// Locked since; zero: not. Reason says why.
	Locked time.Time
	Reason string
}

// Register makes a cluster and a token for its first gateway. It fails with ClusterRegistered for a name that is
// registered already, unless it was revoked: then the next gateway gets a new group id. A Cluster object that a manifest
// has made is not yet a registration.
func (r *Registry) Register(ctx context.Context, reg Registration) (control.Bundle, error) {
	reg.Owner = cmp.Or(reg.Owner, "cli")
	if err := r.checkName(reg); err != nil {
		return control.Bundle{}, err
	}
	ttl, err := checkTTL(reg.TTL)
	if err != nil {
		return control.Bundle{}, err
	}
	_, known := r.fetchObject(ctx, reg.Name)
	now := time.Now()
	var t token
	err = r.updateCluster(ctx, reg.Name, func(rec *clusterRecord) ([]catalog.Op, error) {
		if known && !rec.Registered.IsZero() && (rec.Revoked.IsZero() || rec.Group != "") {
			return nil, refuse(ClusterRegistered, "cluster "+reg.Name+" is registered already",
				"for another token use `penstock cluster recover "+reg.Name+"`; to begin anew, revoke it first")
		}
		if !known && rec.Group != "" {
			rec.revoke(now) // its object was deleted, so its gateways are not wanted any more
		}
		rec.Registered = now
		t = newToken(reg.Name, rec.Epoch, now, ttl)
		return []catalog.Op{t.op()}, nil
	}, func() error { return r.applyObject(ctx, reg) })
	if err != nil {
		return control.Bundle{}, err
	}
	r.log.Info("registered a cluster", "cluster", reg.Name, "tokenExpires", t.record.Expires)
	return r.bundle(reg.Name, t), nil
}

// Recover makes a token for a cluster that is registered: for another process of the group, for one whose certificate
// ended too long ago, is locked or was lost. After a revocation its gateways get a new group id.
func (r *Registry) Recover(ctx context.Context, name string, ttl time.Duration) (control.Bundle, error) {
	ttl, err := checkTTL(ttl)
	if err != nil {
		return control.Bundle{}, err
	}
	if err := r.known(ctx, name); err != nil {
		return control.Bundle{}, err
	}
	var t token
	err = r.updateCluster(ctx, name, func(rec *clusterRecord) ([]catalog.Op, error) {
		if rec.Registered.IsZero() {
			return nil, refuse(ClusterUnknown, "cluster "+name+" is not registered", "register it: `penstock cluster register "+name+"`")
		}
		t = newToken(name, rec.Epoch, time.Now(), ttl)
		return []catalog.Op{t.op()}, nil
	}, nil)
	if err != nil {
		return control.Bundle{}, err
	}
	r.log.Info("made a token for a registered cluster", "cluster", name, "tokenExpires", t.record.Expires)
	return r.bundle(name, t), nil
}

// Suspend cuts the cluster's tunnels and refuses its gateways until Resume. It works whoever owns the object.
func (r *Registry) Suspend(ctx context.Context, name string) error {
	return r.set(ctx, name, "suspended a cluster", func(rec *clusterRecord) error {
		if rec.Suspended.IsZero() {
			rec.Suspended = time.Now()
		}
		return nil
	})
}

// Resume undoes Suspend. It cannot undo a revocation, nor spec.suspended of an object, and says so.
func (r *Registry) Resume(ctx context.Context, name string) error {
	if err := r.set(ctx, name, "resumed a cluster", func(rec *clusterRecord) error {
		if rec.Group == "" && !rec.Revoked.IsZero() {
			return revoked(name)
		}
		rec.Suspended = time.Time{}
		return nil
	}); err != nil {
		return err
	}
	if o, ok := r.objects.get(name); ok && o.spec.Suspended {
		return refuse(ClusterSuspended, "cluster "+name+" stays suspended by spec.suspended of its object",
			fmt.Sprintf("set it to false where the object comes from (owner %q)", o.owner))
	}
	return nil
}

// Revoke cuts the cluster's tunnels and makes its gateway group, its certificates and its tokens invalid for good.
func (r *Registry) Revoke(ctx context.Context, name string) error {
	return r.set(ctx, name, "revoked a cluster", func(rec *clusterRecord) error {
		rec.revoke(time.Now())
		return nil
	})
}

func (c *clusterRecord) revoke(now time.Time) {
	if c.Group != "" {
		c.RevokedGroup = c.Group
	}
	c.Group, c.Joined, c.Revoked = "", time.Time{}, now
	c.Epoch++
}

// Show returns one cluster, or ClusterUnknown.
func (r *Registry) Show(ctx context.Context, name string) (Info, error) {
	o, ok := r.objects.get(name)
	if !ok {
		if o, ok = r.fetchObject(ctx, name); !ok {
			return Info{}, unknownCluster(name)
		}
	}
	tokens, err := r.pendingTokens(ctx)
	if err != nil {
		return Info{}, err
	}
	return r.info(name, o, tokens), nil
}

// List returns all clusters by name.
func (r *Registry) List(ctx context.Context) ([]Info, error) {
	tokens, err := r.pendingTokens(ctx)
	if err != nil {
		return nil, err
	}
	objects := r.objects.all()
	infos := make([]Info, 0, len(objects))
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		infos = append(infos, r.info(name, objects[name], tokens))
	}
	return infos, nil
}

func (r *Registry) info(name string, o object, tokens map[string]tokenRecord) Info {
	rec, _ := r.clusters.get(name)
	i := Info{
		Name: name, Role: o.role(), Labels: maps.Clone(o.labels), SourceIP: o.spec.SourceIP, Created: o.created,
		Joined: rec.Joined, Revoked: rec.Revoked, Group: rec.Group,
	}
	if t, ok := tokens[name]; ok && t.Epoch == rec.Epoch {
		i.TokenExpires = t.Expires
	}
	for key, inst := range r.instances.all() {
		if instance, ok := strings.CutPrefix(key, rec.Group+"/"); ok && rec.Group != "" {
			i.Instances = append(i.Instances, Instance{instance, inst.Generation, inst.NotAfter, inst.Locked, inst.Reason})
		}
	}
	slices.SortFunc(i.Instances, func(a, b Instance) int { return cmp.Compare(a.Name, b.Name) })
	switch {
	case o.spec.Suspended || !rec.Suspended.IsZero():
		i.State = Suspended
	case rec.Group == "" && !rec.Revoked.IsZero():
		i.State = Revoked
	case rec.Group == "":
		i.State = Pending
	case r.cfg.Connected(rec.Group) > 0:
		i.State = Ready
	default:
		i.State = Disconnected
	}
	return i
}

// known fails unless there is a Cluster object of that name.
func (r *Registry) known(ctx context.Context, name string) error {
	if !validName(name) {
		return unknownCluster(name)
	}
	if _, ok := r.objects.get(name); ok {
		return nil
	}
	if _, ok := r.fetchObject(ctx, name); ok {
		return nil
	}
	return unknownCluster(name)
}

func unknownCluster(name string) error {
	return refuse(ClusterUnknown, fmt.Sprintf("there is no cluster %q", name), "`penstock cluster list` shows the names; register it first")
}

// set changes the record of a known cluster.
func (r *Registry) set(ctx context.Context, name, done string, change func(*clusterRecord) error) error {
	if err := r.known(ctx, name); err != nil {
		return err
	}
	err := r.updateCluster(ctx, name, func(rec *clusterRecord) ([]catalog.Op, error) { return nil, change(rec) }, nil)
	if err == nil {
		r.log.Info(done, slog.String("cluster", name))
	}
	return err
}

// tries bounds how often a change is made anew because somebody else was quicker.
const tries = 16

// updateCluster changes clusters/<name>, and what else change asks for, in one commit; change starts from the newest
// record each time, the zero one if there is none. before runs once, when change has agreed for the first time.
func (r *Registry) updateCluster(ctx context.Context, name string, change func(*clusterRecord) ([]catalog.Op, error), before func() error) error {
	key := catalog.ClusterKey(name)
	for range tries {
		rec, revision, err := read[clusterRecord](ctx, r.cfg.Catalog, key)
		if err != nil {
			return err
		}
		ops, err := change(&rec)
		if err != nil {
			return err
		}
		if before != nil {
			if err := before(); err != nil {
				return err
			}
			before = nil
		}
		rec.Changed = time.Now()
		ops = append(ops, catalog.Op{Key: key, Value: encode(rec), If: revision})
		revision, err = r.cfg.Catalog.Commit(ctx, ops...)
		if err == nil {
			r.clusters.put(catalog.Record{Key: key, Value: encode(rec), Revision: revision})
			r.changed()
			return nil
		}
		if !errors.Is(err, catalog.ErrConflict) {
			return stored("store cluster "+name, err)
		}
	}
	return stored("store cluster "+name, catalog.ErrConflict)
}

// read returns the zero record and catalog.Absent if there is none.
func read[T any](ctx context.Context, cat catalog.Catalog, key string) (T, int64, error) {
	var zero T
	rec, err := cat.Get(ctx, key)
	if errors.Is(err, catalog.ErrNotFound) {
		return zero, catalog.Absent, nil
	}
	if err != nil {
		return zero, 0, stored("read "+key, err)
	}
	v, err := decode[T](rec)
	return v, rec.Revision, err
}

func (r *Registry) checkName(reg Registration) error {
	if !validName(reg.Name) {
		return refuse(BadRequest, fmt.Sprintf("%q is not a cluster name", reg.Name), "use a DNS label: a-z, 0-9 and -, at most 63 characters")
	}
	if reg.Role != "" && reg.Role != tunnel.RoleSpoke && reg.Role != tunnel.RoleHub {
		return refuse(BadRequest, fmt.Sprintf("%q is not a role", reg.Role), "use spoke or hub")
	}
	return nil
}

// validName: a DNS label (RFC 1123), as the name becomes a path segment of a SPIFFE id.
func validName(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// validInstance: what may stand in the Subject serialNumber, in Penstock-Path and in a key of the catalog.
func validInstance(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}
