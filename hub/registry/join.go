package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/tunnel"
)

// Join redeems a token for a first certificate. A token works once: in a race one request wins, all others get
// TokenUsed. Only the winner itself, with the same key and instance, may ask again while the token lives, so that a lost
// answer does not cost the token. An instance that has joined before begins anew: its older certificates are refused,
// and its lock is lifted.
func (r *Registry) Join(ctx context.Context, req control.JoinRequest) (control.Certificate, error) {
	if !validName(req.Cluster) || !validInstance(req.Instance) {
		return control.Certificate{}, refuse(BadRequest, "the cluster or instance name of the request is malformed",
			"take the cluster from the bundle; an instance has 1 to 64 of a-z A-Z 0-9 . _ -")
	}
	csr, err := parseCSR(req.CSR)
	if err != nil {
		return control.Certificate{}, err
	}
	for range tries {
		c, err := r.join(ctx, req, csr)
		if !errors.Is(err, catalog.ErrConflict) {
			return c, err
		}
	}
	return control.Certificate{}, stored("join cluster "+req.Cluster, catalog.ErrConflict)
}

// join makes one try; catalog.ErrConflict: something was changed meanwhile, look again.
func (r *Registry) join(ctx context.Context, req control.JoinRequest, csr request) (control.Certificate, error) {
	key := tokenKey(req.Token)
	tok, tokRev, err := read[tokenRecord](ctx, r.cfg.Catalog, key)
	if err != nil {
		return control.Certificate{}, err
	}
	now := time.Now()
	repeat := tok.Key == csr.key && tok.Instance == req.Instance
	switch {
	// The same answer for a token that never was and for one of another cluster.
	case tokRev == catalog.Absent || tok.Cluster != req.Cluster:
		return control.Certificate{}, refuse(TokenUnknown, "the token is not one of cluster "+req.Cluster, recoverRemedy(req.Cluster))
	case !tok.Used.IsZero() && !repeat:
		r.log.Warn("a spent join token was used again", "cluster", req.Cluster, "instance", req.Instance,
			"spentBy", tok.Instance, "spentAt", tok.Used)
		return control.Certificate{}, refuse(TokenUsed, "the token was used already",
			"if that was not you, revoke cluster "+req.Cluster+"; else "+recoverRemedy(req.Cluster))
	case !tok.Expires.After(now):
		return control.Certificate{}, refuse(TokenExpired, "the token expired at "+tok.Expires.UTC().Format(time.RFC3339), recoverRemedy(req.Cluster))
	}
	o, ok := r.fetchObject(ctx, req.Cluster)
	cl, clRev, err := read[clusterRecord](ctx, r.cfg.Catalog, catalog.ClusterKey(req.Cluster))
	switch {
	case err != nil:
		return control.Certificate{}, err
	case !ok || clRev == catalog.Absent:
		return control.Certificate{}, unknownCluster(req.Cluster)
	case tok.Epoch != cl.Epoch:
		return control.Certificate{}, revoked(req.Cluster)
	case o.spec.Suspended || !cl.Suspended.IsZero():
		return control.Certificate{}, suspended(req.Cluster)
	}
	// The condition makes one group of two first joins, and none of one that crosses a revocation.
	unchanged := catalog.Op{Key: catalog.ClusterKey(req.Cluster), If: clRev}
	if cl.Group == "" {
		cl.Group, cl.Joined, cl.Changed = newGroup(), now, now
		unchanged.Value = encode(cl)
	}
	ops := []catalog.Op{unchanged}
	old, oldRev, err := read[instanceRecord](ctx, r.cfg.Catalog, catalog.InstanceKey(cl.Group, req.Instance))
	if err != nil {
		return control.Certificate{}, err
	}
	next := instanceRecord{Cluster: req.Cluster, Generation: old.Generation + 1, Floor: later(old.Floor, old.NotAfter)}
	if !tok.Used.IsZero() {
		if old.Key != csr.key || !old.Locked.IsZero() {
			return control.Certificate{}, refuse(TokenUsed, "the token was used already", recoverRemedy(req.Cluster))
		}
		next.Generation, next.Floor = old.Generation, old.Floor
	}
	tok.Used, tok.Instance, tok.Key = now, req.Instance, csr.key
	ops = append(ops, catalog.Op{Key: key, Value: encode(tok), If: tokRev})
	c, err := r.grant(ctx, o.role(), req.Cluster, cl.Group, req.Instance, csr, next, oldRev, ops)
	if err != nil {
		return control.Certificate{}, err
	}
	r.log.Info("a gateway joined", "cluster", req.Cluster, "group", cl.Group, "instance", req.Instance, "generation", next.Generation)
	return c, nil
}

// grant issues a certificate and commits its serial, the instance's record and ops together: no certificate leaves the
// hub before it is recorded.
func (r *Registry) grant(ctx context.Context, role tunnel.Role, cluster, group, instance string, csr request,
	next instanceRecord, ifRevision int64, ops []catalog.Op,
) (control.Certificate, error) {
	now := time.Now()
	id := tunnel.ID{TrustDomain: r.cfg.TrustDomain, Role: role, Group: group}
	if role == tunnel.RoleSpoke {
		id.Cluster = cluster
	}
	i, err := r.trust.Load().issuer.issue(leaf{id: id, instance: instance, life: r.cfg.Life}, csr.public, now)
	if err != nil {
		return control.Certificate{}, err
	}
	next.Changed, next.Serial, next.NotAfter, next.Key = now, i.serial, i.cert.NotAfter, csr.key
	key := catalog.InstanceKey(group, instance)
	ops = append(ops,
		catalog.Op{Key: key, Value: encode(next), If: ifRevision},
		catalog.Op{Key: catalog.SerialKey(i.serial), If: catalog.Absent, Value: encode(serialRecord{
			Cluster: cluster, Group: group, Instance: instance, Generation: next.Generation, NotAfter: i.cert.NotAfter,
		})})
	revision, err := r.cfg.Catalog.Commit(ctx, ops...)
	if errors.Is(err, catalog.ErrConflict) {
		return control.Certificate{}, err
	}
	if err != nil {
		return control.Certificate{}, stored("store the certificate of "+cluster, err)
	}
	for _, op := range ops {
		rec := catalog.Record{Key: op.Key, Value: op.Value, Revision: revision}
		switch {
		case op.Key == key:
			r.instances.put(rec)
		case op.Key == catalog.ClusterKey(cluster) && op.Value != nil:
			r.clusters.put(rec)
		}
	}
	r.changed()
	return control.Certificate{
		Chain:      i.chain(),
		Roots:      r.RootsPEM(),
		Generation: next.Generation,
		Hubs:       r.Hubs(),
		Pseudonym:  r.cfg.Pseudonym(group),
	}, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func recoverRemedy(cluster string) string {
	return fmt.Sprintf("get a new bundle: `penstock cluster recover %s`", cluster)
}

func suspended(cluster string) error {
	return refuse(ClusterSuspended, "cluster "+cluster+" is suspended", "`penstock cluster resume "+cluster+"`")
}

func revoked(cluster string) error {
	return refuse(ClusterRevoked, "cluster "+cluster+" was revoked", recoverRemedy(cluster))
}
