package registry

import (
	"context"
	"fmt"
	"time"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/tunnel"
)

// standing of a peer whose certificate is good.
type standing int

const (
	member   standing = iota // may stay
	out                      // must go
	stranger                 // not known: must go, unless the watch is behind
)

// Cluster is the name of the cluster that a peer belongs to. A child hub's certificate names none, so the group says it.
func (r *Registry) Cluster(p tunnel.Peer) (name string, ok bool) {
	if p.Role == tunnel.RoleSpoke {
		_, ok := r.clusters.get(p.Cluster)
		return p.Cluster, ok
	}
	return r.clusters.find(func(c clusterRecord) bool { return c.Group == p.Group || c.RevokedGroup == p.Group })
}

// judge says from memory where a peer stands, and why not as a member.
func (r *Registry) judge(p tunnel.Peer) (reason string, s standing) {
	if p.TrustDomain != r.cfg.TrustDomain {
		return "it is of trust domain " + p.TrustDomain, out
	}
	name, ok := r.Cluster(p)
	if !ok || p.Group == "" {
		return "its cluster is not registered", stranger
	}
	rec, _ := r.clusters.get(name)
	if rec.Group != p.Group {
		if rec.RevokedGroup == p.Group {
			return fmt.Sprintf("cluster %s was revoked at %s; register it again", name, rec.Revoked.UTC().Format(time.RFC3339)), out
		}
		return "its gateway group is not the one of cluster " + name, stranger
	}
	o, ok := r.objects.get(name)
	switch {
	case !ok:
		return "there is no Cluster " + name + " any more", stranger
	case o.role() != p.Role:
		return fmt.Sprintf("Cluster %s has role %s, the certificate %s; recover it", name, o.role(), p.Role), out
	case o.spec.Suspended || !rec.Suspended.IsZero():
		return "cluster " + name + " is suspended; resume it", out
	}
	// An instance that is not known has joined at another replica just now: its certificate is proof enough.
	inst, _ := r.instances.get(instanceName(p.Group, p.Instance))
	switch {
	case !inst.Locked.IsZero():
		return "the instance is locked: " + inst.Reason, out
	case !p.NotAfter.After(inst.Floor) && p.Serial != inst.Serial:
		return "the instance has joined anew since this certificate was issued", out
	}
	return "", member
}

// learn looks past the watch for a stranger's cluster. It reports whether it is worth judging again.
func (r *Registry) learn(ctx context.Context, p tunnel.Peer) bool {
	name := p.Cluster
	if p.Role != tunnel.RoleSpoke {
		rec, _, err := read[serialRecord](ctx, r.cfg.Catalog, catalog.SerialKey(p.Serial))
		if err != nil {
			return false
		}
		name = rec.Cluster
	}
	if !validName(name) || !validInstance(p.Instance) {
		return false
	}
	_, clusterKnown := r.clusters.fetch(ctx, r.cfg.Catalog, name)
	_, objectKnown := r.fetchObject(ctx, name)
	r.instances.fetch(ctx, r.cfg.Catalog, instanceName(p.Group, p.Instance))
	return clusterKnown && objectKnown
}

// instanceName is the key of an instance in its table.
func instanceName(group, instance string) string { return group + "/" + instance }
